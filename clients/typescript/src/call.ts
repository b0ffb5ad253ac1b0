/** Owns the audio of one call: an RTCPeerConnection signalled over a Practice. For browsers. */
import type { Candidate, MatchFound, PeerJoined, PeerLeft, ServerEvents } from "./asyncapi.ts";
import type { Practice } from "./practice.ts";

export class Call {
  readonly match: MatchFound;
  readonly peer: RTCPeerConnection;
  /** The partner's voice, once it comes. */
  readonly remote: Promise<MediaStream>;
  /** Why the partner left, or the call was lost. */
  readonly ended: Promise<PeerLeft["reason"] | "lost">;
  readonly #practice: Practice;
  #isCaller = false;
  /** Candidates that came before the description they belong to. */
  #early: Candidate[] | undefined = [];

  constructor(practice: Practice, match: MatchFound, microphone: MediaStream, configuration: RTCConfiguration = {}) {
    this.#practice = practice;
    this.match = match;
    this.peer = new RTCPeerConnection({ ...configuration, iceServers: match.iceServers });
    this.remote = new Promise((resolve) => {
      this.peer.addEventListener("track", ({ streams: [stream] }) => stream && resolve(stream));
    });
    for (const track of microphone.getTracks()) this.peer.addTrack(track, microphone);
    this.peer.addEventListener("icecandidate", ({ candidate }) => {
      const { roomId } = match;
      void practice.send("webrtc_ice", { roomId, candidate: (candidate?.toJSON() ?? null) as Candidate }).catch(this.#fail);
    });

    const handlers: Partial<ServerEvents> = {
      peer_joined: (joined) => this.#queue(() => this.#joined(joined)),
      webrtc_offer: ({ sdp }) => this.#queue(() => this.#offered(sdp)),
      webrtc_answer: ({ sdp }) => this.#queue(() => this.#describe({ type: "answer", sdp })),
      webrtc_ice: ({ candidate }) => this.#queue(() => this.#candidate(candidate)),
      peer_reconnected: () => this.#queue(() => this.#mend()),
    };
    const names = Object.keys(handlers) as (keyof ServerEvents)[];
    for (const name of names) practice.socket.on(name, handlers[name] as never);
    this.ended = new Promise((resolve) => {
      practice.socket.once("peer_left", ({ reason }) => resolve(reason));
      practice.onLost = () => resolve("lost");
    });
    void this.ended.then(() => {
      for (const name of names) practice.socket.off(name, handlers[name] as never);
      this.peer.close();
    });
  }

  /** Enter the room; the call begins when the partner has, too. */
  async join(): Promise<void> {
    await this.#practice.join(this.match.roomId);
  }

  /** Hang up. */
  async end(): Promise<void> {
    this.peer.close();
    await this.#practice.end();
  }

  #last: Promise<void> = Promise.resolve();

  /** What is heard is done in the order in which it came, each after the one before. */
  #queue(work: () => Promise<void>): void {
    this.#last = this.#last.then(work).catch(this.#fail);
  }

  #fail = (reason: unknown): void => {
    if (this.peer.signalingState !== "closed") console.error("signaling failed", reason);
  };

  async #joined({ role, userId }: PeerJoined): Promise<void> {
    if (role === "caller") {
      this.#isCaller = userId !== this.match.partner.userId;
    } else if (this.#isCaller) {
      await this.peer.setLocalDescription();
      await this.#practice.send("webrtc_offer", { roomId: this.match.roomId, sdp: this.#sdp() });
    }
  }

  /** Whoever's network changed needs new paths; the voices may also have gone on all the while. */
  async #mend(): Promise<void> {
    if (!this.#isCaller || this.peer.connectionState === "connected") return;
    const { roomId } = this.match;
    const { iceServers } = await this.#practice.send("refresh_ice", { roomId });
    this.peer.setConfiguration({ ...this.peer.getConfiguration(), iceServers });
    this.peer.restartIce();
    await this.peer.setLocalDescription();
    await this.#practice.send("webrtc_offer", { roomId, sdp: this.#sdp() });
  }

  async #offered(sdp: string): Promise<void> {
    await this.#describe({ type: "offer", sdp });
    await this.peer.setLocalDescription();
    await this.#practice.send("webrtc_answer", { roomId: this.match.roomId, sdp: this.#sdp() });
  }

  async #describe(description: RTCSessionDescriptionInit): Promise<void> {
    await this.peer.setRemoteDescription(description);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const candidate of early) await this.#candidate(candidate);
  }

  async #candidate(candidate: Candidate): Promise<void> {
    if (this.#early) this.#early.push(candidate);
    else await this.peer.addIceCandidate(candidate);
  }

  #sdp(): string {
    return this.peer.localDescription?.sdp ?? "";
  }
}
