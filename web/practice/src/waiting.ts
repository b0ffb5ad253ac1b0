/** The view of a search that waits, with what the server says of it. */
import type { FindPartner, Searching } from "../../../clients/typescript/src/asyncapi.js";
import { h, onLeave, place, show } from "./dom.ts";
import { listWords } from "./words.ts";

/** Milliseconds of searching after which the page offers partners of any level. */
const ANY_LEVEL_OFFER_MS = 20_000;

function span(seconds: number): string {
  if (seconds < 60) return seconds < 2 ? "a second" : `${seconds} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes === 1 ? "a minute" : `${minutes} minutes`;
}

/** Describe the waits of others, and how many could come. */
function describeWait({ waitSeconds, learnersOnline }: Searching): string {
  const { median, p90 } = waitSeconds;
  const [usual, longest] = [span(median), span(Math.max(median, p90))];
  const wait = usual === longest ? `Expected wait: about ${usual}.` : `Expected wait: usually ${usual}, nearly always within ${longest}.`;
  return `${wait} ${learnersOnline > 1 ? `${learnersOnline} learners are online.` : "No other learner is online at the moment."}`;
}

/** Levels beside the one that was searched for, which are let in after some time. */
function listNeighbours(search: FindPartner, { levels }: Searching): string[] {
  const wanted = search.level ?? "all";
  return wanted === "all" ? [] : levels.filter((level) => level !== wanted && level !== "all");
}

/** Show the search; `cancel` stops it, `widen` continues it with any level. */
export function showWaiting(search: FindPartner, cancel: () => Promise<void>, widen: () => Promise<void>): void {
  place("nav").hidden = true;
  const wider = h("div", { role: "status" });
  show(
    "Looking for a partner",
    h(
      "div",
      { class: "card center" },
      h("div", { class: "wait", "aria-hidden": "true" }),
      h("p", { id: "estimate", role: "status" }, "One moment …"),
      h("p", { id: "neighbours", role: "status" }),
      wider,
      h("p", {}, h("button", { click: () => void cancel() }, "Stop looking")),
    ),
  );
  if ((search.level ?? "all") === "all") return;
  const button = h("button", { class: "primary", click: () => void widen() }, "Look for any level");
  const offer = setTimeout(() => wider.append(h("p", {}, "Nobody of this level is free yet."), h("p", {}, button)), ANY_LEVEL_OFFER_MS);
  onLeave(() => clearTimeout(offer));
}

/** Show what the server says of a search, each time that it does. */
export function updateWaiting(search: FindPartner, state: Searching): void {
  const [estimate, neighbours] = ["estimate", "neighbours"].map((id) => document.getElementById(id));
  if (!estimate || !neighbours) return;
  estimate.textContent = describeWait(state);
  const others = listNeighbours(search, state);
  neighbours.textContent = others.length ? `Nobody of your level was free so far. Learners of ${listWords(others)} English are let in now too.` : "";
}
