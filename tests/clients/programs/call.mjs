// Two learners make a call by a version of socket.io-client: `call.mjs PACKAGE URL TOKEN TOKEN`; prints JSON.
import { createRequire } from "node:module";

const [packageName, url, ...tokens] = process.argv.slice(2);
const { io } = createRequire(`${process.cwd()}/package.json`)(packageName);

class Learner {
  constructor(token) {
    this.received = [];
    this.waiting = [];
    this.socket = io(url, { transports: ["websocket"], auth: (send) => send({ token }), forceNew: true });
    this.socket.on("connect_error", (error) => {
      throw error;
    });
    this.socket.onAny((event, payload) => {
      this.received.push([event, payload]);
      for (const check of this.waiting) check();
    });
  }

  next(event) {
    return new Promise((resolve) => {
      const check = () => {
        const found = this.received.find(([name]) => name === event);
        if (found) resolve(found[1]);
      };
      this.waiting.push(check);
      check();
    });
  }

  send(event, payload) {
    return new Promise((resolve) => this.socket.emit(event, payload, resolve));
  }
}

const [ada, ben] = tokens.map((token) => new Learner(token));
const search = { topic: tokens[0].slice(-40) };
const acks = [await ada.send("find_partner", search)];
await ada.next("searching");
acks.push(await ben.send("find_partner", search));
const { roomId } = await ada.next("match_found");
const sameRoom = (await ben.next("match_found")).roomId === roomId;
acks.push(await ada.send("join_room", { roomId }));
const { role } = await ada.next("peer_joined");
acks.push(await ben.send("join_room", { roomId }));
await ben.next("peer_joined");
acks.push(await ada.send("webrtc_offer", { roomId, sdp: "v=0 offer" }));
const offer = (await ben.next("webrtc_offer")).sdp;
acks.push(await ben.send("webrtc_answer", { roomId, sdp: "v=0 answer" }));
const answer = (await ada.next("webrtc_answer")).sdp;
acks.push(await ada.send("webrtc_ice", { roomId, candidate: { candidate: "one", sdpMid: "0" } }));
const { candidate } = await ben.next("webrtc_ice");
acks.push(await ben.send("end_call", { roomId }));
const { reason } = await ada.next("peer_left");
const refused = (await ben.send("end_call", { roomId })).error?.code;
for (const { socket } of [ada, ben]) socket.disconnect();
console.log(
  JSON.stringify({ acks: acks.map(({ ok }) => ok), sameRoom, role, offer, answer, candidate: candidate.candidate, reason, refused }),
);
