// Windows of learners who talk: their connections and microphones are seen.

/** A learner's window; `refuses` is one who keeps the microphone. */
export async function speaker(person, viewport, refuses = false) {
  const page = await person(viewport);
  await page.addInitScript((deny) => {
    window.peers = [];
    window.tracks = [];
    const Peer = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Peer {
      constructor(...given) {
        super(...given);
        window.peers.push(this);
      }
    };
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (asked) => {
      if (deny) throw new DOMException("denied", "NotAllowedError");
      const stream = await open(asked);
      window.tracks.push(...stream.getTracks());
      return stream;
    };
  }, refuses);
  return page;
}

/** What the newest connection has received, once that is `least` packets with some sound in them. */
export async function received(page, least = 50) {
  const until = Date.now() + 20_000;
  let seen = { packets: 0, energy: 0 };
  while (Date.now() < until && (seen.packets < least || seen.energy <= 0)) {
    seen = await page.evaluate(async () => {
      const sum = { packets: 0, energy: 0 };
      const report = await window.peers.at(-1)?.getStats();
      report?.forEach((entry) => {
        if (entry.type !== "inbound-rtp") return;
        sum.packets = entry.packetsReceived;
        sum.energy = entry.totalAudioEnergy;
      });
      return sum;
    });
    await page.waitForTimeout(100);
  }
  return seen;
}
