/** One participant of a call, without audio, for tests/clients: roles.js URL MATCH; prints the roles it was given as JSON. */
import { Call } from "../src/call.js";
import { RealtimeClient } from "../src/realtime.js";

/** A peer connection that checks the order of its calls as browsers do; a remote offer takes back a local one. */
class FakePeer extends EventTarget {
  signalingState: RTCSignalingState = "stable";
  connectionState = "connected";
  localDescription: RTCSessionDescriptionInit | null = null;
  remoteDescription: RTCSessionDescriptionInit | null = null;
  #version = 0;

  addTrack(): void {}
  addIceCandidate(): void {}
  setConfiguration(): void {}
  restartIce(): void {}
  getStats = async () => new Map();

  async setLocalDescription(): Promise<void> {
    const isAnswer = this.signalingState === "have-remote-offer";
    const sdp = `v=0\r\no=- 1 ${++this.#version} IN IP4 127.0.0.1\r\na=ice-ufrag:me\r\n`;
    this.localDescription = { type: isAnswer ? "answer" : "offer", sdp };
    this.signalingState = isAnswer ? "stable" : "have-local-offer";
  }

  async setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    const isAnswer = description.type === "answer";
    if (isAnswer && this.signalingState !== "have-local-offer") throw new Error("no offer was made");
    this.remoteDescription = description;
    this.signalingState = isAnswer ? "stable" : "have-remote-offer";
  }

  close(): void {
    this.signalingState = "closed";
  }
}

Object.assign(globalThis, { RTCPeerConnection: FakePeer });
const [url = "", match = ""] = process.argv.slice(2);
const realtime = new RealtimeClient({ url, accessToken: async () => "token", refresh: async () => "token" });
const call = new Call(realtime, JSON.parse(match), { getTracks: () => [] } as unknown as MediaStream);
const roles: string[] = [];
call.onRole = (role) => roles.push(role);
void call.ended.then(() => {
  realtime.close();
  console.log(JSON.stringify(roles));
});
void call.join();
