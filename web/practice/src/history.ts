/** The calls one has had, and what they add up to. */
import { value } from "../../../clients/typescript/src/client.ts";
import type { Me, Session } from "../../../clients/typescript/src/openapi.ts";
import { h, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { duration, sentence } from "./words.ts";

const when = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

function row(call: Session): HTMLLIElement {
  const stars = call.myRating ? `${call.myRating} of 5 stars` : "";
  return h(
    "li",
    {},
    h("div", {}, h("p", {}, h("strong", {}, call.partner.displayName)), h("p", { class: "soft" }, [when.format(new Date(call.startedAt)), call.topic, stars].filter(Boolean).join(" · "))),
    h("p", {}, call.connectedAt ? duration(call.durationSeconds ?? 0) : "not connected"),
  );
}

export function figures(me: Me): HTMLElement {
  const figure = (name: string, number: number) => h("div", {}, h("dt", {}, name), h("dd", {}, String(number)));
  return h("dl", { class: "figures" }, figure("day streak", me.streakDays), figure("calls", me.totalSessions), figure("minutes", me.totalPracticeMins));
}

export function history(me: Me): void {
  const list = h("ul", { class: "calls", "aria-label": "Calls, the latest first" });
  const more = h("button", { hidden: true }, "Show older calls");
  const nothing = h("p", { class: "soft", hidden: true }, "No calls yet. Your first one is a tap away.");
  let cursor: string | undefined;
  const read = async () => {
    try {
      const query = cursor === undefined ? { limit: 20 } : { limit: 20, cursor };
      const page = value(await parlance.rest.GET("/sessions", { params: { query } }));
      list.append(...page.items.map(row));
      nothing.hidden = list.childElementCount > 0;
      list.hidden = !nothing.hidden;
      cursor = page.nextCursor ?? undefined;
      more.hidden = cursor === undefined;
    } catch (reason) {
      say(sentence(reason), "trouble");
    }
  };
  more.addEventListener("click", () => void read());
  show("Your calls", figures(me), h("div", { class: "card" }, list, nothing, more));
  void read();
}
