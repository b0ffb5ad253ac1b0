/** Report or block a partner: in the call, after it, and from the list of calls. */
import type { ReportReasonInput } from "../../../clients/typescript/src/openapi.js";
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import { h, openDialog, say } from "./dom.ts";
import { idempotencyKey, parlance } from "./session.ts";
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

  const send = async () => {
    const description = details.value.trim();
    const body = {
      reportedId: userId,
      sessionId,
      reason: reason.value as ReportReasonInput,
      ...(description && { description }),
      ...(blocks.checked && { isBlocked: true }),
    };
    const header = { "Idempotency-Key": idempotencyKey(keys, body) };
    try {
      unwrap(await parlance.rest.POST("/reports", { params: { header }, body }));
    } catch (error) {
      // Reported before, without a block.
      if (!(error instanceof ParlanceError && error.code === "already_reported" && blocks.checked)) throw error;
      await block(userId);
    }
  };
  openDialog(`Report or block ${name}`, sentence, ({ attempt, close, problem }) => {
    const finish = async (words: string) => {
      if (hangUp && ends.checked) await hangUp().catch(() => undefined);
      say(words);
    };
    const submit = h("button", { class: "primary" }, "Send report");
    const only = h("button", { type: "button", click: () => void attempt(() => block(userId), () => finish(`You will not be matched with ${name} again.`)) }, "Block only");
    const cancel = h("button", { type: "button", click: close }, "Cancel");
    const form = h(
      "form",
      {
        submit: (event) => {
          event.preventDefault();
          void attempt(send, () => finish(THANKS));
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
    return [form];
  });
}
