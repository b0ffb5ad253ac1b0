/** Two learners make a call through the client; prints what they saw as JSON.
 * Usage: two_learners.js <URL of the API> <client address for X-Forwarded-For> */
import { randomUUID } from "node:crypto";
import { ParlanceClient, RealtimeClient, unwrap } from "@parlance/client";
import { PASSWORD, api, login, next, refusal, register, seen } from "./learners.js";

async function returning(): Promise<ParlanceClient> {
  const before = await register();
  const email = before.account?.email ?? "";
  await before.logout();
  return login(email);
}

const [ada, bob] = await Promise.all([returning(), returning()]);

// Another run of the program has the refresh token only; what it asks at once shares one exchange.
const resumed = new ParlanceClient({ ...api, platform: "android", deviceId: "phone", refreshToken: ada.credentials.refreshToken });
const answers = await Promise.all([1, 2, 3].map(() => resumed.rest.GET("/users/me")));
seen.resumed = answers.map(({ response }) => response.status);
seen.exchanged = resumed.credentials.refreshToken !== ada.credentials.refreshToken && resumed.account?.id === ada.account?.id;
seen.wrongPassword = await new ParlanceClient({ ...api, platform: "ios", deviceId: "tablet" })
  .login(`${randomUUID()}@example.com`, PASSWORD)
  .catch(refusal);

const phones = [new RealtimeClient(resumed), new RealtimeClient(bob)] as const;
const [caller, receiver] = phones;
await Promise.all(phones.map((phone) => next(phone, "connect")));

const patience = new AbortController();
const searching = caller.findPartner({ topic: randomUUID() }, patience.signal).catch((reason: Error) => reason.name);
await next(caller, "searching");
seen.searchingTwice = await caller.findPartner().catch(refusal);
patience.abort();
seen.cancelled = await searching;
seen.abortedBefore = await caller.findPartner({}, AbortSignal.abort()).catch((reason: Error) => reason.name);

const topic = `talk ${randomUUID()}`;
const [match, other] = await Promise.all(phones.map((phone) => phone.findPartner({ topic })));
if (match === undefined || other === undefined) throw new Error("no match");
const { roomId } = match;
seen.sameRoom = roomId === other.roomId && match.topic === topic;
seen.partners = match.partner.userId === bob.account?.id && other.partner.userId === ada.account?.id;

const joined = next(caller, "peer_joined");
await caller.join(roomId);
seen.first = await joined;
const both = phones.map((phone) => next(phone, "peer_joined"));
await receiver.join(roomId);
seen.second = await Promise.all(both);
seen.ids = [ada.account?.id, bob.account?.id];

const offered = next<{ sdp: string }>(receiver, "webrtc_offer");
await caller.send("webrtc_offer", { roomId, sdp: "v=0 offer" });
seen.offer = (await offered).sdp;
const answered = next<{ sdp: string }>(caller, "webrtc_answer");
await receiver.send("webrtc_answer", { roomId, sdp: "v=0 answer" });
seen.answer = (await answered).sdp;
const candidates: unknown[] = [];
receiver.socket.on("webrtc_ice", ({ candidate }) => candidates.push(candidate?.candidate ?? null));
for (const candidate of [{ candidate: "one", sdpMid: "0" }, { candidate: "two", sdpMid: null }, null]) {
  await caller.send("webrtc_ice", { roomId, candidate });
}
while (candidates.length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
seen.candidates = candidates;
seen.badRole = await receiver.send("webrtc_offer", { roomId, sdp: "v=0" }).catch(refusal);

const left = next<{ reason: string }>(receiver, "peer_left");
await caller.end();
seen.left = (await left).reason;

const history = unwrap(await bob.rest.GET("/sessions", { params: { query: { limit: 5 } } }));
seen.history = history.items.map(({ roomId: of, endedBy }) => [of === roomId, endedBy]);
const rated = { params: { path: { sessionId: match.sessionId } }, body: { stars: 5 } };
seen.rating = (await bob.rest.POST("/sessions/{sessionId}/rate", rated)).response.status;

for (const phone of phones) phone.close();

// A connection is lost in the middle of a call: the client comes back and asks for its room by itself.
const others = (await Promise.all([register(), register()])).map((each) => new RealtimeClient(each));
const [dropped, waiting] = others;
if (dropped === undefined || waiting === undefined) throw new Error("no sockets");
const matches = await Promise.all(others.map((phone) => phone.findPartner({ topic: randomUUID() })));
await Promise.all(others.map((phone, index) => phone.join(matches[index]?.roomId ?? "")));
const sent: unknown[] = [];
dropped.socket.onAnyOutgoing((event, payload) => event === "join_room" && sent.push(payload));
const received: unknown[] = [];
dropped.socket.on("webrtc_ice", ({ candidate }) => received.push(candidate?.candidate));
const say = (...texts: string[]) =>
  Promise.all(
    texts.map((candidate) => waiting.send("webrtc_ice", { roomId: matches[1]?.roomId ?? "", candidate: { candidate } })),
  );
await say("before", "the drop");
const outcome = Promise.race([
  new Promise((resolve) => (dropped.onRoomLost = ({ code }) => resolve(code))),
  next(waiting, "peer_reconnected").then(() => "back"),
]);
const away = next(waiting, "peer_reconnecting");
dropped.socket.io.engine.close();
await away;
await say("after", "it");
seen.afterDrop = await outcome;
if (seen.afterDrop === "back") while (received.length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
seen.received = received;
seen.askedAgain = sent.length === 1 && (sent[0] as { roomId: string }).roomId === matches[0]?.roomId;
for (const phone of others) phone.close();
console.log(JSON.stringify(seen));
