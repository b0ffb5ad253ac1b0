/** The audio of one call: an RTCPeerConnection, signaled by a RealtimeClient. For browsers. */
import type { IceCandidate, MatchFound, PeerJoined, PeerLeft, ServerEvents } from "./asyncapi.js";
import { ParlanceError } from "./errors.js";
import type { RealtimeClient } from "./realtime.js";

export type Role = PeerJoined["role"];
/** Why a call is over: the reason of `peer_left`, or this side's: it hung up, lost the room, the partner did not join, another socket replaced it. */
export type EndReason = PeerLeft["reason"] | "left" | "lost" | "cancelled" | "replaced";

/** Milliseconds in which an open audio path brings at least one packet. */
const PACKET_WAIT_MS = 1_000;
/** Milliseconds within which the partner answers an offer. */
const ANSWER_WAIT_MS = 3_000;

export class Call {
  readonly match: MatchFound;
  /** The partner's audio, once it arrives. */
  readonly remoteStream: Promise<MediaStream>;
  readonly ended: Promise<EndReason>;
  /** Called with the partner's audio each time a new connection brings it. */
  onRemoteStream: (stream: MediaStream) => void = () => {};
  /** Called with the role that the server gave this side, and again if it changes; pass it to the constructor after a reload. */
  onRole: (role: Role) => void = () => {};
  readonly #realtime: RealtimeClient;
  readonly #microphone: MediaStream;
  #configuration: RTCConfiguration;
  #role: Role | undefined;
  #peer: RTCPeerConnection;
  #resolveRemote: (stream: MediaStream) => void = () => {};
  #finish: (reason: EndReason) => void = () => {};
  /** Candidates that came before the description they belong to. */
  #early: (IceCandidate | null)[] | undefined = [];
  #offeredAt = 0;

  /** `role` is that of the same learner's earlier page in this call. */
  constructor(realtime: RealtimeClient, match: MatchFound, microphone: MediaStream, configuration: RTCConfiguration = {}, role?: Role) {
    this.#realtime = realtime;
    this.match = match;
    this.#microphone = microphone;
    this.#configuration = { ...configuration, iceServers: match.iceServers };
    this.#role = role;
    this.remoteStream = new Promise((resolve) => {
      this.#resolveRemote = resolve;
    });
    this.#peer = this.#connect();

    const restore = () => this.#queue(() => this.#restore());
    const handlers: Partial<ServerEvents> & { connect: () => void } = {
      connect: restore,
      peer_joined: (joined) => this.#queue(() => this.#joined(joined)),
      webrtc_offer: ({ sdp }) => this.#queue(() => this.#offered(sdp)),
      webrtc_answer: ({ sdp }) => this.#queue(() => this.#answered(sdp)),
      webrtc_ice: ({ candidate }) => this.#queue(() => this.#candidate(candidate)),
      // After a reload the partner has no connection, and offers sent to the earlier page are lost.
      peer_reconnected: () => this.#queue(() => this.#restore({ again: true })),
      peer_left: ({ reason }) => this.#finish(reason),
      partner_cancelled: () => this.#finish("cancelled"),
      session_replaced: () => this.#finish("replaced"),
    };
    const names = Object.keys(handlers) as (keyof typeof handlers)[];
    for (const name of names) realtime.socket.on(name, handlers[name] as never);
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
      realtime.onRoomLost = () => resolve("lost");
    });
    void this.ended.then(() => {
      for (const name of names) realtime.socket.off(name, handlers[name] as never);
      this.#peer.close();
    });
  }

  get peerConnection(): RTCPeerConnection {
    return this.#peer;
  }

  /** Enter the room; the call begins when the partner has, too. */
  async join(): Promise<void> {
    // A new caller has nothing to restore, and learns its role while it joins.
    const isRejoining = this.#role !== undefined;
    await this.#realtime.join(this.match.roomId);
    if (isRejoining) this.#queue(() => this.#restore());
  }

  /** Hang up. */
  async end(): Promise<void> {
    this.#peer.close();
    this.#finish("left");
    await this.#realtime.end();
  }

  /** Create a connection to the partner's page, instead of one to a page that is gone. */
  #connect(): RTCPeerConnection {
    const peer = new RTCPeerConnection(this.#configuration);
    this.#early = [];
    peer.addEventListener("track", ({ streams: [stream] }) => {
      if (stream === undefined) return;
      this.#resolveRemote(stream);
      this.onRemoteStream(stream);
    });
    for (const track of this.#microphone.getTracks()) peer.addTrack(track, this.#microphone);
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (peer !== this.#peer) return;
      const { roomId } = this.match;
      void this.#realtime
        .send("webrtc_ice", { roomId, candidate: (candidate?.toJSON() ?? null) as IceCandidate | null })
        .catch(this.#fail);
    });
    peer.addEventListener("connectionstatechange", () => {
      const isBroken = peer.connectionState === "disconnected" || peer.connectionState === "failed";
      if (isBroken && peer === this.#peer) this.#queue(() => this.#restore());
    });
    return peer;
  }

  #reconnect(): void {
    this.#peer.close();
    this.#peer = this.#connect();
  }

  #last: Promise<void> = Promise.resolve();

  /** Handle events in the order in which they arrived, each after the one before. */
  #queue(work: () => Promise<void>): void {
    this.#last = this.#last.then(work).catch(this.#fail);
  }

  #fail = (reason: unknown): void => {
    if (this.#peer.signalingState !== "closed" && !isTooEarly(reason)) console.error("signaling failed", reason);
  };

  async #joined({ role, userId }: PeerJoined): Promise<void> {
    const mine = userId === this.match.partner.userId ? (role === "caller" ? "receiver" : "caller") : role;
    const before = this.#role;
    // The server may have lost who was the caller of a call, and have chosen again.
    if (mine !== before) {
      this.#role = mine;
      this.onRole(mine);
    }
    if (mine === "caller" && role === "receiver" && !this.#awaitsAnswer()) await this.#offer();
    else if (before === "receiver") await this.#restore();
  }

  /** Restart ICE, for a network that changed; nothing to do while audio still arrives. */
  async #restore({ again = false } = {}): Promise<void> {
    if (this.#role !== "caller" || this.#peer.signalingState === "closed" || !this.#realtime.socket.connected) return;
    if (!again && this.#awaitsAnswer()) return;
    if (await this.#receivesAudio()) return;
    const { iceServers } = await this.#realtime.send("refresh_ice", { roomId: this.match.roomId });
    this.#configuration = { ...this.#configuration, iceServers };
    this.#peer.setConfiguration(this.#configuration);
    this.#peer.restartIce();
    await this.#offer();
  }

  /** Whether an offer was made a moment ago: several events report one lost connection, and a second would cross its answer. */
  #awaitsAnswer(): boolean {
    return Date.now() - this.#offeredAt < ANSWER_WAIT_MS;
  }

  async #receivesAudio(): Promise<boolean> {
    if (this.#peer.remoteDescription === null) return false;
    const before = await this.#packets();
    await new Promise((resolve) => setTimeout(resolve, PACKET_WAIT_MS));
    return (await this.#packets()) > before;
  }

  async #packets(): Promise<number> {
    let received = 0;
    (await this.#peer.getStats()).forEach((entry) => {
      if (entry.type === "inbound-rtp") received += entry.packetsReceived;
    });
    return received;
  }

  async #offer(): Promise<void> {
    await this.#peer.setLocalDescription();
    try {
      await this.#realtime.send("webrtc_offer", { roomId: this.match.roomId, sdp: this.#sdp() });
    } catch (reason) {
      // Both may be coming back at once.
      if (isTooEarly(reason)) setTimeout(() => this.#queue(() => this.#restore()), PACKET_WAIT_MS);
      throw reason;
    }
    // Only now: an offer without an ack may not have arrived.
    this.#offeredAt = Date.now();
  }

  async #offered(sdp: string): Promise<void> {
    if (this.#isOfAnotherPage(sdp)) this.#reconnect();
    await this.#describe({ type: "offer", sdp });
    await this.#peer.setLocalDescription();
    await this.#realtime.send("webrtc_answer", { roomId: this.match.roomId, sdp: this.#sdp() });
  }

  async #answered(sdp: string): Promise<void> {
    if (this.#isOfAnotherPage(sdp)) {
      this.#reconnect();
      await this.#offer();
    } else if (this.#peer.signalingState === "have-local-offer") {
      await this.#describe({ type: "answer", sdp });
    }
  }

  /** Whether the partner's page was loaded again: it lacks the keys and counters of this side's connection. */
  #isOfAnotherPage(sdp: string): boolean {
    const known = this.#peer.remoteDescription?.sdp;
    return known !== undefined && origin(known) !== origin(sdp);
  }

  async #describe(description: RTCSessionDescriptionInit): Promise<void> {
    await this.#peer.setRemoteDescription(description);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const candidate of early) await this.#candidate(candidate);
  }

  async #candidate(candidate: IceCandidate | null): Promise<void> {
    if (this.#early) {
      this.#early.push(candidate);
      return;
    }
    const fragment = candidate?.usernameFragment;
    // A candidate of a connection that has been replaced.
    if (fragment && !this.#peer.remoteDescription?.sdp.includes(`a=ice-ufrag:${fragment}`)) return;
    await this.#peer.addIceCandidate(candidate);
  }

  #sdp(): string {
    return this.#peer.localDescription?.sdp ?? "";
  }
}

function isTooEarly(reason: unknown): boolean {
  return reason instanceof ParlanceError && reason.code === "peer_not_ready";
}

/** The id of the session that a description belongs to (RFC 8866, section 5.2); it stays when it is negotiated again. */
function origin(sdp: string): string | undefined {
  return /^o=\S+ (\S+) /m.exec(sdp)?.[1];
}
