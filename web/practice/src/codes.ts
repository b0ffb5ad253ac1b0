/** Codes by e-mail: to log in or sign up, and to confirm an address. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { EmailChallenge } from "../../../clients/typescript/src/openapi.js";
import { clearMessages, type Field, form, h, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

export const CODE: Field = {
  name: "code",
  label: "Code",
  hint: "Six digits, from the e-mail.",
  // Pasted codes may have a space in the middle.
  attributes: { inputmode: "numeric", autocomplete: "one-time-code", pattern: "\\s*([0-9]\\s*){6}", required: true },
};

export const digits = (typed: string): string => typed.replace(/\s/g, "");

export async function requestCode(email: string): Promise<EmailChallenge> {
  return unwrap(await parlance.rest.POST("/auth/email-code", { body: { email } }));
}

/** Show the form for a code that was sent to an address; `again` sends another. */
export function enterCode(title: string, email: string, button: string, use: (code: string) => Promise<void>, again: () => Promise<void>, back: () => void): void {
  const attempt = async (work: () => Promise<void>) => {
    clearMessages();
    await work().catch((reason: unknown) => say(sentence(reason), "alert"));
  };
  show(
    title,
    h(
      "div",
      { class: "card" },
      h("p", {}, "We have sent an e-mail with a code to ", h("strong", {}, email), ". It works for ten minutes."),
      form([CODE], button, ({ code = "" }) => attempt(() => use(digits(code)))),
      h(
        "div",
        { class: "row" },
        h("button", { class: "link", type: "button", click: () => void attempt(again) }, "Send another code"),
        h("button", { class: "link", type: "button", click: () => (clearMessages(), back()) }, "Back"),
      ),
    ),
  );
  document.getElementById("code")?.focus();
}
