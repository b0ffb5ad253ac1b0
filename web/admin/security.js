// The user's own security: the second factors with their recovery codes, and the devices that are logged in.

import * as api from "./api.js";
import { ask, badge, field, h, say, table, when } from "./dom.js";
import { act, heading } from "./pages.js";
import { answer as answerWithPasskey, passkeySection } from "./passkeys.js";
import { qrCode } from "./qr.js";

/** So few recovery codes are worth a warning. */
const FEW_CODES = 3;

export const codeInput = () =>
  h("input", { name: "code", required: true, minlength: 6, maxlength: 40, autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" });
const codeField = () => field("Code of your authenticator app, or a recovery code", codeInput());
const passwordField = () =>
  field("Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true }));

let asking = null;

/** Ask for a code or a passkey until one is accepted; return whether the request that needs it may be repeated. */
export function stepUp() {
  asking ??= askForCode().finally(() => (asking = null));
  return asking;
}

async function askForCode() {
  const { isEnrolled, enrolledAt, passkeyCount } = await api.factor();
  if (!isEnrolled) {
    location.hash = "#/security";
    return false;
  }
  const title = "Confirm that it is you";
  const byPasskey = async () => api.proveFactor({ passkey: await answerWithPasskey() });
  if (!enrolledAt) {
    const text = h("p", null, "This needs your passkey: the last time was more than ten minutes ago.");
    return Boolean(await ask(title, [text], "Use a passkey", "primary", byPasskey));
  }
  const texts = [h("p", null, "This needs a second factor: the last time was more than ten minutes ago."), codeField()];
  const chosen = h("input", { type: "hidden", name: "with" });
  if (passkeyCount) texts.push(chosen, h("button", { type: "button", onclick: () => submitWith(chosen, "passkey") }, "Use a passkey"));
  const send = (given) => (given.with ? byPasskey() : api.proveFactor({ code: given.code }));
  return Boolean(await ask(title, texts, "Confirm", "primary", send));
}

/** Submit a form with a value in place of its fields, which may be empty. */
function submitWith(input, value) {
  const { form } = input;
  input.value = value;
  form.noValidate = true;
  form.requestSubmit();
  form.noValidate = false;
  input.value = "";
}

export async function security(again) {
  const [factor, devices] = [await api.factor(), await api.devices()];
  const place = h("section", { class: "card", "aria-label": "Second factor" });
  place.replaceChildren(...(factor.enrolledAt ? enrolled(factor, place, again) : missing(factor, place, again)));
  return [
    heading("Security"),
    place,
    ...(await passkeySection(again)),
    h("h2", null, "Devices that are logged in"),
    table(
      "Devices",
      [
        ["Device", (row) => [row.deviceId, " ", row.isCurrent ? badge("this one", "good") : null]],
        ["Platform", (row) => row.platform],
        ["Logged in", (row) => when(row.loggedInAt)],
        ["Last used", (row) => when(row.lastUsedAt)],
        ["", (row) => (row.isCurrent ? null : h("button", { onclick: () => act(() => api.endDevice(row.deviceId), "The device is logged out.", again) }, "Log out"))],
      ],
      devices.items,
    ),
  ];
}

function missing(factor, place, again) {
  return [
    h("h2", null, "Second factor", factor.isEnrolled ? badge("passkey", "good") : badge("not set up", "warn")),
    h("p", null, describeMissing(factor)),
    h("button", { class: factor.isEnrolled ? null : "primary", onclick: () => setUp(false, place, again, factor) }, "Set up an authenticator app"),
  ];
}

function describeMissing(factor) {
  if (factor.isEnrolled) return "Your passkeys are your second factor. An authenticator app beside them has recovery codes, for a lost device.";
  return factor.isRequired
    ? "Administration needs a second factor. Set up an authenticator app on your phone, or add a passkey, to continue."
    : "With a second factor a stolen password alone opens nothing. You need an authenticator app on your phone, or a passkey.";
}

function enrolled(factor, place, again) {
  const left = factor.recoveryCodesLeft;
  const newCodes = async () => {
    try {
      place.replaceChildren(...showCodes((await api.newRecoveryCodes()).recoveryCodes, again));
    } catch (problem) {
      say(problem.message);
    }
  };
  const remove = async () => {
    const text = factor.passkeyCount
      ? "All your logins end. Your passkeys stay, and are the second factor of the next one."
      : "All your logins end. The next one has no second factor until you set one up again.";
    if (await ask("Remove the authenticator app?", [h("p", null, text)], "Remove")) await act(() => api.removeFactor(), "The second factor is removed.", again);
  };
  return [
    h("h2", null, "Authenticator app", badge("set up", "good")),
    h("p", null, "Set up ", when(factor.enrolledAt), ". ", h("span", { class: left <= FEW_CODES ? "bad" : null }, `${left} recovery codes are left.`)),
    h(
      "div",
      { class: "row" },
      h("button", { onclick: newCodes }, "New recovery codes"),
      h("button", { onclick: () => setUp(true, place, again) }, "Use another app"),
      h("button", { class: "danger", onclick: remove }, "Remove"),
    ),
  ];
}

async function setUp(isReplaced, place, again, { isEnrolled = false } = {}) {
  const fields = [h("p", null, isReplaced ? "The present app works until the new one is confirmed." : "Your other logins end when it is set up."), passwordField()];
  let made;
  const start = isEnrolled ? api.startFirstApp : api.startFactor;
  const send = async (given) => (made = await start(given.password, given.code));
  if (!(await ask("Set up an authenticator app", isReplaced ? [...fields, codeField()] : fields, "Continue", "primary", send))) return;
  place.replaceChildren(...scan(made, place, again));
  place.querySelector("input").focus();
}

function scan(made, place, again) {
  const refusal = h("p", { role: "alert", class: "refusal" });
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        refusal.textContent = "";
        try {
          const { recoveryCodes } = await api.confirmFactor(new FormData(form).get("code"));
          place.replaceChildren(...showCodes(recoveryCodes, again));
          place.querySelector("h2").focus();
        } catch (problem) {
          refusal.textContent = problem.message;
        }
      },
    },
    field("Six digits that the app shows", h("input", { name: "code", required: true, inputmode: "numeric", pattern: "[0-9 ]{6,8}", autocomplete: "one-time-code" })),
    refusal,
    h("div", { class: "row" }, h("button", { class: "primary" }, "Confirm"), h("button", { type: "button", onclick: again }, "Cancel")),
  );
  return [
    h("h2", null, "Scan the code with the app"),
    qrCode(made.qrCode, "QR code for an authenticator app"),
    h("p", null, "Or type this key into the app: ", h("code", { class: "secret" }, made.secret.match(/.{1,4}/g).join(" "))),
    h("p", null, h("a", { href: made.otpauthUri }, "Open an app on this device")),
    form,
  ];
}

function showCodes(codes, again) {
  const copy = async () => {
    await navigator.clipboard.writeText(codes.join("\n")).then(() => say("The codes are copied."), () => say("Copying is not allowed here; print them."));
  };
  return [
    h("h2", { tabindex: -1 }, "Recovery codes"),
    h("p", null, "Each replaces a code of the app once, where you have lost the phone. They are shown only now: print them, or keep them in a password manager."),
    h("ol", { class: "codes" }, codes.map((code) => h("li", null, h("code", null, code)))),
    h(
      "div",
      { class: "row" },
      h("button", { onclick: copy }, "Copy"),
      h("button", { onclick: () => print() }, "Print"),
      h("button", { class: "primary", onclick: again }, "I have kept them"),
    ),
  ];
}
