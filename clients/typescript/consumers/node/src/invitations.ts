/** Two partners invite each other through the client; prints what they saw as JSON.
 * Usage: invitations.js <URL of the API> <client address for X-Forwarded-For> */
import { randomUUID } from "node:crypto";
import { Invitations, RealtimeClient, unwrap } from "@parlance/client";
import { next, refusal, register, seen } from "./learners.js";

const clients = await Promise.all([register(), register()]);
const phones = clients.map((each) => new RealtimeClient(each));
const [ada, bob] = phones.map((phone) => new Invitations(phone));
if (ada === undefined || bob === undefined) throw new Error("no phones");
const [first, second] = clients.map((each) => each.account?.id ?? "");
if (first === undefined || second === undefined) throw new Error("no accounts");
await Promise.all(phones.map((phone) => next(phone, "connect")));

// Strangers cannot invite each other; two who have talked and have both asked can.
seen.stranger = await ada.invite({ userId: second }).catch(refusal);
const topic = `talk ${randomUUID()}`;
const found = await Promise.all(phones.map((phone) => phone.findPartner({ topic })));
await Promise.all(phones.map((phone, index) => phone.join(found[index]?.roomId ?? "")));
await phones[0]?.end();
for (const [index, userId] of [second, first].entries()) {
  unwrap(await clients[index]!.rest.PUT("/partners/{userId}", { params: { path: { userId } } }));
}

/** The next invitation that rings. */
const ring = (invitations: Invitations) =>
  new Promise<string>((resolve) => {
    invitations.onInvited = ({ invitationId }) => resolve(invitationId);
  });

let rings = ring(bob);
const declined = ada.invite({ userId: second }).catch(refusal);
await bob.decline(await rings);
seen.declined = [await declined, bob.open.length];

rings = ring(ada);
const ends = new Promise((resolve) => {
  ada.onOver = (_, reason) => resolve(reason);
});
const patience = new AbortController();
const cancelled = bob.invite({ userId: first }, { signal: patience.signal }).catch(refusal);
const takenBack = await rings;
patience.abort();
seen.cancelled = [await cancelled, await ends, await ada.accept(takenBack).catch(refusal)];

// The inviter's own search ends with the acceptance.
rings = ring(bob);
const search = phones[1]!.findPartner({ topic: randomUUID(), level: "advanced", strict: true }).catch(refusal);
const [invited, accepted] = await Promise.all([ada.invite({ userId: second, topic: "travel" }), rings.then((id) => bob.accept(id))]);
seen.sameRoom = invited.roomId === accepted.roomId && invited.invitationId === accepted.invitationId;
seen.topic = accepted.topic;
seen.search = await search;
await Promise.all(phones.map((phone) => phone.join(invited.roomId)));
await phones[1]!.end();

// Both call each other: one room.
const crossed = await Promise.all([ada.invite({ userId: second }).catch(refusal), bob.invite({ userId: first }).catch(refusal)]);
const rooms = crossed.map((each) => (typeof each === "object" ? each.roomId : each));
seen.crossed = rooms[0] === rooms[1] ? typeof crossed[0] : rooms;
for (const phone of phones) phone.close();
console.log(JSON.stringify(seen));
