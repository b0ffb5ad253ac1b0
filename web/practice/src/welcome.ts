/** Views before a login, and those that e-mails link to. */
import type { AuthorizationTokens, LoginMethods } from "../../../clients/typescript/src/openapi.js";
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import { enterCode } from "./codes.ts";
import { type Field, form, h, clearMessages, say, show } from "./dom.ts";
import { askPasskey, canUsePasskeys } from "./passkey.ts";
import { goToProvider, loginMethods } from "./providers.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

const EMAIL: Field = { name: "email", label: "E-mail", attributes: { type: "email", autocomplete: "email", required: true } };
const MAX_PASSWORD_BYTES = 72;
const bytes = (text: string) => new TextEncoder().encode(text.normalize("NFC")).length;
/** A field for a password that is to be kept. */
export const newPasswordField = (name: string, label: string): Field => ({
  name,
  label,
  hint: "At least 8 characters.",
  // Not `maxlength`, which would silently cut a pasted password, and so register an account with another one.
  check: (password) => (bytes(password) > MAX_PASSWORD_BYTES ? "This password is too long. Use at most 72 letters or digits; accents and emoji count more." : ""),
  attributes: { type: "password", autocomplete: "new-password", required: true, minlength: "8" },
});
const NEW_PASSWORD = newPasswordField("password", "Password");
const PASSWORD: Field = {
  name: "password",
  label: "Password",
  attributes: { type: "password", autocomplete: "current-password", required: true },
};

const link = (words: string, go: () => void) =>
  h("button", { class: "link", type: "button", click: () => (clearMessages(), go()) }, words);

/** Handles the error of a login, where it returns true. */
type OnRefused = (reason: unknown) => boolean;

export function signUp(entered: () => Promise<void>, onRefused: OnRefused): void {
  show(
    "Speak English with a partner, now",
    h("p", {}, "Tap a button, meet another learner within seconds, and talk. Nobody sees you: only your voice is sent."),
    h(
      "div",
      { class: "card" },
      form([EMAIL, NEW_PASSWORD], "Sign up", async ({ email = "", password = "" }) => {
        await attempt(async () => {
          await parlance.register(email, password);
          await entered();
        });
      }),
      link("I have an account", () => signIn(entered, onRefused)),
    ),
    otherWays(entered, onRefused, () => signUp(entered, onRefused)),
  );
}

export function signIn(entered: () => Promise<void>, onRefused: OnRefused): void {
  show(
    "Sign in",
    h(
      "div",
      { class: "card" },
      form([EMAIL, PASSWORD], "Sign in", async ({ email = "", password = "" }) => {
        await attempt(async () => {
          await parlance.login(email, password);
          await entered();
        }, onRefused);
      }),
      h("div", { class: "row" }, link("Create an account", () => signUp(entered, onRefused)), link("I forgot my password", forgotPassword)),
    ),
    otherWays(entered, onRefused, () => signIn(entered, onRefused)),
  );
}

/** Buttons for what this installation offers beside a password; they appear once that is known. */
function otherWays(entered: () => Promise<void>, onRefused: OnRefused, back: () => void): HTMLElement {
  const box = h("div", { class: "ways" });
  const byPasskey = async () => {
    const passkey = await askPasskey();
    if (!passkey) return;
    await parlance.loginWithPasskey(passkey);
    await entered();
  };
  const fill = ({ providers, emailCode, passkeys }: LoginMethods) => {
    box.append(
      ...providers.filter(({ hasWebFlow }) => hasWebFlow).map(({ provider, name }) => h("button", { type: "button", click: () => void attempt(() => goToProvider(provider, "login")) }, `Continue with ${name}`)),
      ...(passkeys.isOffered && canUsePasskeys() ? [h("button", { type: "button", click: () => void attempt(byPasskey, onRefused) }, "Use a passkey")] : []),
      ...(emailCode ? [h("button", { type: "button", click: () => (clearMessages(), askForCode(entered, onRefused, back)) }, "E-mail me a code")] : []),
    );
    if (box.children.length > 0) box.prepend(h("p", { class: "or" }, "or"));
  };
  // Without an answer the form above still works.
  void loginMethods().then(fill, () => undefined);
  return box;
}

/** Log in, or sign up, with a code by e-mail. */
function askForCode(entered: () => Promise<void>, onRefused: OnRefused, back: () => void): void {
  const send = async (email: string) => {
    const { challengeId } = await parlance.requestEmailCode(email);
    const use = (code: string) =>
      attempt(async () => {
        await parlance.loginWithEmailCode({ challengeId, email, code });
        await entered();
      }, onRefused);
    enterCode("Enter the code", email, "Continue", use, async () => (await send(email), say("Another code is on its way.")), () => askForCode(entered, onRefused, back));
  };
  show(
    "Get a code by e-mail",
    h(
      "div",
      { class: "card" },
      h("p", {}, "No password needed. If you have no account yet, the code makes one."),
      form([EMAIL], "Send me a code", ({ email = "" }) => attempt(() => send(email))),
      link("Back", back),
    ),
  );
}

/** Log in with what a provider has returned; where the address has an account already, its password links the two. */
export async function loginReturned(returned: AuthorizationTokens, entered: () => Promise<void>, onRefused: OnRefused): Promise<void> {
  const { provider, idToken, nonce, grant } = returned;
  const identity = { provider, idToken, nonce, ...(grant && { grant }) };
  const enter = async (password?: string) => {
    await parlance.loginWithIdToken({ ...identity, ...(password !== undefined && { password }) });
    await entered();
  };
  try {
    await enter();
  } catch (reason) {
    signIn(entered, onRefused);
    if (onRefused(reason)) return;
    if (!(reason instanceof ParlanceError && reason.code === "password_required")) return say(sentence(reason), "alert");
    const offered = await loginMethods().catch(() => undefined);
    const name = offered?.providers.find((each) => each.provider === provider)?.name ?? provider;
    show(
      "You have an account already",
      h(
        "div",
        { class: "card" },
        h("p", {}, `There is an account with the same e-mail address. Enter its password once, and you can sign in with ${name} from then on.`),
        form([PASSWORD], "Continue", ({ password = "" }) => attempt(() => enter(password), onRefused)),
        h(
          "div",
          { class: "row" },
          offered?.emailCode === true && link("E-mail me a code instead", () => askForCode(entered, onRefused, () => signIn(entered, onRefused))),
          link("Back", () => signIn(entered, onRefused)),
        ),
      ),
    );
  }
}

function forgotPassword(): void {
  show(
    "Choose a new password",
    h(
      "div",
      { class: "card" },
      form([EMAIL], "Send me a link", async ({ email = "" }) => {
        await attempt(async () => {
          unwrap(await parlance.rest.POST("/auth/forgot-password", { body: { email } }));
          say("If this address has an account, an e-mail with a link is on its way.");
        });
      }),
    ),
  );
}

export function resetPassword(token: string, done: () => void): void {
  show(
    "Choose a new password",
    h(
      "div",
      { class: "card" },
      form([{ ...NEW_PASSWORD, label: "New password" }], "Save the password", async ({ password = "" }) => {
        await attempt(async () => {
          unwrap(await parlance.rest.POST("/auth/reset-password", { body: { token, newPassword: password } }));
          done();
          say("Your new password is saved, and every device is signed out. Sign in with it.");
        });
      }),
    ),
  );
}

/** Show a button that verifies the address: opening is not enough, because mail programs prefetch links. */
export function verifyEmail(token: string): void {
  const verify = async () => {
    await attempt(async () => {
      unwrap(await parlance.rest.POST("/auth/verify-email", { body: { token } }));
      show("Your e-mail address is verified", h("p", {}, h("a", { href: "/" }, "Go and talk")));
    });
  };
  show(
    "Verify your e-mail address",
    h(
      "div",
      { class: "card" },
      h("p", {}, "Verify it if you have opened an account with this address. If you have not, close this page: another person has entered your address, and can sign in to the account."),
      h("button", { class: "primary", click: () => void verify() }, "Verify"),
    ),
  );
}

/** Show a button that undoes a change of the address, for the same reason. */
export function undoEmailChange(token: string): void {
  const undo = async () => {
    await attempt(async () => {
      unwrap(await parlance.rest.POST("/auth/email-change/undo", { body: { token } }));
      show(
        "Your e-mail address is back",
        h("p", {}, "All devices are signed out, and the password is removed: another person may have known it."),
        h("p", {}, h("a", { href: "/" }, "Go to the start page"), ", sign in with a code by e-mail or choose “I forgot my password”, and set a new one."),
      );
    });
  };
  show(
    "Undo the change of your e-mail address",
    h("div", { class: "card" }, h("p", {}, "If you did not change the address of your account, take it back here."), h("button", { class: "danger", click: () => void undo() }, "Take my account back")),
  );
}

async function attempt(work: () => Promise<void>, onRefused: OnRefused = () => false): Promise<void> {
  clearMessages();
  await work().catch((reason: unknown) => {
    if (!onRefused(reason)) say(sentence(reason), "alert");
  });
}
