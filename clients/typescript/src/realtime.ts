/** The Socket.IO connection: events and acks typed by asyncapi.yaml. It reconnects, and rejoins the room of a call. */
import { type Socket, io } from "socket.io-client";
import type { ClientEvents, FindPartner, MatchFound, ServerEvents } from "./asyncapi.js";
import { ParlanceError, type Restriction } from "./errors.js";

export type ClientEvent = keyof ClientEvents;
export type Payload<E extends ClientEvent> = Parameters<ClientEvents[E]>[0];
export type Ack<E extends ClientEvent> = Parameters<Parameters<ClientEvents[E]>[1]>[0];
/** What an ack adds when the event was accepted. */
export type AckData<E extends ClientEvent> = Extract<Ack<E>, { ok: true }>;

/** Where the server is, and the tokens for it: a ParlanceClient, or an app's own. */
export interface TokenSource {
  readonly url: string;
  /** The newest access token; called for each attempt to connect. */
  accessToken(): Promise<string>;
  /**
   * A new access token, after the server refused the last one. Throw a ParlanceError with status 401 if there is none
   * without a new login; after any other error the client tries again.
   */
  refresh(): Promise<string>;
}

/** Milliseconds within which an ack arrives; if nothing else arrives either, the connection is dead. */
const ACK_TIMEOUT_MS = 5_000;
/**
 * Events that are sent again after a lost connection, because a second one changes nothing. Not a search, which was lost
 * with its socket, nor a description: after a reconnection the caller makes a new offer, which an older answer would not fit.
 */
const REPEATED: ReadonlySet<string> = new Set(["webrtc_ice", "refresh_ice", "app_state", "end_call"]);
/** Codes of `end_call` for a call that has ended before. */
const ENDED: readonly string[] = ["room_closed", "not_in_room"];
/** First and longest delay between two attempts to connect. A call waits for a lost participant for seconds only. */
const [RECONNECT_MS, RECONNECT_MAX_MS] = [250, 5_000];
/** Events that end a search without a match. */
const SEARCH_ENDS = ["search_expired", "session_replaced"];
/** Events that end the room for this socket: the partner left, or another socket of this account replaced it. */
const ROOM_ENDS = ["peer_left", "partner_cancelled", "session_replaced"];

export class RealtimeClient {
  /** Listen for events here: `socket.on("peer_left", ({ reason }) => ...)`. */
  readonly socket: Socket<ServerEvents, ClientEvents>;
  /** Called when the room could not be joined again after the connection was lost. */
  onRoomLost: (reason: ParlanceError) => void = () => {};
  /** Called when the connection is closed for good: `unauthenticated` (log in again), `banned`, `account_suspended` or `session_replaced`. */
  onClosed: (reason: ParlanceError) => void = () => {};
  readonly #tokens: TokenSource;
  #isTokenRefused = false;
  #attempts = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #lastEvent: string | undefined;
  #room: string | undefined;
  /** The number of the last signal received in this room, so that the server can send what was missed. */
  #lastSeq: number | undefined;
  /** When something last came from the server, in milliseconds. */
  #receivedAt = 0;
  /** The join that is in progress. */
  #entering: Promise<unknown> | undefined;
  /** Number of the last event that was sent. */
  #sent = 0;
  /** Called when the socket is connected, those of earlier events first, or closed for good. */
  #waiting: { order: number; resolve: () => void; reject: (reason: ParlanceError) => void }[] = [];

  /** Connect; the connection stays until `close`. */
  constructor(tokens: TokenSource) {
    this.#tokens = tokens;
    this.socket = io(tokens.url, {
      transports: ["websocket"],
      // Two accounts of one page are two connections.
      forceNew: true,
      reconnectionDelay: RECONNECT_MS,
      reconnectionDelayMax: RECONNECT_MAX_MS,
      // A function: the token may have expired since the last attempt.
      auth: (send) => void this.#authenticate(send),
    });
    this.socket.on("connect", () => {
      this.#isTokenRefused = false;
      this.#attempts = 0;
      this.#rejoin();
      for (const { resolve } of this.#waiting.splice(0).sort((one, other) => one.order - other.order)) resolve();
    });
    this.socket.io.on("ping", () => this.#received());
    this.socket.on("resync", () => this.#rejoin());
    this.socket.on("connect_error", (error) => this.#refused(error));
    this.socket.on("disconnect", (reason) => {
      // After any other reason socket.io-client reconnects by itself.
      if (reason !== "io server disconnect") return;
      if (this.#lastEvent === "session_replaced") this.#fail(new ParlanceError("session_replaced", "Another device took the place of this connection."));
      else this.#connectLater();
    });
    this.socket.onAny((event: string, payload: unknown) => {
      this.#received();
      this.#lastEvent = event;
      if (ROOM_ENDS.includes(event)) this.#leave();
      if (typeof payload === "object" && payload !== null && "seq" in payload && typeof payload.seq === "number") {
        this.#lastSeq = payload.seq;
      }
    });
  }

  /**
   * Send an event and wait for its ack; throw ParlanceError with the code of a refusal, or `timeout`.
   *
   * Without an ack the connection may be dead: then the client reconnects and joins its room again. What has no effect
   * twice it sends again after that; so there is no `timeout` for these events, but `disconnected` after `close`.
   */
  async send<E extends ClientEvent>(event: E, payload: Payload<E>): Promise<AckData<E>> {
    const order = ++this.#sent;
    let answer = await this.#emit(event, payload);
    while (answer === undefined && REPEATED.has(event)) {
      await this.#returned(order);
      answer = await this.#emit(event, payload);
      if (event === "end_call" && answer?.ok === false && ENDED.includes(answer.error.code)) return { ok: true } as AckData<E>;
    }
    return read(event, answer);
  }

  /**
   * Search for a partner and wait for the match; aborting the signal cancels the search. The code `invitation_accepted`
   * means that the search has ended with the call of an invitation, which `Invitations` returns.
   */
  findPartner(search: FindPartner = {}, signal?: AbortSignal): Promise<MatchFound> {
    return this.#match(signal, () => this.send("find_partner", search));
  }

  /** Wait for the next match: after `partner_cancelled` the server continues the search. */
  nextMatch(signal?: AbortSignal): Promise<MatchFound> {
    return this.#match(signal, () => Promise.resolve());
  }

  /** Join a room, and join it again after each reconnection, until the call ends. */
  async join(roomId: string): Promise<AckData<"join_room">> {
    this.#lastSeq = undefined;
    const answer = await this.#enter(roomId);
    this.#room = roomId;
    // From now on no number means that all signals were missed.
    this.#lastSeq ??= 0;
    return answer;
  }

  /** End the call of the joined room. */
  async end(): Promise<void> {
    const roomId = this.#room;
    this.#leave();
    if (roomId !== undefined) await this.send("end_call", { roomId });
  }

  /** Close the connection; a search and a call end with it. */
  close(): void {
    this.#leave();
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.socket.disconnect();
    for (const { reject } of this.#waiting.splice(0)) reject(closed());
  }

  /** Send an event; return its ack, or nothing if none arrived. */
  #emit<E extends ClientEvent>(event: E, payload: Payload<E>): Promise<Ack<E> | undefined> {
    const { id } = this.socket;
    return new Promise((resolve) => {
      const acknowledged = (late: Error | null, answer: Ack<E>) => {
        if (!late) this.#received();
        else if (id !== undefined) this.#reconnectAfterSilence(id);
        resolve(late ? undefined : answer);
      };
      // TypeScript cannot relate the two through E; the signature above does.
      this.socket.timeout(ACK_TIMEOUT_MS).emit(event, ...([payload, acknowledged] as never));
    });
  }

  /**
   * Reconnect, unless something came in the time of an ack: a server that is slow would be slower with all its clients
   * reconnecting. What was on its way when the connection died may have come after the event was sent, so the rest of
   * that time is waited for.
   */
  #reconnectAfterSilence(id: string): void {
    const receivedAt = this.#receivedAt;
    const reconnect = () => {
      if (this.socket.id === id && this.#receivedAt === receivedAt) this.#connectLater();
    };
    const rest = ACK_TIMEOUT_MS - (performance.now() - receivedAt);
    if (rest > 0) setTimeout(reconnect, rest);
    else reconnect();
  }

  #received(): void {
    this.#receivedAt = performance.now();
  }

  /** Wait until the socket is connected; throw ParlanceError when it is closed. */
  #connected(order = 0): Promise<void> {
    if (this.socket.connected) return Promise.resolve();
    if (!this.socket.active && this.#retry === undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => this.#waiting.push({ order, resolve, reject }));
  }

  /** Wait until the socket is connected, and in its room again. */
  async #returned(order: number): Promise<void> {
    await this.#connected(order);
    await this.#entering;
  }

  #match(signal: AbortSignal | undefined, begin: () => Promise<unknown>): Promise<MatchFound> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const settled = new AbortController();
      const settle = (done: () => void) => {
        settled.abort();
        this.socket.off("match_found", found).off("disconnect", dropped).offAny(ended);
        done();
      };
      const found = (match: MatchFound) =>
        settle(() => {
          // An older server has no invitations.
          if (!match.invitationId) resolve(match);
          else reject(new ParlanceError("invitation_accepted", "The search ended with an invitation."));
        });
      const dropped = () => settle(() => reject(new ParlanceError("disconnected", "The connection was lost.")));
      const ended = (event: string) => {
        if (SEARCH_ENDS.includes(event)) settle(() => reject(new ParlanceError(event, "The search has ended.")));
      };
      this.socket.on("match_found", found).on("disconnect", dropped).onAny(ended);
      const abort = () => {
        this.send("cancel_search", {}).then(
          () => settle(() => reject(signal?.reason)),
          // Too late: the match was already made.
          () => {},
        );
      };
      signal?.addEventListener("abort", abort, { signal: settled.signal });
      begin().catch((reason) => settle(() => reject(reason)));
    });
  }

  async #authenticate(send: (auth: { token: string }) => void): Promise<void> {
    try {
      send({ token: await (this.#isTokenRefused ? this.#tokens.refresh() : this.#tokens.accessToken()) });
    } catch (error) {
      // It was closed meanwhile.
      if (!this.socket.active) return;
      if (error instanceof ParlanceError && error.status === 401) this.#fail(error);
      else this.#connectLater();
    }
  }

  /** Handle a refused handshake, after which socket.io-client does not reconnect by itself. */
  #refused({ message: code, data }: Error & { data?: Partial<Restriction> }): void {
    if (this.socket.active) return;
    const isFinal = code === "banned" || code === "account_suspended" || (code === "unauthenticated" && this.#isTokenRefused);
    // Without data there is no sanction in force any more.
    const restriction = data?.ground === undefined ? undefined : { ground: data.ground, until: data.until ?? null };
    if (isFinal) return this.#fail(new ParlanceError(code, "The server refused the connection.", undefined, undefined, restriction));
    this.#isTokenRefused ||= code === "unauthenticated";
    this.#connectLater();
  }

  #connectLater(): void {
    // The delays of socket.io-client: doubled each time, and spread so that not all clients come at once.
    const delay = Math.min(RECONNECT_MS * 2 ** this.#attempts++, RECONNECT_MAX_MS) * (0.5 + Math.random());
    this.socket.disconnect();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.socket.connect();
    }, delay);
  }

  #fail(reason: ParlanceError): void {
    if (this.#room !== undefined) this.#lose(reason);
    this.close();
    this.onClosed(reason);
  }

  #rejoin(): void {
    if (this.#room === undefined || this.#entering) return;
    this.#enter(this.#room).catch((reason: ParlanceError) => this.#lose(reason));
  }

  #enter(roomId: string): Promise<AckData<"join_room">> {
    const entering = this.#request(roomId).finally(() => {
      if (this.#entering === entering) this.#entering = undefined;
    });
    this.#entering = entering;
    return entering;
  }

  /** Send `join_room` until it is acknowledged, each time with the number of the last signal received by then. */
  async #request(roomId: string): Promise<AckData<"join_room">> {
    for (;;) {
      const answer = await this.#emit("join_room", this.#lastSeq === undefined ? { roomId } : { roomId, after: this.#lastSeq });
      if (answer !== undefined) return read("join_room", answer);
      await this.#connected();
    }
  }

  #leave(): void {
    this.#room = this.#lastSeq = undefined;
  }

  #lose(reason: ParlanceError): void {
    this.#leave();
    this.onRoomLost(reason);
  }
}

const closed = () => new ParlanceError("disconnected", "The connection was closed.");

function read<E extends ClientEvent>(event: E, answer: Ack<E> | undefined): AckData<E> {
  if (answer === undefined) throw new ParlanceError("timeout", `The server did not acknowledge ${event}.`);
  if (!answer.ok) throw new ParlanceError(answer.error.code, answer.error.message);
  return answer as AckData<E>;
}
