/** Deletion of the account, in the profile. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { clearMessages, h, say } from "./dom.ts";
import { attemptWithProof } from "./proof.ts";
import { parlance } from "./session.ts";

/** What is deleted, what stays, and the button that asks for a proof; `deleted` is called afterwards. */
export function deletion(deleted: () => void): HTMLElement {
  const remove = async () => {
    clearMessages();
    const done = await attemptWithProof("Delete your account", "Delete my account for good", async (proof) => void unwrap(await parlance.rest.POST("/users/me/deletion", { body: { proof } })));
    if (!done) return;
    deleted();
    say("Your account and your personal data are deleted.");
  };
  return h(
    "details",
    { class: "card" },
    h("summary", {}, "Delete my account"),
    h("p", {}, "Deleted at once: e-mail address, password, passkeys and linked accounts, profile, picture, devices, notifications, progress in courses, blocks. Courses that you bought are lost."),
    h(
      "p",
      {},
      "What stays without your name: calls, which your partners see in their history, and orders, for accounting. ",
      h("a", { href: "/privacy" }, "How long data is kept"),
    ),
    h("p", {}, h("button", { class: "danger", type: "button", click: () => void remove() }, "Delete my account …")),
    h("p", {}, h("a", { href: "/delete-account" }, "Delete the account by e-mail")),
  );
}
