/** Consents to the documents, in the profile: withdraw one, and accept it again. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Consent } from "../../../clients/typescript/src/openapi.js";
import { clearMessages, disclosure, h, say } from "./dom.ts";
import { me, parlance } from "./session.ts";
import { day, sentence } from "./words.ts";

/** Pages of the documents; one that the operator has added is at its name. */
const PAGES: Record<string, string> = { rules: "/safety" };

/** A link to the page of a document, in a window of its own. */
export function documentLink({ document, title }: Consent): HTMLAnchorElement {
  return h("a", { href: PAGES[document] ?? `/${document}`, target: "_blank", rel: "noopener" }, title);
}

export async function readConsents(): Promise<Consent[]> {
  return unwrap(await parlance.rest.GET("/users/me/consents")).items;
}

export async function accept({ document, version }: Consent): Promise<void> {
  unwrap(await parlance.rest.POST("/users/me/consents", { body: { document, version } }));
}

async function withdraw({ document }: Consent): Promise<void> {
  try {
    unwrap(await parlance.rest.DELETE("/users/me/consents/{document}", { params: { path: { document } } }));
  } catch (reason) {
    // It was withdrawn in another window.
    if (!(reason instanceof ParlanceError && reason.code === "not_found")) throw reason;
  }
}

/** The documents with the learner's consents; read when the section is opened. */
export function consents(): HTMLElement {
  return disclosure("My consents", () => {
    const list = h("ul", { class: "rows", "aria-label": "Documents and consents", tabindex: "-1" });
    const empty = h("p", { class: "soft", role: "status" }, "Loading …");
    const again = h("button", { hidden: true, click: () => void load() }, "Try again");
    const load = async () => {
      clearMessages();
      try {
        list.replaceChildren(...(await readConsents()).map((each) => row(each)));
        empty.textContent = "";
        again.hidden = true;
      } catch (reason) {
        empty.textContent = "";
        again.hidden = false;
        say(sentence(reason), "alert");
      }
    };
    void load();
    const meaning = "You can withdraw a consent at any time. Then you cannot search for a partner, or change your name and picture, until you accept the document again. A call goes on until it ends.";
    return [h("p", {}, meaning), h("div", { class: "pages" }, list, empty, again)];
  });
}

const whole = (words: string) => h("span", { class: "whole" }, words);

/** A document that has the accepted version, an older one, or none; its buttons replace the row with the new state. */
function row(consent: Consent): HTMLLIElement {
  const { document: name, title, version, acceptedVersion, acceptedAt } = consent;
  const isCurrent = acceptedVersion === version;
  const state = acceptedVersion === null ? "not accepted" : acceptedAt ? `accepted ${day(acceptedAt)}` : "accepted";
  const change = async (work: (consent: Consent) => Promise<void>, done: string) => {
    if (element.hasAttribute("aria-busy")) return;
    element.setAttribute("aria-busy", "true");
    clearMessages();
    try {
      await work(consent);
      const [items, { missing }] = await Promise.all([readConsents(), me()]);
      const now = items.find((each) => each.document === name);
      if (now) {
        const changed = row(now);
        element.replaceWith(changed);
        // The button is gone, and the focus would be lost.
        changed.querySelector("button")?.focus();
      }
      // Where the deployment does not ask for consent, nothing follows from a withdrawal.
      const isNeeded = missing.includes("terms_required");
      say(isNeeded ? `${done} You cannot search for a partner until you accept ${work === accept ? "all documents" : "it again"}.` : done);
    } catch (reason) {
      say(sentence(reason), "alert");
    } finally {
      element.removeAttribute("aria-busy");
    }
  };
  const accepting = () => change(accept, `You accept: ${title}.`);
  const withdrawing = () => change(withdraw, `Your consent is withdrawn: ${title}.`);
  const element: HTMLLIElement = h(
    "li",
    {},
    h("div", {}, h("p", {}, documentLink(consent)), h("p", { class: "soft" }, whole(`version ${acceptedVersion ?? version}`), " · ", whole(state)), acceptedVersion !== null && !isCurrent && h("p", {}, `There is a new version: ${version}.`)),
    h(
      "p",
      { class: "end" },
      !isCurrent && h("button", { class: "primary", type: "button", "aria-label": `Accept: ${title}`, click: () => void accepting() }, acceptedVersion === null ? "Accept" : "Accept the new version"),
      acceptedVersion !== null && h("button", { type: "button", "aria-label": `Withdraw the consent: ${title}`, click: () => void withdrawing() }, "Withdraw"),
    ),
  );
  return element;
}
