/** Sanctions: the reasons of a refused login, warnings, and appeals. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Appeal, Sanction, SanctionInForce } from "../../../clients/typescript/src/openapi.js";
import { h, clearMessages, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence, when } from "./words.ts";

const TITLES: Record<string, string> = {
  warning: "You have received a warning",
  suspension: "Your account is suspended",
  ban: "Your account is banned",
};
const GROUNDS: Record<string, string> = {
  harassment: "Harassment",
  spam: "Spam or advertising",
  inappropriate: "Inappropriate behaviour",
  hate_speech: "Hate speech",
  minor_safety: "Endangering minors",
  threat: "Threats or encouragement of violence or self-harm",
  underage: "Below the required age",
  fraud: "Fraud",
  other: "A breach of the terms of use or the rules of conduct",
};
const OUTCOMES: Record<string, string> = {
  open: "We have received your appeal. Another person than the one who decided will answer you by e-mail.",
  upheld: "Your appeal was rejected.",
  overturned: "Your appeal was successful.",
  closed: "Your appeal was closed.",
};
const MAX_APPEAL_LENGTH = 4000;
const NO_FACTS = "No description was written for you. The answer to an appeal will contain one.";

type Submit = (text: string) => Promise<Appeal>;

/** Show why a login was refused, and until when. */
export function refused(sanction: SanctionInForce, back: () => void): void {
  const token = sanction.appealToken;
  const submit = token ? appealWith(token) : undefined;
  show(title(sanction), describe(sanction), appealing(sanction, submit), h("button", { class: "link", type: "button", click: back }, "Back to the login"));
}

/** Show that a sanction has ended the login, with its reason and its end; the refusal of the next login has the rest. */
export function ended({ code, restriction }: ParlanceError, signIn: () => void): void {
  const kind = code === "banned" ? "ban" : "suspension";
  show(
    TITLES[kind] ?? "",
    restriction && h("dl", { class: "card reasons" }, ...fact("Reason", ground(restriction.ground)), ...endOf(kind, restriction.until)),
    h(
      "div",
      { class: "card" },
      h("p", {}, "You have been signed out, and cannot search for a partner. Sign in to read what happened, and to appeal. We have sent you the decision by e-mail too."),
      h("button", { class: "primary", type: "button", click: signIn }, "Sign in to read and appeal"),
    ),
  );
}

/** Show the sanction of the link in an e-mail, with the state of its appeal. */
export async function appealPage(token: string): Promise<void> {
  show("Your appeal", h("p", { class: "soft", role: "status" }, "Loading …"));
  try {
    const sanction = unwrap(await parlance.rest.POST("/appeals/sanction", { body: { token } }));
    show(title(sanction), describe(sanction), appealing(sanction, appealWith(token)), h("p", {}, h("a", { href: "/" }, "Go to the start page")));
  } catch (reason) {
    const isInvalid = reason instanceof ParlanceError && ["token_invalid", "request_invalid"].includes(reason.code);
    const again = h("button", { class: "primary", click: () => void appealPage(token) }, "Try again");
    const logIn = h("p", {}, "The link is wrong or too old. ", h("a", { href: "/" }, "Log in"), " to read the decision and its state.");
    show("Your appeal", isInvalid ? logIn : again);
    if (!isInvalid) say(sentence(reason), "alert");
  }
}

/** Show each warning that the learner has not confirmed yet; return whether there is one. Then `done` is called. */
export async function warned(done: () => void): Promise<boolean> {
  const { items } = unwrap(await parlance.rest.GET("/users/me/sanctions", { params: { query: { limit: 20 } } }));
  const warning = items.find(({ kind, acknowledgedAt, liftedAt }) => kind === "warning" && !acknowledgedAt && !liftedAt);
  if (!warning) return false;
  const path = { sanctionId: warning.id };
  const confirm = async () => {
    clearMessages();
    try {
      unwrap(await parlance.rest.POST("/users/me/sanctions/{sanctionId}/acknowledge", { params: { path } }));
      if (!(await warned(done))) done();
    } catch (reason) {
      say(sentence(reason), "alert");
    }
  };
  const submit: Submit = async (text) => unwrap(await parlance.rest.POST("/users/me/sanctions/{sanctionId}/appeal", { params: { path }, body: { text } }));
  show(
    title(warning),
    describe(warning),
    h("p", {}, "A warning restricts nothing. If it happens again, your account may be suspended or banned."),
    h("p", {}, h("button", { class: "primary", click: () => void confirm() }, "I have read it")),
    h("details", {}, h("summary", {}, "This is wrong"), appealing(warning, submit)),
  );
  return true;
}

function appealWith(token: string): Submit {
  return async (text) => unwrap(await parlance.rest.POST("/appeals", { body: { token, text } }));
}

function title({ kind, liftedAt }: Sanction): string {
  if (liftedAt) return `Your ${kind} was lifted`;
  return TITLES[kind] ?? "A decision about your account";
}

const fact = (term: string, ...words: string[]) => [h("dt", {}, term), ...words.map((each) => h("dd", {}, each))];

const ground = (name: string) => GROUNDS[name] ?? "A breach of the rules";

function endOf(kind: string, at: string | null): HTMLElement[] {
  if (at) return fact("Ends", when(at));
  return kind === "ban" ? fact("Ends", "Only if it is lifted") : [];
}

/** Ground, facts and duration, as a list of terms. */
function describe(sanction: Sanction): HTMLElement {
  const facts = sanction.facts ? sanction.facts.split("\n").filter((line) => line.trim()) : [NO_FACTS];
  return h(
    "dl",
    { class: "card reasons" },
    ...fact("Reason", ground(sanction.ground)),
    ...fact("What happened", ...facts),
    ...fact("Decided", when(sanction.startsAt)),
    ...endOf(sanction.kind, sanction.endsAt),
    ...(sanction.liftedAt ? fact("Lifted", when(sanction.liftedAt)) : []),
  );
}

/** The form for an appeal, or the state of the one that was submitted. */
function appealing(sanction: Sanction, submit: Submit | undefined): HTMLElement {
  const card = h("section", { class: "card", "aria-labelledby": "appeal-title" });
  const heading = h("h2", { id: "appeal-title", tabindex: "-1" }, "Appeal");
  const showState = ({ status, decisionReason }: Appeal) => {
    const reason = status !== "open" && decisionReason ? h("p", { class: "text" }, decisionReason) : null;
    card.replaceChildren(heading, h("p", {}, OUTCOMES[status] ?? "Your appeal was received."), ...(reason ? [reason] : []));
  };
  if (sanction.appeal) showState(sanction.appeal);
  else if (!submit || !sanction.isAppealable) card.replaceChildren(heading, h("p", {}, sanction.liftedAt ? "There is nothing left to appeal against." : "An appeal is not possible any more."));
  else {
    const input = h("textarea", { id: "appeal", name: "appeal", rows: "5", required: true, maxlength: `${MAX_APPEAL_LENGTH}`, "aria-describedby": "appeal-hint" });
    const button = h("button", { class: "primary" }, "Send the appeal");
    const form = h(
      "form",
      {},
      h("p", {}, `You can appeal once, free of charge, until ${when(sanction.appealUntil)}.`),
      h("div", { class: "field" }, h("label", { for: "appeal" }, "Why is the decision wrong?"), input, h("p", { class: "hint", id: "appeal-hint" }, `At most ${MAX_APPEAL_LENGTH} characters.`)),
      button,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (button.getAttribute("aria-disabled")) return;
      clearMessages();
      button.setAttribute("aria-disabled", "true");
      submit(input.value)
        .then((made) => {
          showState(made);
          // The form with the focus is gone.
          heading.focus();
          say("Your appeal was received.");
        })
        .catch((reason: unknown) => say(sentence(reason), "alert"))
        .finally(() => button.removeAttribute("aria-disabled"));
    });
    card.replaceChildren(heading, form);
  }
  return card;
}
