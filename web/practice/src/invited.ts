/** Invitations that this learner receives: a banner above every view, also in a call. */
import type { Invitation } from "../../../clients/typescript/src/asyncapi.js";
import type { Invitations } from "../../../clients/typescript/src/index.js";
import { clearMessages, face, h, place, say } from "./dom.ts";
import { sentence } from "./words.ts";

export class Banner {
  readonly #invitations: Invitations;
  readonly #accept: (invitation: Invitation) => Promise<void>;
  readonly #rows = new Map<string, HTMLElement>();

  /** `accept` begins the call; it throws where that is refused. */
  constructor(invitations: Invitations, accept: (invitation: Invitation) => Promise<void>) {
    this.#invitations = invitations;
    this.#accept = accept;
    invitations.onInvited = (invitation) => this.#show(invitation);
    invitations.onOver = (invitation, reason) => {
      this.#remove(invitation.invitationId);
      if (reason === "cancelled") say(`${invitation.partner.displayName} has taken the invitation back.`);
      if (reason === "expired") say(`You have missed an invitation of ${invitation.partner.displayName}.`);
    };
  }

  close(): void {
    for (const id of [...this.#rows.keys()]) this.#remove(id);
  }

  #show(invitation: Invitation): void {
    const { invitationId, partner, topic } = invitation;
    const attempt = async (work: () => Promise<void>) => {
      if (row.hasAttribute("aria-busy")) return;
      row.setAttribute("aria-busy", "true");
      clearMessages();
      try {
        await work();
      } catch (reason) {
        say(sentence(reason), "alert");
      } finally {
        row.removeAttribute("aria-busy");
      }
    };
    const accept = () => attempt(() => this.#accept(invitation));
    const decline = () =>
      attempt(async () => {
        await this.#invitations.decline(invitationId);
        say(`You have declined. You can invite ${partner.displayName} later.`);
      });
    const row = h(
      "div",
      { class: "card row" },
      face(partner.displayName, partner.avatarUrl, "small"),
      h("p", {}, h("strong", {}, `${partner.displayName} invites you to a call`), topic && ` about ${topic}`),
      h("span", { class: "row" }, h("button", { class: "primary", click: () => void accept() }, "Accept"), h("button", { click: () => void decline() }, "Decline")),
    );
    this.#rows.set(invitationId, row);
    place("invitations").append(row);
  }

  #remove(id: string): void {
    const row = this.#rows.get(id);
    const hadFocus = row?.contains(document.activeElement);
    row?.remove();
    this.#rows.delete(id);
    // Its button had the focus, which would be lost.
    if (hadFocus) document.querySelector("h1")?.focus({ preventScroll: true });
  }
}
