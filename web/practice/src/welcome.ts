/** Views before a login, and those that e-mails link to. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { type Field, form, h, clearMessages, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

const EMAIL: Field = { name: "email", label: "E-mail", attributes: { type: "email", autocomplete: "email", required: true } };
const MAX_PASSWORD_BYTES = 72;
const bytes = (text: string) => new TextEncoder().encode(text.normalize("NFC")).length;
const NEW_PASSWORD: Field = {
  name: "password",
  label: "Password",
  hint: "At least 8 characters.",
  // Not `maxlength`, which would silently cut a pasted password, and so register an account with another one.
  check: (password) => (bytes(password) > MAX_PASSWORD_BYTES ? "This password is too long. Use at most 72 letters or digits; accents and emoji count more." : ""),
  attributes: { type: "password", autocomplete: "new-password", required: true, minlength: "8" },
};
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
  );
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
  show("Verify your e-mail address", h("div", { class: "card" }, h("button", { class: "primary", click: () => void verify() }, "Verify")));
}

async function attempt(work: () => Promise<void>, onRefused: OnRefused = () => false): Promise<void> {
  clearMessages();
  await work().catch((reason: unknown) => {
    if (!onRefused(reason)) say(sentence(reason), "alert");
  });
}
