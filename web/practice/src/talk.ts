/** Search, invitation, call, and what follows a call. */
import { Call, type EndReason, type Role } from "../../../clients/typescript/src/call.js";
import type { FindPartner, Invitation, MatchFound } from "../../../clients/typescript/src/asyncapi.js";
import type { Invitations } from "../../../clients/typescript/src/index.js";
import { ParlanceError } from "../../../clients/typescript/src/rest.js";
import type { Me } from "../../../clients/typescript/src/openapi.js";
import type { RealtimeClient } from "../../../clients/typescript/src/realtime.js";
import { showAfterwards } from "./afterwards.ts";
import { type Person, showRinging, showUnanswered } from "./calling.ts";
import { showConversation } from "./conversation.ts";
import { clearMessages, place, say, show } from "./dom.ts";
import { isGate } from "./gates.ts";
import { figures } from "./history.ts";
import { type Among, rest, searchForm } from "./search.ts";
import { showWaiting, updateWaiting } from "./waiting.ts";
import { sentence } from "./words.ts";

/** The state of a call that a reloaded page restores; it ends with the window. */
interface StoredCall {
  match: MatchFound;
  role: Role | undefined;
  since: number;
}
const STORAGE_KEY = "call";

const ENDINGS: Record<EndReason, string> = {
  left: "You hung up.",
  ended: "Your partner hung up.",
  disconnected: "Your partner's connection was lost.",
  timeout: "The call reached its longest time.",
  banned: "Your partner was removed from the call.",
  lost: "The call is over: your connection was lost for too long.",
  cancelled: "Your partner did not join. You are still in the queue.",
  replaced: "The call continues in another of your windows.",
};

/** Codes that end a search, beside those of gates; `search_expired` follows. */
const SEARCH_REFUSED = ["resting", "pool_closed", "pairing_on_hold"];
/** Codes of a connection that is closed because its login has ended. */
const LOGIN_ENDS = ["banned", "account_suspended", "unauthenticated"];

export class Talk {
  readonly #go: (path: string) => void;
  readonly #realtime: RealtimeClient;
  readonly #invitations: Invitations;
  #search: FindPartner | undefined;
  /** Aborts the invitation that rings. */
  #inviting: AbortController | undefined;
  #microphone: MediaStream | undefined;
  #call: Call | undefined;
  /** Until when no strangers can be met, in milliseconds. */
  #restsUntil = 0;

  /** `go` shows another view, also the start after a call or search; `endLogin` is called when the server has ended the login. */
  constructor(realtime: RealtimeClient, invitations: Invitations, go: (path: string) => void, endLogin: (reason: ParlanceError) => void) {
    this.#go = go;
    this.#realtime = realtime;
    this.#invitations = invitations;
    const { socket } = realtime;
    socket.on("match_found", (match) => void this.#enter(match));
    socket.on("searching", (state) => this.#search && updateWaiting(this.#search, state));
    socket.on("resting", ({ until }) => {
      this.#restsUntil = Date.parse(until);
    });
    // A search that its learner may not continue ends with an error, and `search_expired` after it.
    socket.on("error", ({ code, message }) => (isGate(code) || SEARCH_REFUSED.includes(code)) && this.#giveUp(sentence(new ParlanceError(code, message))));
    socket.on("search_expired", () => this.#giveUp("Nobody was free within five minutes. Try again, perhaps with any level."));
    socket.on("session_replaced", () => this.#giveUp("You have opened Parlance in too many windows, and this one was left out. Load the page again to use it here."));
    // A closed socket leaves the queue, so search again; the client rejoins a call.
    socket.on("connect", () => {
      if (this.#inviting) clearMessages();
      if (this.#search && !this.#call) void this.#queue(this.#search, { isAgain: true });
    });
    realtime.onClosed = (reason) => (LOGIN_ENDS.includes(reason.code) ? endLogin(reason) : this.#giveUp(sentence(reason)));
    socket.on("disconnect", () => {
      if (this.isBusy) say("Your connection was lost. Reconnecting …", "alert");
    });
  }

  /** Whether there is a search, an invitation or a call, which no other view may replace. */
  get isBusy(): boolean {
    return Boolean(this.#search || this.#inviting || this.#call);
  }

  close(): void {
    this.#call = this.#search = this.#inviting = undefined;
    sessionStorage.removeItem(STORAGE_KEY);
    this.#realtime.close();
    this.#release();
  }

  /** Show the start: a search among those whom the learner may meet, or the rest from strangers. */
  idle(me: Me, among: Among[]): void {
    const find = (search: FindPartner) => this.find(search);
    const isResting = this.#restsUntil > Date.now();
    const home = () => this.#go("");
    // The view before has to be left first: the countdown ends with the view.
    show(`Hello, ${me.displayName ?? me.username ?? "learner"}`, figures(me));
    place("main").append(isResting ? rest(this.#restsUntil, among, find, home) : searchForm(among, find));
  }

  /** Invite a partner, and show the ringing until there is a call or none. */
  async invite(person: Person): Promise<void> {
    if (this.isBusy) return;
    clearMessages();
    const inviting = new AbortController();
    this.#inviting = inviting;
    let end: unknown;
    try {
      await this.#listen();
      showRinging(person, () => inviting.abort());
      // `match_found` enters the call.
      await this.#invitations.invite({ userId: person.userId }, { signal: inviting.signal });
      return;
    } catch (reason) {
      end = reason;
    }
    // A call, or a logout, was first.
    if (this.#inviting !== inviting) return;
    this.#inviting = undefined;
    this.#release();
    if (inviting.signal.aborted) return this.#go("partners");
    if (end instanceof ParlanceError && isGate(end.code)) return this.#backTo("", sentence(end));
    showUnanswered(person, end, () => void this.invite(person));
  }

  /** Accept a partner's invitation; throw where that is refused. The call begins with `match_found`. */
  async accept({ invitationId }: Invitation): Promise<void> {
    if (this.#call) throw new ParlanceError("in_call", "You are in a call. Hang up first, then accept the invitation.");
    try {
      await this.#listen();
      await this.#invitations.accept(invitationId);
    } catch (reason) {
      if (!this.isBusy) this.#release();
      throw reason;
    }
  }

  async find(search: FindPartner): Promise<void> {
    clearMessages();
    try {
      // Before the search: a partner should not wait for the permission.
      await this.#listen();
    } catch (reason) {
      say(sentence(reason), "alert");
      return;
    }
    this.#search = search;
    this.#waiting(search);
    if (this.#realtime.socket.connected) await this.#queue(search);
    else this.#realtime.socket.connect();
  }

  /** Rejoin the call that this window was in before a reload; return whether there was one. */
  async resume(): Promise<boolean> {
    const kept = sessionStorage.getItem(STORAGE_KEY);
    if (!kept) return false;
    const { match, role, since } = JSON.parse(kept) as StoredCall;
    await this.#enter(match, role, since);
    return true;
  }

  async #queue(search: FindPartner, { isAgain = false } = {}): Promise<void> {
    try {
      await this.#realtime.send("find_partner", search);
    } catch (reason) {
      const code = reason instanceof ParlanceError ? reason.code : undefined;
      // The connection was dead; the search begins again with the next one.
      if (code === "timeout" && !this.#realtime.socket.connected) return;
      if (code !== "already_searching" || !isAgain) return this.#giveUp(sentence(reason));
      // The server has not noticed yet that the connection of the earlier search is gone.
      await this.#realtime.send("cancel_search", {}).catch(() => undefined);
      if (this.#search === search && !this.#call) await this.#queue(search);
    }
  }

  async #listen(): Promise<MediaStream> {
    // Only pages over https or on localhost have it.
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    this.#microphone ??= await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    return this.#microphone;
  }

  #release(): void {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = undefined;
  }

  /** End the search, and show why. */
  #giveUp(why: string): void {
    if (!this.#search && !this.#call) return;
    this.#search = undefined;
    this.#release();
    if (this.#call) return;
    this.#backTo("", why);
  }

  #backTo(path: string, why: string): void {
    this.#go(path);
    say(why, "alert");
  }

  #waiting(search: FindPartner): void {
    const cancel = async () => {
      this.#search = undefined;
      this.#release();
      this.#go("");
      await this.#realtime.send("cancel_search", {}).catch(() => undefined);
    };
    showWaiting(search, cancel, () => this.#widen());
  }

  /** Continue the search with partners of any level. */
  async #widen(): Promise<void> {
    const { strict: _, ...kept } = this.#search ?? {};
    const search: FindPartner = { ...kept, level: "all" };
    this.#search = search;
    this.#waiting(search);
    // If a match came first it remains, and there is no search to cancel.
    await this.#realtime.send("cancel_search", {}).catch(() => undefined);
    if (this.#search === search && !this.#call) await this.#queue(search);
  }

  async #enter(match: MatchFound, role?: Role, since = Date.now()): Promise<void> {
    place("nav").hidden = true;
    this.#inviting = undefined;
    // Accepting an invitation ends a search.
    if (match.invitationId) this.#search = undefined;
    const keep = (part: Role | undefined) => sessionStorage.setItem(STORAGE_KEY, JSON.stringify({ match, role: part, since } satisfies StoredCall));
    try {
      const microphone = await this.#listen();
      const call = new Call(this.#realtime, match, microphone, {}, role);
      this.#call = call;
      keep(role);
      call.onRole = keep;
      const leave = showConversation(call, microphone, since, this.#realtime.socket);
      void call.ended.then((ending) => {
        leave();
        this.#over(call, ending, Date.now() - since);
      });
      await call.join();
      if (this.#call === call) clearMessages();
    } catch (reason) {
      sessionStorage.removeItem(STORAGE_KEY);
      this.#call = this.#search = undefined;
      this.#release();
      this.#go("");
      const isOver = reason instanceof ParlanceError && ["not_in_room", "room_closed"].includes(reason.code);
      say(isOver ? "That call is over." : sentence(reason), "alert");
    }
  }

  #over(call: Call, ending: EndReason, milliseconds: number): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    sessionStorage.removeItem(STORAGE_KEY);
    const { match } = call;
    if (ending === "cancelled" && !match.invitationId) {
      // The server continues the search; a page that was loaded again does not know it any more.
      this.#search ??= { level: "all" };
      this.#waiting(this.#search);
      say(ENDINGS.cancelled);
      return;
    }
    this.#search = undefined;
    this.#release();
    if (ending === "cancelled") return showUnanswered(match.partner, new ParlanceError("not_joined", ""), () => void this.invite(match.partner));
    if (ending === "replaced") return this.#backTo("", ENDINGS.replaced);
    showAfterwards(match, milliseconds, () => this.#go(""));
    say(ENDINGS[ending] ?? "The call is over.");
  }
}
