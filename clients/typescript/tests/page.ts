/** A learner's browser page for tests/e2e: the client with a microphone, and the browser's measurements. */
import { Call } from "../src/call.js";
import { ParlanceClient, RealtimeClient, unwrap } from "../src/index.js";

export interface Received {
  packets: number;
  energy: number;
  seconds: number;
  /** How the two reach each other, as each end's candidate types. */
  path: (string | undefined)[];
}

class Page {
  #parlance: ParlanceClient | undefined;
  #realtime: RealtimeClient | undefined;
  #call: Call | undefined;

  async signUp(url: string, username: string): Promise<string | undefined> {
    this.#parlance = new ParlanceClient({ url, platform: "web", deviceId: "browser" });
    await this.#parlance.register(`${username}@example.com`, "correct horse battery");
    unwrap(await this.#parlance.rest.PATCH("/users/me", { body: { username, englishLevel: "beginner" } }));
    return this.#parlance.account?.id;
  }

  /** Come back as after a reload, with nothing but the cookie. */
  async signInAgain(url: string): Promise<string | undefined> {
    this.#parlance = new ParlanceClient({ url, platform: "web", deviceId: "browser" });
    await this.#parlance.refresh();
    return this.#parlance.credentials.refreshToken ?? this.#parlance.account?.id;
  }

  /** Find a partner and talk, through a relay only; answer the partner once their voice is there. */
  async talk(topic: string): Promise<string> {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    if (!this.#parlance) throw new Error("sign up first");
    this.#realtime = new RealtimeClient(this.#parlance);
    const match = await this.#realtime.findPartner({ topic });
    this.#call = new Call(this.#realtime, match, microphone, { iceTransportPolicy: "relay" });
    await this.#call.join();
    const audio = document.body.appendChild(document.createElement("audio"));
    audio.srcObject = await this.#call.remoteStream;
    await audio.play();
    return match.partner.userId;
  }

  async received(): Promise<Received> {
    const seen: Received = { packets: 0, energy: 0, seconds: 0, path: [] };
    const report = await this.#call?.peerConnection.getStats();
    report?.forEach((entry) => {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        seen.packets = entry.packetsReceived;
        seen.energy = entry.totalAudioEnergy;
        seen.seconds = entry.totalSamplesDuration;
      } else if (entry.type === "transport" && entry.selectedCandidatePairId) {
        const pair = report.get(entry.selectedCandidatePairId);
        seen.path = [pair.localCandidateId, pair.remoteCandidateId].map((id) => report.get(id)?.candidateType);
      }
    });
    return seen;
  }

  end = () => this.#call?.end();
  ended = () => this.#call?.ended;
}

declare global {
  interface Window {
    learner: Page;
  }
}
window.learner = new Page();
