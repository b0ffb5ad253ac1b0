/** What must not compile: a payload, an ack or an event that the contracts do not name. Read by tsc only. */
import type { Parlance } from "../src/client.ts";
import type { Practice } from "../src/practice.ts";

export async function refusedByTheCompiler(parlance: Parlance, practice: Practice): Promise<void> {
  await practice.send("find_partner", { level: "intermediate", topic: "travel" });
  // @ts-expect-error there is no such level
  await practice.send("find_partner", { level: "fluent" });
  // @ts-expect-error a field that the contract does not name
  await practice.send("find_partner", { language: "en" });
  // @ts-expect-error the room is missing
  await practice.send("webrtc_offer", { sdp: "v=0" });
  // @ts-expect-error there is no such event
  await practice.send("find_friend", {});
  // @ts-expect-error a success carries no error
  (await practice.send("end_call", { roomId: "" })).error;
  practice.socket.on("match_found", (match) => {
    // A level that is new later is a text too, and those known today are named.
    match.partner.level satisfies string;
    match.partner.level === "beginner";
    // @ts-expect-error profiles have no e-mail address
    match.partner.email;
  });
  // @ts-expect-error the server sends no such event
  practice.socket.on("partner_found", () => {});

  const { data, error } = await parlance.rest.GET("/sessions", { params: { query: { limit: 10 } } });
  data?.items[0]?.endedBy satisfies string | null | undefined;
  error?.code satisfies string | undefined;
  // @ts-expect-error there is no such operation
  await parlance.rest.GET("/sessions/mine");
  // @ts-expect-error stars are a number
  await parlance.rest.POST("/sessions/{sessionId}/rate", { params: { path: { sessionId: "" } }, body: { stars: "5" } });
}
