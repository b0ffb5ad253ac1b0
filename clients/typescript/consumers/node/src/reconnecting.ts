/** Connections that are refused or closed: which come back by themselves, and which do not. */
import { randomUUID } from "node:crypto";
import { ParlanceError, RealtimeClient, type TokenSource } from "@parlance/client";
import { login, next, register, seen } from "./learners.js";

const client = await register();
const closed = (realtime: RealtimeClient) => new Promise<string>((resolve) => (realtime.onClosed = ({ code }) => resolve(code)));

// The server refuses the token: the client gets a new one, also when the first exchange fails, and connects.
const calls: string[] = [];
const tokens: TokenSource = {
  url: client.url,
  accessToken: async () => {
    calls.push("accessToken");
    return calls.length === 1 ? "not.a.token" : client.accessToken();
  },
  refresh: async () => {
    calls.push("refresh");
    if (calls.length === 2) throw new TypeError("fetch failed");
    return client.refresh();
  },
};
const realtime = new RealtimeClient(tokens);
await next(realtime, "connect");
seen.refused = [...calls];

// A lost connection comes back, and asks for the newest token.
calls.length = 1;
realtime.socket.io.engine.close();
await next(realtime, "connect");
seen.lost = calls.slice(1);

// There is no new token without a login.
const ended = new RealtimeClient({
  url: client.url,
  accessToken: async () => "not.a.token",
  refresh: async () => Promise.reject(new ParlanceError("refresh_token_reused", "", new Response(null, { status: 401 }))),
});
seen.noToken = await closed(ended);
seen.noTokenActive = ended.socket.active;

// A client that is closed while it waits for a token stays closed.
let attempts = 0;
const asked = new Promise<(reason: unknown) => void>((resolve) => {
  const abandoned = new RealtimeClient({
    url: client.url,
    accessToken: () => {
      attempts++;
      return new Promise((_, reject) => resolve((reason) => (abandoned.close(), reject(reason))));
    },
    refresh: () => client.refresh(),
  });
});
(await asked)(new TypeError("fetch failed"));
// The first attempt after a failure comes within 0.4 seconds.
await new Promise((resolve) => setTimeout(resolve, 800));
seen.abandoned = attempts;

// A fourth connection of an account takes the place of the first, which stays closed.
const replaced = closed(realtime);
const others = [1, 2, 3].map(() => new RealtimeClient(client));
seen.replaced = await replaced;
seen.replacedActive = realtime.socket.active;

// A new login with the same device id ends this one, in the middle of a call too.
const partner = new RealtimeClient(await register());
const [talking] = others;
if (talking === undefined) throw new Error("no connection");
const topic = randomUUID();
const matches = await Promise.all([talking, partner].map((each) => each.findPartner({ topic })));
await Promise.all([talking.join(matches[0]?.roomId ?? ""), partner.join(matches[1]?.roomId ?? "")]);
const roomLost = new Promise<string>((resolve) => (talking.onRoomLost = ({ code }) => resolve(code)));
const loggedOut = closed(talking);
await login(client.account?.email ?? "");
seen.loggedOut = [await roomLost, await loggedOut];

// The partner refuses the match: the search continues.
const [first, second, third] = (await Promise.all([register(), register(), register()])).map((each) => new RealtimeClient(each));
if (!first || !second || !third) throw new Error("no connections");
const about = { topic: randomUUID() };
const [one] = await Promise.all([first.findPartner(about), second.findPartner(about)]);
const cancelled = next(first, "partner_cancelled");
await second.send("cancel_search", {});
await cancelled;
const [again, other] = await Promise.all([first.nextMatch(), third.findPartner(about)]);
seen.requeued = again.roomId === other.roomId && again.roomId !== one.roomId;

for (const each of [...others, partner, first, second, third]) each.close();
console.log(JSON.stringify(seen));
