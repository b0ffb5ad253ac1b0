/** Owns the audio of one call: an RTCPeerConnection signalled over a Practice. For browsers. */
import type { Candidate, MatchFound, PeerJoined, PeerLeft, ServerEvents } from "./asyncapi.ts";
import { Refused } from "./client.ts";
import type { Practice } from "./practice.ts";

export type Role = PeerJoined["role"];
/** Why a call is over: what `peer_left` says, or of this side: hung up, lost its room, waited in vain, went on elsewhere. */
export type Ending = PeerLeft["reason"] | "left" | "lost" | "cancelled" | "replaced";

/** Milliseconds in which a partner who is heard sends at least one packet. */
const LISTENING = 1_000;
/** Milliseconds that the partner is given to answer an offer. */
const ANSWERING = 3_000;

export class Call {
  readonly match: MatchFound;
  /** The partner's voice, once it comes. */
  readonly remote: Promise<MediaStream>;
  readonly ended: Promise<Ending>;
  /** Told of the partner's voice each time it comes anew. */
  onVoice: (voice: MediaStream) => void = () => {};
  /** Told which part the server gave this side: whoever comes back after a reload has to say it. */
  onRole: (role: Role) => void = () => {};
  readonly #practice: Practice;
  readonly #microphone: MediaStream;
  #configuration: RTCConfiguration;
  #role: Role | undefined;
  #peer: RTCPeerConnection;
  #heard: (voice: MediaStream) => void = () => {};
  #finish: (why: Ending) => void = () => {};
  /** Candidates that came before the description they belong to. */
  #early: Candidate[] | undefined = [];
  #offeredAt = 0;

  /** `role` is that of an earlier page, which was in this call and is gone. */
  constructor(practice: Practice, match: MatchFound, microphone: MediaStream, configuration: RTCConfiguration = {}, role?: Role) {
    this.#practice = practice;
    this.match = match;
    this.#microphone = microphone;
    this.#configuration = { ...configuration, iceServers: match.iceServers };
    this.#role = role;
    this.remote = new Promise((resolve) => {
      this.#heard = resolve;
    });
    this.#peer = this.#connect();

    const mend = () => this.#queue(() => this.#mend());
    const handlers: Partial<ServerEvents> & { connect: () => void } = {
      connect: mend,
      peer_joined: (joined) => this.#queue(() => this.#joined(joined)),
      webrtc_offer: ({ sdp }) => this.#queue(() => this.#offered(sdp)),
      webrtc_answer: ({ sdp }) => this.#queue(() => this.#answered(sdp)),
      webrtc_ice: ({ candidate }) => this.#queue(() => this.#candidate(candidate)),
      // Loaded anew, the partner has no connection and has not seen an offer that was made to the page before.
      peer_reconnected: () => this.#queue(() => this.#mend({ again: true })),
      peer_left: ({ reason }) => this.#finish(reason),
      partner_cancelled: () => this.#finish("cancelled"),
      session_replaced: () => this.#finish("replaced"),
    };
    const names = Object.keys(handlers) as (keyof typeof handlers)[];
    for (const name of names) practice.socket.on(name, handlers[name] as never);
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
      practice.onLost = () => resolve("lost");
    });
    void this.ended.then(() => {
      for (const name of names) practice.socket.off(name, handlers[name] as never);
      this.#peer.close();
    });
  }

  get peer(): RTCPeerConnection {
    return this.#peer;
  }

  /** Enter the room; the call begins when the partner has, too. */
  async join(): Promise<void> {
    await this.#practice.join(this.match.roomId);
    if (this.#role !== undefined) this.#queue(() => this.#mend());
  }

  /** Hang up. */
  async end(): Promise<void> {
    this.#peer.close();
    this.#finish("left");
    await this.#practice.end();
  }

  /** Begin a connection to the partner's page; the one before, if there was one, was to a page that is gone. */
  #connect(): RTCPeerConnection {
    const peer = new RTCPeerConnection(this.#configuration);
    this.#early = [];
    peer.addEventListener("track", ({ streams: [stream] }) => {
      if (stream === undefined) return;
      this.#heard(stream);
      this.onVoice(stream);
    });
    for (const track of this.#microphone.getTracks()) peer.addTrack(track, this.#microphone);
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (peer !== this.#peer) return;
      const { roomId } = this.match;
      void this.#practice
        .send("webrtc_ice", { roomId, candidate: (candidate?.toJSON() ?? null) as Candidate })
        .catch(this.#fail);
    });
    peer.addEventListener("connectionstatechange", () => {
      const isBroken = peer.connectionState === "disconnected" || peer.connectionState === "failed";
      if (isBroken && peer === this.#peer) this.#queue(() => this.#mend());
    });
    return peer;
  }

  #begin(): void {
    this.#peer.close();
    this.#peer = this.#connect();
  }

  #last: Promise<void> = Promise.resolve();

  /** What is heard is done in the order in which it came, each after the one before. */
  #queue(work: () => Promise<void>): void {
    this.#last = this.#last.then(work).catch(this.#fail);
  }

  #fail = (reason: unknown): void => {
    if (this.#peer.signalingState !== "closed" && !isTooEarly(reason)) console.error("signaling failed", reason);
  };

  async #joined({ role, userId }: PeerJoined): Promise<void> {
    const mine = userId === this.match.partner.userId ? (role === "caller" ? "receiver" : "caller") : role;
    // Both hear of the second; the first knows its part already.
    if (this.#role === undefined) this.#take(mine);
    if (role === "receiver" && this.#role === "caller") await this.#offer();
  }

  #take(role: Role): void {
    this.#role = role;
    this.onRole(role);
  }

  /** Whoever's network changed needs new paths; the voices may also have gone on all the while. */
  async #mend({ again = false } = {}): Promise<void> {
    if (this.#role !== "caller" || this.#peer.signalingState === "closed" || !this.#practice.socket.connected) return;
    // A lost connection is told from several sides at once; a second offer would cross the answer to the first.
    if (!again && Date.now() - this.#offeredAt < ANSWERING) return;
    if (await this.#hears()) return;
    const { iceServers } = await this.#practice.send("refresh_ice", { roomId: this.match.roomId });
    this.#configuration = { ...this.#configuration, iceServers };
    this.#peer.setConfiguration(this.#configuration);
    this.#peer.restartIce();
    await this.#offer();
  }

  async #hears(): Promise<boolean> {
    if (this.#peer.remoteDescription === null) return false;
    const before = await this.#packets();
    await new Promise((resolve) => setTimeout(resolve, LISTENING));
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
      await this.#practice.send("webrtc_offer", { roomId: this.match.roomId, sdp: this.#sdp() });
    } catch (reason) {
      // Both may be coming back at once.
      if (isTooEarly(reason)) setTimeout(() => this.#queue(() => this.#mend()), LISTENING);
      throw reason;
    }
    // Only now: what was not acknowledged may not have arrived.
    this.#offeredAt = Date.now();
  }

  async #offered(sdp: string): Promise<void> {
    if (this.#isOfAnotherPage(sdp)) this.#begin();
    await this.#describe({ type: "offer", sdp });
    await this.#peer.setLocalDescription();
    await this.#practice.send("webrtc_answer", { roomId: this.match.roomId, sdp: this.#sdp() });
  }

  async #answered(sdp: string): Promise<void> {
    if (this.#isOfAnotherPage(sdp)) {
      this.#begin();
      await this.#offer();
    } else if (this.#peer.signalingState === "have-local-offer") {
      await this.#describe({ type: "answer", sdp });
    }
  }

  /** The partner's page was loaded again: it has none of the keys and counters of the connection that is here. */
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

  async #candidate(candidate: Candidate): Promise<void> {
    if (this.#early) {
      this.#early.push(candidate);
      return;
    }
    const fragment = candidate?.usernameFragment;
    // One of a connection that has been replaced since.
    if (fragment && !this.#peer.remoteDescription?.sdp.includes(`a=ice-ufrag:${fragment}`)) return;
    await this.#peer.addIceCandidate(candidate);
  }

  #sdp(): string {
    return this.#peer.localDescription?.sdp ?? "";
  }
}

function isTooEarly(reason: unknown): boolean {
  return reason instanceof Refused && reason.code === "peer_not_ready";
}

/** The id of the session that a description belongs to (RFC 8866, section 5.2); it stays when it is negotiated again. */
function origin(sdp: string): string | undefined {
  return /^o=\S+ (\S+) /m.exec(sdp)?.[1];
}
