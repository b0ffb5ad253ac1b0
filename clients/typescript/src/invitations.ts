/** Invitations of partners: those that wait for an answer here, and the one that this device sends. */
import type { Invitation, InvitationOver, InvitationOverReason, InvitePartner, MatchFound } from "./asyncapi.js";
import { ParlanceError } from "./errors.js";
import type { AckData, RealtimeClient } from "./realtime.js";



/**
 * Bounds of how long an invitation is kept without an event, in milliseconds: its time is the server's, and the clock of
 * a device may be wrong. The longest is the longest that a server can be set to, and some seconds.
 */
const [SHORTEST_MS, LONGEST_MS] = [60_000, 310_000];
/** Milliseconds after the end of an invitation within which its event arrives. */
const MARGIN_MS = 5_000;
/** How many invitations that are over are remembered, for events that arrive the other way round. */
const REMEMBERED = 100;

const MESSAGES: Record<string, string> = {
  declined: "The partner has declined.",
  cancelled: "The invitation was cancelled.",
  expired: "The partner has not answered.",
  unavailable: "The two cannot meet now.",
  accepted: "The invitation was accepted on another device.",
};

/** Create one for each RealtimeClient, before it connects, and keep it: it remembers which invitations are over. */
export class Invitations {
  /** Called with each invitation that arrives, once. */
  onInvited: (invitation: Invitation) => void = () => {};
  /** Called when one of `open` is over; `reason` is `accepted` where another device, or this one, has the call. */
  onOver: (invitation: Invitation, reason: InvitationOverReason) => void = () => {};
  readonly #realtime: RealtimeClient;
  readonly #open = new Map<string, { invitation: Invitation; timer: ReturnType<typeof setTimeout> }>();
  readonly #over = new Map<string, InvitationOverReason | MatchFound>();

  constructor(realtime: RealtimeClient) {
    this.#realtime = realtime;
    realtime.socket
      .on("invitation", (invitation) => this.#add(invitation))
      .on("invitation_over", ({ invitationId, reason }) => this.#end(invitationId, reason))
      .on("match_found", (match) => match.invitationId && this.#end(match.invitationId, match))
      // The server sends those that are still open to each new connection.
      .on("disconnect", () => [...this.#open.keys()].forEach((id) => this.#forget(id, "unavailable")));
  }

  /** The invitations that can be answered, the oldest first. */
  get open(): Invitation[] {
    return [...this.#open.values()].map(({ invitation }) => invitation);
  }

  /**
   * Invite a partner, and wait for the match. Where that partner invites this learner at the same time, the two meet too.
   *
   * Throw ParlanceError with the code of a refusal, or with the reason for which the invitation is over: `declined`,
   * `expired`, `cancelled` or `unavailable`. Aborting the signal cancels it; a match that came first is returned.
   * `onSent` is called when the server has it.
   */
  async invite(invite: InvitePartner, { signal, onSent = () => {} }: { signal?: AbortSignal; onSent?: (sent: AckData<"invite_partner">) => void } = {}): Promise<MatchFound> {
    signal?.throwIfAborted();
    const sent = await this.#realtime.send("invite_partner", invite);
    onSent(sent);
    return this.#await(sent, signal);
  }

  /** Accept an invitation, and wait for the match. Throw ParlanceError: in a call `already_in_room`, and it stays open. */
  async accept(invitationId: string): Promise<MatchFound> {
    try {
      await this.#realtime.send("answer_invitation", { invitationId, isAccepted: true });
    } catch (reason) {
      this.#refused(invitationId, reason);
      throw reason;
    }
    return this.#await({ invitationId, expiresAt: "" });
  }

  async decline(invitationId: string): Promise<void> {
    try {
      await this.#realtime.send("answer_invitation", { invitationId, isAccepted: false });
    } catch (reason) {
      if (!this.#refused(invitationId, reason)) throw reason;
    }
    this.#end(invitationId, "declined");
  }

  /** Wait for the end of an invitation: return the match, or throw why there is none. */
  #await({ invitationId, expiresAt }: Pick<AckData<"invite_partner">, "invitationId" | "expiresAt">, signal?: AbortSignal): Promise<MatchFound> {
    const { socket } = this.#realtime;
    return new Promise((resolve, reject) => {
      const cancel = () => {
        // Refused where the partner was quicker: an event with the end, or the match, has arrived or follows.
        void this.#realtime.send("cancel_invitation", { invitationId }).then(
          () => settle(signal?.aborted ? "cancelled" : "expired"),
          (reason: unknown) => {
            if (!(reason instanceof ParlanceError) || reason.code !== "invitation_over") return fail(reason);
            later = setTimeout(() => settle("expired"), MARGIN_MS);
          },
        );
      };
      // An event of the end may have been lost with a connection.
      let later = setTimeout(cancel, lifetime(expiresAt) + MARGIN_MS);
      const stop = () => {
        clearTimeout(later);
        socket.off("match_found", found).off("invitation_over", over);
        signal?.removeEventListener("abort", cancel);
      };
      const fail = (reason: unknown) => {
        stop();
        reject(reason);
      };
      const settle = (end: InvitationOverReason | MatchFound | undefined) => {
        if (end === undefined) return;
        if (typeof end === "string") return fail(new ParlanceError(end, MESSAGES[end] ?? "The invitation is over."));
        stop();
        resolve(end);
      };
      const found = (match: MatchFound) => settle(match.invitationId === invitationId ? match : undefined);
      const over = (end: InvitationOver) => settle(end.invitationId === invitationId ? end.reason : undefined);
      socket.on("match_found", found).on("invitation_over", over);
      signal?.addEventListener("abort", cancel);
      if (signal?.aborted) cancel();
      // The match, or the end, may arrive before the ack.
      settle(this.#over.get(invitationId));
    });
  }

  /** Forget an invitation that the server says is over; return whether it does. */
  #refused(invitationId: string, reason: unknown): boolean {
    const isOver = reason instanceof ParlanceError && ["invitation_over", "partner_unavailable", "not_found"].includes(reason.code);
    if (isOver) this.#forget(invitationId, "unavailable");
    return isOver;
  }

  #add(invitation: Invitation): void {
    const { invitationId, expiresAt } = invitation;
    if (this.#over.has(invitationId) || this.#open.has(invitationId)) return;
    const timer = setTimeout(() => this.#end(invitationId, "expired"), lifetime(expiresAt));
    this.#open.set(invitationId, { invitation, timer });
    this.onInvited(invitation);
  }

  #end(invitationId: string, end: InvitationOverReason | MatchFound): void {
    this.#over.set(invitationId, end);
    const [oldest] = this.#over.keys();
    if (this.#over.size > REMEMBERED && oldest !== undefined) this.#over.delete(oldest);
    this.#forget(invitationId, typeof end === "object" ? "accepted" : end);
  }

  #forget(invitationId: string, reason: InvitationOverReason): void {
    const known = this.#open.get(invitationId);
    if (known === undefined) return;
    clearTimeout(known.timer);
    this.#open.delete(invitationId);
    this.onOver(known.invitation, reason);
  }
}

/** Milliseconds until an invitation is over at the latest. */
function lifetime(expiresAt: string): number {
  const left = Date.parse(expiresAt) - Date.now();
  return Math.min(Math.max(Number.isNaN(left) ? 0 : left, SHORTEST_MS), LONGEST_MS);
}
