/** The Socket.IO connection: events and acks typed by asyncapi.yaml, and a room that outlives a lost connection. */
import { type Socket, io } from "socket.io-client";
import type { ClientEvents, FindPartner, MatchFound, ServerEvents } from "./asyncapi.ts";
import { Refused } from "./client.ts";

export type ClientEvent = keyof ClientEvents;
export type Payload<E extends ClientEvent> = Parameters<ClientEvents[E]>[0];
export type Answer<E extends ClientEvent> = Parameters<Parameters<ClientEvents[E]>[1]>[0];
/** What an ack adds when the event was accepted. */
export type Success<E extends ClientEvent> = Extract<Answer<E>, { ok: true }>;

export interface AccessTokens {
  current(): Promise<string>;
  renewed(): Promise<string>;
}

/** Milliseconds within which an ack arrives. */
const ACK_TIMEOUT_MS = 10_000;
// Compared as text, for a server may be older or newer than these types.
const ENDS_SEARCH = ["search_expired", "session_replaced"];
/** Events that end the room for this socket: the partner left, or another socket of this account replaced it. */
const ENDS_ROOM = ["peer_left", "partner_cancelled", "session_replaced"];

export class Practice {
  /** Listen for events here: `socket.on("peer_left", ({ reason }) => ...)`. */
  readonly socket: Socket<ServerEvents, ClientEvents>;
  /** Called when the room could not be joined again after the connection was lost. */
  onLost: (reason: Refused) => void = () => {};
  #room: string | undefined;
  /** The number of the last signaling event received in this room, so that the server can send what was missed. */
  #lastSeq: number | undefined;

  constructor(url: string, tokens: AccessTokens) {
    let refused = false;
    this.socket = io(url, {
      transports: ["websocket"],
      // Two accounts of one page are two connections.
      forceNew: true,
      // A call waits for its lost side for seconds only: the first attempt comes soon, the next ones are spread out.
      reconnectionDelay: 250,
      // Called at every attempt: the token may have expired since the last one.
      auth: (give) => {
        void (refused ? tokens.renewed() : tokens.current()).then(
          (token) => give({ token }),
          () => give({}),
        );
      },
    });
    const enterAgain = () => {
      if (this.#room !== undefined) this.#enter(this.#room).catch((reason: Refused) => this.#lose(reason));
    };
    this.socket.on("connect", () => {
      refused = false;
      enterAgain();
    });
    this.socket.on("resync", enterAgain);
    this.socket.on("connect_error", ({ message }) => {
      // socket.io-client does not retry after a refusal; an expired token is worth one more attempt.
      if (message === "unauthenticated" && !refused) {
        refused = true;
        this.socket.connect();
      }
    });
    this.socket.onAny((event: string, payload: unknown) => {
      if (ENDS_ROOM.includes(event)) this.#leave();
      if (typeof payload === "object" && payload !== null && "seq" in payload && typeof payload.seq === "number") {
        this.#lastSeq = payload.seq;
      }
    });
  }

  /** Send an event and wait for its ack; raise Refused with the code of a refusal. */
  async send<E extends ClientEvent>(event: E, payload: Payload<E>): Promise<Success<E>> {
    const answer = await new Promise<Answer<E>>((resolve, reject) => {
      const acknowledged = (late: Error | null, answer: Answer<E>) => (late ? reject(late) : resolve(answer));
      // TypeScript cannot relate the two through E; the signature above does.
      this.socket.timeout(ACK_TIMEOUT_MS).emit(event, ...([payload, acknowledged] as never));
    });
    if (!answer.ok) throw new Refused(answer.error.code, answer.error.message);
    return answer as Success<E>;
  }

  /** Wait for a partner; aborting the signal leaves the queue. */
  findPartner(search: FindPartner = {}, signal?: AbortSignal): Promise<MatchFound> {
    return new Promise((resolve, reject) => {
      const settled = new AbortController();
      const settle = (done: () => void) => {
        settled.abort();
        this.socket.off("match_found", found).off("disconnect", dropped).offAny(ended);
        done();
      };
      const found = (match: MatchFound) => settle(() => resolve(match));
      const dropped = () => settle(() => reject(new Refused("disconnected", "The connection was lost.")));
      const ended = (event: string) => {
        if (ENDS_SEARCH.includes(event)) settle(() => reject(new Refused(event, "The search has ended.")));
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
      this.send("find_partner", search).catch((reason) => settle(() => reject(reason)));
    });
  }

  /** Join a room, and join it again after each reconnection, until the call ends. */
  async join(roomId: string): Promise<Success<"join_room">> {
    this.#lastSeq = undefined;
    const answer = await this.#enter(roomId);
    this.#room = roomId;
    // From now on no number means that all events were missed.
    this.#lastSeq ??= 0;
    return answer;
  }

  async end(): Promise<void> {
    const roomId = this.#room;
    this.#leave();
    if (roomId !== undefined) await this.send("end_call", { roomId });
  }

  close(): void {
    this.#leave();
    this.socket.disconnect();
  }

  #enter(roomId: string): Promise<Success<"join_room">> {
    return this.send("join_room", this.#lastSeq === undefined ? { roomId } : { roomId, after: this.#lastSeq });
  }

  #leave(): void {
    this.#room = this.#lastSeq = undefined;
  }

  #lose(reason: Refused): void {
    this.#leave();
    this.onLost(reason);
  }
}
