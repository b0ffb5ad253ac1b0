/** The learner's calls and statistics. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me, Call } from "../../../clients/typescript/src/openapi.js";
import { face, h, pages, say, show } from "./dom.ts";
import { reportButton } from "./report.ts";
import { parlance, partners } from "./session.ts";
import { wish } from "./wishes.ts";
import { duration, sentence, when } from "./words.ts";

/** `known` has the ids of partners; undefined where they could not be read. */
function row(call: Call, known: Set<string> | undefined): HTMLLIElement {
  const { userId, displayName: name } = call.partner;
  // Only with a learner to whom the user has talked.
  const isAskable = known && userId && call.connectedAt && !known.has(userId);
  const stars = call.myRating ? `${call.myRating} of 5 stars` : "";
  return h(
    "li",
    {},
    face(call.partner.displayName, call.partner.avatarUrl, "small"),
    h("div", {}, h("p", {}, h("strong", {}, call.partner.displayName)), h("p", { class: "soft" }, [when(call.startedAt), call.topic, stars, known?.has(userId) && "your partner"].filter(Boolean).join(" · "))),
    h("p", { class: "end" }, call.connectedAt ? duration(call.durationSeconds ?? 0) : "not connected", isAskable && wish(userId, name, { isShort: true }), userId && reportButton({ userId, name, sessionId: call.id }, "Report")),
  );
}

export function figures(me: Me): HTMLElement {
  const figure = (name: string, number: number) => h("div", {}, h("dt", {}, name), h("dd", {}, String(number)));
  return h("dl", { class: "figures" }, figure("day streak", me.streakDays), figure("calls", me.totalCalls), figure("minutes", me.totalPracticeMinutes));
}

export async function history(me: Me): Promise<() => void> {
  // The list of calls is of use without it.
  const known = await partners().then((all) => new Set(all.map(({ userId }) => userId)), () => undefined);
  return () => showHistory(me, known);
}

function showHistory(me: Me, known: Set<string> | undefined): void {
  const [box] = pages<Call>({
    name: "Calls, the latest first",
    kind: "rows",
    nothing: "No calls yet. Your first one is a tap away.",
    more: "Show older calls",
    read: async (query) => unwrap(await parlance.rest.GET("/sessions", { params: { query } })),
    row: (call) => row(call, known),
    failed: (reason) => say(sentence(reason), "alert"),
  });
  show("Your calls", figures(me), h("div", { class: "card" }, box));
}
