/** Learners whom the user has blocked, in the profile, with unblocking. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Block } from "../../../clients/typescript/src/openapi.js";
import { clearMessages, disclosure, face, h, pages, say } from "./dom.ts";
import { parlance } from "./session.ts";
import { day, sentence } from "./words.ts";

/** The list; its first page is read when the section is opened. */
export function blocks(): HTMLElement {
  return disclosure("Blocked learners", () => {
    const [box] = pages<Block>({
      name: "Blocked learners, the latest first",
      kind: "rows",
      nothing: "You have not blocked anybody.",
      more: "Show more",
      read: async (query) => unwrap(await parlance.rest.GET("/users/me/blocks", { params: { query } })),
      row,
      failed: (reason) => say(sentence(reason), "alert"),
    });
    return [h("p", {}, "You are never matched with them, nor they with you. They are not informed."), box];
  });
}

async function setBlocked(userId: string, isBlocked: boolean): Promise<void> {
  const path = { params: { path: { userId } } };
  if (isBlocked) return void unwrap(await parlance.rest.PUT("/users/{userId}/block", path));
  try {
    unwrap(await parlance.rest.DELETE("/users/{userId}/block", path));
  } catch (reason) {
    // Unblocked in another window.
    if (!(reason instanceof ParlanceError && reason.code === "not_found")) throw reason;
  }
}

/** A learner; the row stays after unblocking, so that a mistake can be undone. */
function row({ userId, username, displayName, avatarUrl, blockedAt }: Block): HTMLLIElement {
  const name = displayName ?? username ?? "A learner without a name";
  const since = h("p", { class: "soft" });
  const toggle = h("button", { type: "button", click: () => void change() });
  let isBlocked = true;
  const describe = (at: string) => {
    const handle = username && username !== name ? `${username} · ` : "";
    since.textContent = `${handle}${isBlocked ? `blocked since ${day(at)}` : "not blocked any more"}`;
    toggle.textContent = isBlocked ? "Unblock" : "Block again";
    toggle.setAttribute("aria-label", `${isBlocked ? "Unblock" : "Block"} ${name}${isBlocked ? "" : " again"}`);
  };
  const change = async () => {
    if (toggle.getAttribute("aria-disabled")) return;
    toggle.setAttribute("aria-disabled", "true");
    clearMessages();
    try {
      await setBlocked(userId, !isBlocked);
      isBlocked = !isBlocked;
      describe(new Date().toISOString());
      say(isBlocked ? `${name} is blocked again.` : `${name} is unblocked. If one of you has reported the other, you are still not matched.`);
    } catch (reason) {
      say(sentence(reason), "alert");
    } finally {
      toggle.removeAttribute("aria-disabled");
    }
  };
  describe(blockedAt);
  return h("li", {}, face(name, avatarUrl, "small"), h("div", {}, h("p", {}, h("strong", {}, name)), since), h("p", { class: "end" }, toggle));
}
