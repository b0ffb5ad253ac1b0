// Passkeys (WebAuthn): answers of the browser's authenticators to challenges of the API, and the section of the security page.

import * as api from "./api.js";
import { ask, badge, field, h, table, when } from "./dom.js";
import { act } from "./pages.js";

const decode = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const encode = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Whether passkeys work on this page: the service offers them, for the domain that the page is on. */
export async function areOffered() {
  if (!window.PublicKeyCredential) return false;
  const { isOffered, rpId } = (await api.loginOffer()).passkeys;
  return isOffered && (location.hostname === rpId || location.hostname.endsWith(`.${rpId}`));
}

/** What the API takes of a credential: browsers of before 2025 have no `toJSON`. */
function describe(challenge, credential) {
  const { id, rawId, type, authenticatorAttachment, response } = credential;
  const parts = { clientDataJSON: encode(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) parts[name] = encode(response[name]);
  }
  const json = { id, rawId: encode(rawId), type, authenticatorAttachment: authenticatorAttachment ?? undefined, response: parts };
  return { challengeToken: challenge.challengeToken, credentialJson: JSON.stringify(json) };
}

/** Words for what browsers throw, which are names of errors and long sentences. */
async function ceremony(begin) {
  try {
    return await begin();
  } catch (error) {
    if (error.name === "InvalidStateError") throw new Error("This device has a passkey of the account already.");
    if (error.name === "NotAllowedError") throw new Error("No passkey was used: it was cancelled, took too long, or there is none here.");
    throw error;
  }
}

/** Answer a new challenge with a passkey; return the schema `PasskeyProof`. */
export async function answer() {
  const challenge = await api.passkeyChallenge();
  const options = JSON.parse(challenge.optionsJson);
  const publicKey = { ...options, challenge: decode(options.challenge) };
  return describe(challenge, await ceremony(() => navigator.credentials.get({ publicKey })));
}

async function add(password, name) {
  const challenge = await api.passkeyRegistration(password);
  const options = JSON.parse(challenge.optionsJson);
  const publicKey = {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map((each) => ({ ...each, id: decode(each.id) })),
  };
  const made = describe(challenge, await ceremony(() => navigator.credentials.create({ publicKey })));
  await api.addPasskey({ ...made, name });
}

/** The section of the security page. */
export async function passkeySection(again) {
  const [{ passkeys }, isOffered] = [await api.loginMethods(), await areOffered()];
  if (!isOffered && !passkeys.length) return [];
  const create = async () => {
    const fields = [
      h("p", null, "A passkey is on this device, on a security key or in a password manager. It signs in without the password and the code."),
      field("What you call it", h("input", { name: "name", maxlength: 60, required: true, value: "This device", autocomplete: "off" })),
      field("Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
    ];
    const send = (given) => add(given.password, given.name);
    if (await ask("Add a passkey", fields, "Continue", "primary", send)) again();
  };
  const remove = async (row) => {
    const text = "It no longer signs in. Delete it on the device too, which goes on offering it. Without another second factor all your logins end.";
    if (await ask(`Remove ${row.name}?`, [h("p", null, text)], "Remove")) await act(() => api.removePasskey(row.id), "The passkey is removed.", again);
  };
  return [
    h("div", { class: "row" }, h("h2", null, "Passkeys"), isOffered && h("button", { onclick: create }, "Add a passkey")),
    table(
      "Passkeys",
      [
        ["Name", (row) => [row.name, " ", row.isSynced ? badge("synced") : null]],
        ["Added", (row) => when(row.createdAt)],
        ["Last used", (row) => when(row.lastUsedAt)],
        ["", (row) => h("button", { class: "danger", "aria-label": `Remove ${row.name}`, onclick: () => remove(row) }, "Remove")],
      ],
      passkeys,
    ),
  ];
}
