/** The account: address, password, ways to log in, and devices. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Device, AuthorizationTokens, Identity, LoginMethods, MyLoginMethods, Passkey, PasskeyChallenge } from "../../../clients/typescript/src/openapi.js";
import { enterCode } from "./codes.ts";
import { clearMessages, type Field, form, h, say, show } from "./dom.ts";
import { canUsePasskeys, makePasskey, suggestPasskeyName } from "./passkey.ts";
import { attemptWithProof, myLoginMethods } from "./proof.ts";
import { goToProvider, loginMethods } from "./providers.ts";
import { parlance } from "./session.ts";
import { newPasswordField } from "./welcome.ts";
import { day, sentence, when } from "./words.ts";

const PLATFORMS: Record<string, string> = { web: "Browser", ios: "iPhone or iPad", android: "Android" };

interface Account {
  mine: MyLoginMethods;
  offered: LoginMethods;
  devices: Device[];
  /** Show the account again after a change, with a message. */
  changed: (message: string) => Promise<void>;
  /** Called when this device is logged out. */
  left: () => void;
}

/** Read the account; return what shows it. */
export async function account(left: () => void): Promise<() => void> {
  const [mine, offered, { items: devices }] = await Promise.all([myLoginMethods(), loginMethods(), parlance.rest.GET("/auth/devices").then(unwrap)]);
  const changed = async (message: string) => {
    try {
      const view = await account(left);
      // The learner may have opened another view meanwhile.
      if (location.hash === "#/account") view();
    } catch (reason) {
      return say(sentence(reason), "alert");
    }
    say(message);
  };
  const all = { mine, offered, devices, changed, left };
  return () => show("Account and security", h("p", {}, h("a", { href: "#/profile" }, "Back to your profile")), address(all), password(all), ways(all), deviceList(all));
}

/** Link what a provider has returned to the account. */
export async function linkReturned({ provider, idToken, nonce, grant }: AuthorizationTokens): Promise<string | undefined> {
  const identity = { provider, idToken, nonce, ...(grant && { grant }) };
  const name = await loginMethods().then(
    (offered) => nameOf(offered, provider),
    () => provider,
  );
  const linked = await attemptWithProof(`Add ${name}`, `Add ${name}`, async (proof) => void unwrap(await parlance.rest.POST("/users/me/identities", { body: { ...identity, proof } })));
  return linked ? `You can sign in with ${name} now.` : undefined;
}

async function attempt(work: () => Promise<void>): Promise<void> {
  clearMessages();
  await work().catch((reason: unknown) => say(sentence(reason), "alert"));
}

const nameOf = (offered: LoginMethods, provider: string) => offered.providers.find((each) => each.provider === provider)?.name ?? provider;

function address({ mine, changed, left }: Account): HTMLElement {
  const field: Field = { name: "newEmail", label: "New e-mail address", attributes: { type: "email", autocomplete: "email", required: true } };
  const back = async () => (await account(left))();
  const change = async (email: string) => {
    let challengeId = "";
    const request = async (title: string) => {
      const done = await attemptWithProof(title, "Send the code", async (proof) => {
        ({ challengeId } = unwrap(await parlance.rest.POST("/users/me/email-change", { body: { newEmail: email, proof } })));
      });
      return done;
    };
    if (!(await request("Change your e-mail address"))) return;
    const confirm = async (code: string) => {
      unwrap(await parlance.rest.POST("/users/me/email-change/confirmation", { body: { challengeId, code } }));
      await changed(`Your e-mail address is ${email} now. The old one gets a link that undoes this for three days.`);
    };
    const again = async () => {
      if (await request("Send another code")) say("Another code is on its way. The one before does not work any more.");
    };
    if (location.hash === "#/account") enterCode("Confirm your new address", email, "Change my address", confirm, again, () => void attempt(back));
  };
  return h(
    "section",
    { class: "card", "aria-labelledby": "address-title" },
    h("h2", { id: "address-title" }, "E-mail address"),
    h("p", {}, h("strong", {}, mine.email), mine.isVerified ? " (verified)" : " (not verified)"),
    h("details", {}, h("summary", {}, "Change the address"), form([field], "Continue", ({ newEmail = "" }) => attempt(() => change(newEmail)))),
  );
}

function password({ mine, changed }: Account): HTMLElement {
  const next = newPasswordField("newPassword", "New password");
  const save = async (newPassword: string, proof: { password: string }) => {
    try {
      unwrap(await parlance.rest.PUT("/users/me/password", { body: { newPassword, proof } }));
    } catch (reason) {
      if (!(reason instanceof ParlanceError && reason.code === "invalid_credentials")) throw reason;
      return say("The present password is not right.", "alert");
    }
    await changed("Your password is changed, and your other devices are signed out.");
  };
  const set = async (newPassword: string) => {
    const done = await attemptWithProof("Set a password", "Set the password", async (proof) => void unwrap(await parlance.rest.PUT("/users/me/password", { body: { newPassword, proof } })));
    if (done) await changed("Your password is set, and your other devices are signed out.");
  };
  const present: Field = { name: "presentPassword", label: "Present password", attributes: { type: "password", required: true, maxlength: "72", autocomplete: "current-password" } };
  const changing = form([present, next], "Change the password", ({ presentPassword = "", newPassword = "" }) => attempt(() => save(newPassword, { password: presentPassword })));
  const setting = form([next], "Set a password", ({ newPassword = "" }) => attempt(() => set(newPassword)));
  return h(
    "section",
    { class: "card", "aria-labelledby": "password-title" },
    h("h2", { id: "password-title" }, "Password"),
    !mine.hasPassword && h("p", {}, "Your account has no password."),
    h("details", {}, h("summary", {}, mine.hasPassword ? "Change the password" : "Set a password"), mine.hasPassword ? changing : setting),
  );
}

/** A row of a list: two lines of text, and a button that removes it. */
function row(title: string, about: string, label: string, remove: () => Promise<void>): HTMLLIElement {
  const button = h("button", { type: "button", "aria-label": `${label}: ${title}, ${about}`, click: () => void attempt(remove) }, label);
  return h("li", {}, h("div", {}, h("p", {}, h("strong", {}, title)), h("p", { class: "soft" }, about)), h("p", { class: "end" }, button));
}

const usedAt = (createdAt: string, lastUsedAt: string | null) => `added ${day(createdAt)}${lastUsedAt ? `, last used ${day(lastUsedAt)}` : ""}`;

function ways({ mine, offered, changed }: Account): HTMLElement {
  const removePasskey = async ({ id, name }: Passkey) => {
    await ignoreMissing(parlance.rest.DELETE("/users/me/passkeys/{passkeyId}", { params: { path: { passkeyId: id } } }).then(unwrap));
    await changed(`The passkey “${name}” is removed. Delete it on your device too.`);
  };
  const unlink = async ({ id, provider }: Identity) => {
    await ignoreMissing(parlance.rest.DELETE("/users/me/identities/{identityId}", { params: { path: { identityId: id } } }).then(unwrap));
    await changed(`${nameOf(offered, provider)} is removed.`);
  };
  const addPasskey = async () => {
    const name = suggestPasskeyName();
    let challenge: PasskeyChallenge | undefined;
    const done = await attemptWithProof("Add a passkey", "Continue", async (proof) => {
      // The first attempt has used the proof: a prompt that was cancelled is shown again for the same challenge.
      challenge ??= unwrap(await parlance.rest.POST("/users/me/passkeys/challenge", { body: { proof } }));
      const { challengeToken, optionsJson } = challenge;
      const credentialJson = await makePasskey(optionsJson);
      if (!credentialJson) throw new ParlanceError("cancelled", "No passkey was made. Try again, or choose Cancel.");
      unwrap(await parlance.rest.POST("/users/me/passkeys", { body: { challengeToken, credentialJson, name } }));
    });
    if (done) await changed("The passkey is added. You can sign in with it now.");
  };
  const linked = new Set(mine.identities.map(({ provider }) => provider));
  const linkable = offered.providers.filter(({ provider, hasWebFlow }) => hasWebFlow && !linked.has(provider));
  const rows = [
    ...mine.passkeys.map((each) => row(each.name, usedAt(each.createdAt, each.lastUsedAt), "Remove", () => removePasskey(each))),
    ...mine.identities.map((each) => row(nameOf(offered, each.provider), `${each.email ? `${each.email}, ` : ""}${usedAt(each.createdAt, each.lastUsedAt)}`, "Remove", () => unlink(each))),
  ];
  return h(
    "section",
    { class: "card", "aria-labelledby": "ways-title" },
    h("h2", { id: "ways-title" }, "Ways to sign in"),
    offered.emailCode && mine.isVerified && h("p", { class: "soft" }, "A code by e-mail always works, to the address above."),
    rows.length > 0 && h("ul", { class: "rows", "aria-label": "Passkeys and linked accounts" }, ...rows),
    h(
      "div",
      { class: "row" },
      offered.passkeys.isOffered && canUsePasskeys() && h("button", { type: "button", click: () => void attempt(addPasskey) }, "Add a passkey"),
      ...linkable.map(({ provider, name }) => h("button", { type: "button", click: () => void attempt(() => goToProvider(provider, "link")) }, `Add ${name}`)),
    ),
  );
}

/** What was removed in another window is gone, too. */
async function ignoreMissing(removal: Promise<unknown>): Promise<void> {
  await removal.catch((reason: unknown) => {
    if (!(reason instanceof ParlanceError && reason.code === "not_found")) throw reason;
  });
}

function deviceList({ devices, changed, left }: Account): HTMLElement {
  const end = async ({ deviceId, platform }: Device) => {
    await ignoreMissing(parlance.rest.DELETE("/auth/devices/{deviceId}", { params: { path: { deviceId } } }).then(unwrap));
    await changed(`${PLATFORMS[platform] ?? platform} is signed out.`);
  };
  const endAll = async () => {
    unwrap(await parlance.rest.POST("/auth/logout-all"));
    left();
    say("All devices are signed out.");
  };
  const item = (device: Device) => {
    const { platform, loggedInAt, lastUsedAt, isCurrent } = device;
    const title = PLATFORMS[platform] ?? platform;
    if (!isCurrent) return row(title, `signed in ${day(loggedInAt)}, last used ${when(lastUsedAt)}`, "Sign out", () => end(device));
    return h("li", {}, h("div", {}, h("p", {}, h("strong", {}, title), " – this device"), h("p", { class: "soft" }, `signed in ${day(loggedInAt)}`)));
  };
  return h(
    "section",
    { class: "card", "aria-labelledby": "devices-title" },
    h("h2", { id: "devices-title" }, "Devices"),
    h("ul", { class: "rows", "aria-label": "Devices that are signed in" }, ...devices.map(item)),
    h("button", { type: "button", click: () => void attempt(endAll) }, "Sign out everywhere"),
  );
}
