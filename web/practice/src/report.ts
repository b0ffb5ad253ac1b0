/** Report or block a partner: in the call, after it, and from the list of calls. */
import type { ReportReasonInput } from "../../../clients/typescript/src/openapi.js";
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import { h, say } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

const REASONS: [ReportReasonInput, string][] = [
  ["harassment", "Harassment"],
  ["threat", "A threat of violence"],
  ["minor_safety", "Danger to a child, or a child in the call"],
  ["inappropriate", "Inappropriate talk"],
  ["hate_speech", "Hate speech"],
  ["spam", "Advertising"],
  ["other", "Something else"],
];

export interface Subject {
  userId: string;
  name: string;
  sessionId: string;
  /** Ends the call that is going on. */
  hangUp?: () => Promise<unknown>;
}

const THANKS = "Thank you. We will look at it. You will not be matched with this partner again.";

/** A button that opens the dialog. */
export function reportButton(subject: Subject, label = "Report or block"): HTMLButtonElement {
  return h("button", { type: "button", "aria-haspopup": "dialog", "aria-label": `Report or block ${subject.name}`, click: () => open(subject) }, label);
}

async function block(userId: string): Promise<void> {
  unwrap(await parlance.rest.PUT("/users/{userId}/block", { params: { path: { userId } } }));
}

/** The same key for each attempt with one content: what a lost answer has reported already is not refused. */
function keyOf(keys: Map<string, string>, content: unknown): string {
  const text = JSON.stringify(content);
  const key = keys.get(text) ?? crypto.randomUUID();
  keys.set(text, key);
  return key;
}

function open({ userId, name, sessionId, hangUp }: Subject): void {
  const keys = new Map<string, string>();
  const check = (id: string, label: string) => {
    const box = h("input", { type: "checkbox", id, checked: true });
    return [box, h("div", { class: "check" }, box, h("label", { for: id }, label))] as const;
  };
  const reason = h("select", { id: "report-reason" }, ...REASONS.map(([value, words]) => h("option", { value }, words)));
  const details = h("textarea", { id: "report-details", maxlength: "2000", rows: "3" });
  const [blocks, blocksRow] = check("report-block", `Block ${name} too`);
  const [ends, endsRow] = check("report-end", "End the call now");
  const problem = h("p", { role: "alert", class: "problem" });
  const submit = h("button", { class: "primary" }, "Send report");
  const only = h("button", { type: "button", click: () => void attempt(() => block(userId), `You will not be matched with ${name} again.`) }, "Block only");
  const cancel = h("button", { type: "button", click: () => dialog.close() }, "Cancel");

  /** Do one thing at a time; the dialog stays open where it fails. */
  const attempt = async (work: () => Promise<void>, done: string) => {
    if (dialog.hasAttribute("aria-busy")) return;
    dialog.setAttribute("aria-busy", "true");
    problem.textContent = "";
    try {
      await work();
      dialog.close();
      if (hangUp && ends.checked) await hangUp().catch(() => undefined);
      say(done);
    } catch (error) {
      problem.textContent = sentence(error);
    } finally {
      dialog.removeAttribute("aria-busy");
    }
  };
  const send = async () => {
    const description = details.value.trim();
    const body = {
      reportedId: userId,
      sessionId,
      reason: reason.value as ReportReasonInput,
      ...(description && { description }),
      ...(blocks.checked && { isBlocked: true }),
    };
    const header = { "Idempotency-Key": keyOf(keys, body) };
    try {
      unwrap(await parlance.rest.POST("/reports", { params: { header }, body }));
    } catch (error) {
      // Reported before, without a block.
      if (!(error instanceof ParlanceError && error.code === "already_reported" && blocks.checked)) throw error;
      await block(userId);
    }
  };
  const form = h(
    "form",
    {
      submit: (event) => {
        event.preventDefault();
        void attempt(send, THANKS);
      },
    },
    h("div", { class: "field" }, h("label", { for: "report-reason" }, "What is wrong?"), reason),
    h("div", { class: "field" }, h("label", { for: "report-details" }, "Details (optional)"), details),
    blocksRow,
    hangUp && endsRow,
    h("p", { class: "hint" }, `${name} is not informed of who reported.`),
    problem,
    h("div", { class: "row" }, submit, only, cancel),
  );
  const dialog = h("dialog", { "aria-labelledby": "report-title", class: "card", close: () => dialog.remove() }, h("h2", { id: "report-title" }, `Report or block ${name}`), form);
  document.body.append(dialog);
  // The browser keeps the focus inside, closes with Escape, and returns the focus to the button.
  dialog.showModal();
}
