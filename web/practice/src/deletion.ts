/** Deletion of the account, in the profile. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { clearMessages, form, h, say } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence } from "./words.ts";

/** What is deleted, what stays, and the form that asks for the password; `deleted` is called afterwards. */
export function deletion(deleted: () => void): HTMLElement {
  const remove = async ({ deletionPassword = "" }: Record<string, string>) => {
    clearMessages();
    try {
      unwrap(await parlance.rest.POST("/users/me/deletion", { body: { password: deletionPassword } }));
    } catch (reason) {
      return say(sentence(reason), "alert");
    }
    deleted();
    say("Your account and your personal data are deleted.");
  };
  const field = {
    name: "deletionPassword",
    label: "Your password",
    hint: "It confirms that it is you. This cannot be undone.",
    attributes: { type: "password", required: true, maxlength: "72", autocomplete: "current-password" },
  };
  return h(
    "details",
    { class: "card" },
    h("summary", {}, "Delete my account"),
    h("p", {}, "Deleted at once: e-mail address, password, profile, picture, devices, notifications, progress in courses, blocks. Courses that you bought are lost."),
    h(
      "p",
      {},
      "What stays without your name: calls, which your partners see in their history, and orders, for accounting. ",
      h("a", { href: "/privacy" }, "How long data is kept"),
    ),
    form([field], "Delete my account for good", remove),
    h("p", {}, h("a", { href: "/delete-account" }, "No password? Delete the account by e-mail")),
  );
}
