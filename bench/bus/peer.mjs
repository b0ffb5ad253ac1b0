// socket.io's Redis adapter's way between two processes: PUBLISH what notepack made of [uid, packet, options] to the
// room's channel; everybody, the sender too, has subscribed to the pattern. Orders as worker.py's.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import Redis from "ioredis";
import notepack from "notepack.io";

const CANDIDATE = {
  candidate: "candidate:842163049 1 udp 1677729535 203.0.113.77 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0" +
    " ufrag EEtu network-cost 999",
  sdpMid: "0",
  sdpMLineIndex: 0,
};
const [role] = process.argv.slice(2);
const uid = randomUUID().slice(0, 6);
const connection = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) };
const publisher = new Redis(connection);
const subscriber = new Redis(connection);
let latencies = [];

subscriber.on("pmessageBuffer", (_pattern, _channel, message) => {
  const [from, packet] = notepack.decode(message);
  if (from === uid) return;
  latencies.push(Number(process.hrtime.bigint() - BigInt(packet.data[2])) / 1e6);
});
await subscriber.psubscribe("socket.io#/#*");

async function send({ to, rate, seconds }) {
  const began = performance.now();
  const total = Math.floor(rate * seconds);
  let count = 0;
  while (count < total) {
    for (const due = Math.min(total, Math.floor(((performance.now() - began) / 1000) * rate)); count < due; count++) {
      if (to === null) continue;
      const packet = { type: 2, data: ["webrtc_ice", { candidate: CANDIDATE }, String(process.hrtime.bigint())], nsp: "/" };
      const options = { rooms: [to], except: [], flags: {} };
      publisher.publish(`socket.io#/#${to}#`, notepack.encode([uid, packet, options]));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return count;
}

const seconds = (used) => (used.user + used.system) / 1e6;
if (role === "receive") console.log(uid);
let cpu = process.cpuUsage();
for await (const line of createInterface({ input: process.stdin })) {
  if (role === "send") {
    const before = process.cpuUsage();
    const count = await send(JSON.parse(line));
    console.log(JSON.stringify({ count, cpu: seconds(process.cpuUsage(before)) }));
  } else {
    console.log(JSON.stringify({ count: latencies.length, cpu: seconds(process.cpuUsage(cpu)), latencies }));
    latencies = [];
    cpu = process.cpuUsage();
  }
}
publisher.disconnect();
subscriber.disconnect();
