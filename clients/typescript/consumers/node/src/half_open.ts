/** A connection that is dead without being closed, as after a host or a network has vanished: the client notices by itself. */
import { randomUUID } from "node:crypto";
import { type Socket, connect, createServer } from "node:net";
import { RealtimeClient } from "@parlance/client";
import { api, next, refusal, register, seen } from "./learners.js";

/** A way to the server. Connections that exist when it is frozen deliver nothing any more, and stay open. */
const sockets: Socket[] = [];
const proxy = createServer((client) => {
  const upstream = connect(Number(new URL(api.url).port), "127.0.0.1");
  for (const socket of [client.pipe(upstream), upstream.pipe(client)]) socket.on("error", () => {});
  sockets.push(client, upstream);
});
/** Deliver nothing any more of what clients send; `freeze` ends the other direction, too. */
const freezeUp = () => {
  for (const [index, socket] of sockets.entries()) if (index % 2 === 0) socket.unpipe().resume();
};
const freeze = () => {
  for (const socket of sockets.splice(0)) {
    socket.unpipe();
    socket.resume();
    // What it had been piped to ends with it; what arrives is dropped.
    socket.removeAllListeners("end");
  }
};
await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const { port } = proxy.address() as { port: number };

const [ada, bob] = await Promise.all([register(), register()]);
const through = { url: `http://127.0.0.1:${port}`, accessToken: () => ada.accessToken(), refresh: () => ada.refresh() };
const [near, far] = [new RealtimeClient(through), new RealtimeClient(bob)];
const topic = randomUUID();
const [match] = await Promise.all([near.findPartner({ topic }), far.findPartner({ topic })]);
const { roomId } = match;
await Promise.all([near.join(roomId), far.join(roomId)]);

const received: unknown[] = [];
far.socket.on("webrtc_ice", ({ candidate }) => received.push(candidate?.candidate));
const ids = [near.socket.id];
const lost: string[] = [];
near.onRoomLost = ({ code }) => lost.push(code);
freezeUp();
const diedAt = performance.now();
const offered = near.send("webrtc_offer", { roomId, sdp: "v=0 outdated" }).then(() => "ok", refusal);
const candidates = ["one", "two"].map((candidate) => near.send("webrtc_ice", { roomId, candidate: { candidate } }));
// What was on its way arrives after the first signal that is lost; it must not prolong the wait by another ack.
const [underway, reconnected] = [next(near, "webrtc_ice"), next(near, "connect")];
await far.send("webrtc_ice", { roomId, candidate: { candidate: "underway" } });
await underway;
freeze();
await reconnected;
seen.noticedWithinTwoAcks = performance.now() - diedAt < 10_000;
seen.acks = (await Promise.all(candidates)).map(({ ok }) => ok);
seen.offered = await offered;
while (received.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
seen.received = received;
ids.push(near.socket.id);
seen.reconnected = ids[0] !== ids[1] && near.socket.connected;
// What the partner sends arrives on the new connection.
const arrived = next<{ candidate: { candidate: string } }>(near, "webrtc_ice");
await far.send("webrtc_ice", { roomId, candidate: { candidate: "three" } });
seen.arrived = (await arrived).candidate.candidate;

// Hanging up on a dead connection ends the call all the same.
const left = next<{ reason: string }>(far, "peer_left");
freeze();
await near.end();
seen.left = (await left).reason;
seen.lost = lost;

// An event that waits for the connection ends with `close`.
freeze();
const waiting = near.send("app_state", { isBackground: true }).catch(refusal);
await next(near, "disconnect");
near.close();
seen.closed = await waiting;
far.close();
proxy.close();
console.log(JSON.stringify(seen));
process.exit(0);
