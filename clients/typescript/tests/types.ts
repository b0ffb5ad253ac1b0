/** What must not compile: a payload, an ack or an event that the contracts do not name. Read by tsc only. */
import type { ParlanceClient, RealtimeClient } from "../src/index.js";

export async function refusedByTheCompiler(client: ParlanceClient, realtime: RealtimeClient): Promise<void> {
  await realtime.send("find_partner", { level: "intermediate", topic: "travel" });
  // @ts-expect-error there is no such level
  await realtime.send("find_partner", { level: "fluent" });
  // @ts-expect-error a field that the contract does not name
  await realtime.send("find_partner", { language: "en" });
  await realtime.send("find_partner", { among: "partners", strict: true });
  // @ts-expect-error a box to tick
  await realtime.send("find_partner", { strict: "yes" });
  (await realtime.send("invite_partner", { userId: "" })).expiresAt satisfies string;
  // @ts-expect-error nobody is invited
  await realtime.send("invite_partner", { topic: "travel" });
  // @ts-expect-error the answer is missing
  await realtime.send("answer_invitation", { invitationId: "" });
  // @ts-expect-error the room is missing
  await realtime.send("webrtc_offer", { sdp: "v=0" });
  // @ts-expect-error there is no such event
  await realtime.send("find_friend", {});
  // @ts-expect-error a success carries no error
  (await realtime.send("end_call", { roomId: "" })).error;
  realtime.socket.on("match_found", (match) => {
    // A level that is new later is a text too, and those known today are named.
    match.partner.level satisfies string;
    match.partner.level === "beginner";
    // @ts-expect-error profiles have no e-mail address
    match.partner.email;
  });
  realtime.socket.on("searching", ({ waitSeconds, levels }) => {
    waitSeconds.p90 satisfies number;
    levels satisfies string[];
  });
  realtime.socket.on("resting", ({ until }) => until satisfies string);
  // @ts-expect-error the server sends no such event
  realtime.socket.on("partner_found", () => {});

  const { data, error } = await client.rest.GET("/sessions", { params: { query: { limit: 10 } } });
  data?.items[0]?.endedBy satisfies string | null | undefined;
  error?.code satisfies string | undefined;
  // @ts-expect-error there is no such operation
  await client.rest.GET("/sessions/mine");
  // @ts-expect-error stars are a number
  await client.rest.POST("/sessions/{sessionId}/rate", { params: { path: { sessionId: "" } }, body: { stars: "5" } });
}

/** PATCH: an absent field stays as it is, null clears it, and undefined is neither. */
export async function clearedOrUnchanged(client: ParlanceClient): Promise<void> {
  await client.rest.PATCH("/users/me", { body: { bio: "Hello" } });
  await client.rest.PATCH("/users/me", { body: { bio: null, country: null } });
  // @ts-expect-error a username can be changed, not cleared
  await client.rest.PATCH("/users/me", { body: { username: null } });
  // @ts-expect-error leave the field out
  await client.rest.PATCH("/users/me", { body: { bio: undefined } });
}
