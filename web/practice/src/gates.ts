/** What an account needs before it meets others: a verified address, an age, consent to the documents. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Consent, Me } from "../../../clients/typescript/src/openapi.js";
import { accept, documentLink, readConsents } from "./consents.ts";
import { form, h, clearMessages, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

/** Views by the code that `missing` has; each asks for one thing, and calls `next` once it is there. */
const VIEWS: Record<string, (me: Me, next: () => void, leave: () => void) => void | Promise<void>> = {
  email_unverified: verification,
  age_required: age,
  too_young: tooYoung,
  terms_required: documents,
};

/** Whether a search or a text was refused for something that these views ask for. */
export const isGate = (code: string): boolean => code in VIEWS;

/** Return what shows the first thing that an account lacks, or undefined where it lacks nothing of these. */
export function firstGate(me: Me, next: () => void, leave: () => void): (() => void) | undefined {
  const view = me.missing.map((code) => VIEWS[code]).find(Boolean);
  return view && (() => void Promise.resolve(view(me, next, leave)).catch((reason: unknown) => say(sentence(reason), "alert")));
}

function signOut(leave: () => void): HTMLElement {
  const left = () => void parlance.logout().then(leave, (reason: unknown) => say(sentence(reason), "alert"));
  return h("p", {}, h("button", { class: "link", type: "button", click: left }, "Sign out"));
}

function verification(me: Me, next: () => void, leave: () => void): void {
  const again = async () => {
    clearMessages();
    const { error } = await parlance.rest.POST("/auth/resend-verification");
    say(error ? error.detail : "Another e-mail is on its way.", error ? "alert" : "status");
  };
  show(
    "Verify your e-mail address",
    h(
      "div",
      { class: "card" },
      h("p", {}, `Open the link in the e-mail that we sent to ${me.email}. Then come back to this page.`),
      h("div", { class: "row" }, h("button", { class: "primary", click: () => (clearMessages(), next()) }, "Continue"), h("button", { click: () => void again() }, "Send it again")),
    ),
    signOut(leave),
  );
}

/** Ask for the date of birth, without a value that passes and without the age that is needed. */
function age(_: Me, next: () => void, leave: () => void): void {
  const today = new Date().toISOString().slice(0, 10);
  const born = {
    name: "birthDate",
    label: "Date of birth",
    hint: "We do not keep the date, only your age group. Nobody sees it.",
    attributes: { type: "date", required: true, min: "1900-01-01", max: today, autocomplete: "bday" },
  };
  const send = async ({ birthDate = "" }: Record<string, string>) => {
    clearMessages();
    try {
      unwrap(await parlance.rest.PUT("/users/me/age", { body: { birthDate } }));
      next();
    } catch (reason) {
      if (reason instanceof ParlanceError && reason.code === "too_young") return refused(reason.message, leave);
      say(sentence(reason), "alert");
    }
  };
  show("When were you born?", h("div", { class: "card" }, form([born], "Continue", send)), signOut(leave));
}

function tooYoung(_: Me, __: () => void, leave: () => void): void {
  refused(sentence(new ParlanceError("too_young", "")), leave);
}

function refused(why: string, leave: () => void): void {
  show(
    "You cannot talk with others here",
    h("div", { class: "card" }, h("p", {}, why), h("p", {}, "If this is a mistake, ", h("a", { href: "/contact" }, "write to us"), "."), h("p", {}, h("a", { href: "#/courses" }, "See the courses"))),
    signOut(leave),
  );
}

/** Show each document that is not accepted in its current version, with a box of its own. */
async function documents(_: Me, next: () => void, leave: () => void): Promise<void> {
  const open = (await readConsents()).filter(({ version, acceptedVersion }) => version !== acceptedVersion);
  const send = async () => {
    clearMessages();
    try {
      for (const each of open) await accept(each);
      next();
    } catch (reason) {
      say(sentence(reason), "alert");
    }
  };
  const element = form([], "Continue", send);
  element.prepend(...open.map(box));
  // One that was withdrawn has no accepted version either.
  const isChanged = open.some(({ acceptedVersion }) => acceptedVersion !== null);
  show(
    isChanged ? "Our documents have changed" : "Before you talk with others",
    h("div", { class: "card" }, h("p", {}, "Read each document, and tick its box to accept it."), element),
    h("p", { class: "soft" }, "Without them you cannot talk with others. You may ", h("a", { href: "/delete-account" }, "delete your account"), " instead."),
    signOut(leave),
  );
}

function box(consent: Consent): HTMLElement {
  const { document, version, acceptedVersion } = consent;
  const id = `consent-${document}`;
  const words = h("label", { for: id }, "I accept: ", documentLink(consent),  " ", h("span", { class: "soft whole" }, `version ${version}${acceptedVersion ? `, before: ${acceptedVersion}` : ""}`));
  return h("div", { class: "check" }, h("input", { type: "checkbox", id, required: true }), words);
}
