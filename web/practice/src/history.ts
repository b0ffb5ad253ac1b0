/** The learner's calls and statistics. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me, Call } from "../../../clients/typescript/src/openapi.js";
import { face, h, pages, say, show } from "./dom.ts";
import { reportButton } from "./report.ts";
import { parlance } from "./session.ts";
import { duration, sentence, when } from "./words.ts";

function row(call: Call): HTMLLIElement {
  const stars = call.myRating ? `${call.myRating} of 5 stars` : "";
  return h(
    "li",
    {},
    face(call.partner.displayName, call.partner.avatarUrl, "small"),
    h("div", {}, h("p", {}, h("strong", {}, call.partner.displayName)), h("p", { class: "soft" }, [when(call.startedAt), call.topic, stars].filter(Boolean).join(" · "))),
    h("p", { class: "end" }, call.connectedAt ? duration(call.durationSeconds ?? 0) : "not connected", call.partner.userId && reportButton({ userId: call.partner.userId, name: call.partner.displayName, sessionId: call.id }, "Report")),
  );
}

export function figures(me: Me): HTMLElement {
  const figure = (name: string, number: number) => h("div", {}, h("dt", {}, name), h("dd", {}, String(number)));
  return h("dl", { class: "figures" }, figure("day streak", me.streakDays), figure("calls", me.totalCalls), figure("minutes", me.totalPracticeMinutes));
}

export function history(me: Me): void {
  const [box] = pages<Call>({
    name: "Calls, the latest first",
    kind: "rows",
    nothing: "No calls yet. Your first one is a tap away.",
    more: "Show older calls",
    read: async (query) => unwrap(await parlance.rest.GET("/sessions", { params: { query } })),
    row,
    failed: (reason) => say(sentence(reason), "alert"),
  });
  show("Your calls", figures(me), h("div", { class: "card" }, box));
}
