/** "I want to talk to this partner again": a wish, which the other learns of only if they have it too. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { clearMessages, h, say } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

async function ask(userId: string, isWished: boolean): Promise<void> {
  const path = { params: { path: { userId } } };
  if (isWished) unwrap(await parlance.rest.PUT("/partners/{userId}", path));
  else unwrap(await parlance.rest.DELETE("/partners/{userId}", path));
}

/** A button that asks for partnership, and takes the wish back; not for one who is a partner already. */
export function wish(userId: string, name: string, { isShort = false } = {}): HTMLElement {
  let isWished = false;
  const button = h("button", { type: "button", click: () => void change() });
  const meaning = h("p", { class: "soft" });
  const describe = () => {
    const again = isShort ? "Talk again" : `I want to talk to ${name} again`;
    button.textContent = isWished ? "Take the wish back" : again;
    button.setAttribute("aria-label", isWished ? `Take back the wish to talk to ${name} again` : `I want to talk to ${name} again`);
    if (!isShort) meaning.textContent = isWished ? `Noted. If ${name} wants it too, you find each other in Partners.` : `${name} learns of it only if they want it too.`;
  };
  const change = async () => {
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    clearMessages();
    try {
      await ask(userId, !isWished);
      isWished = !isWished;
      describe();
      say(isWished ? `Noted. ${name} learns of it only if they want it too; then you find each other in Partners.` : "The wish is taken back.");
    } catch (reason) {
      say(sentence(reason), "alert");
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
  describe();
  return h("div", { class: isShort ? "" : "wish" }, button, !isShort && meaning);
}
