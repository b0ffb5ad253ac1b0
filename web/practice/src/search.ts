/** The start of a search: whom to meet, at which level, about what; and what remains while strangers cannot be met. */
import type { FindPartner } from "../../../clients/typescript/src/asyncapi.js";
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { type Field, clearMessages, form, h, onLeave } from "./dom.ts";
import { parlance, waysToMeet } from "./session.ts";
import { LEVELS, duration, timeOfDay } from "./words.ts";

/** A value of `among`, and its words. */
export type Among = [value: string, words: string];
const PARTNERS = "partners";

/** Read whom the learner may search among: what the deployment offers on the web, with the learner's own courses. */
export async function readAmong(): Promise<Among[]> {
  const ways = await waysToMeet();
  const courses = ways.includes("course") ? unwrap(await parlance.rest.GET("/my/courses", { params: { query: { limit: 100 } } })).items : [];
  const found: Among[] = [];
  if (ways.includes("anyone")) found.push(["anyone", "Anyone"]);
  if (ways.includes(PARTNERS)) found.push([PARTNERS, "My partners"]);
  return [...found, ...courses.map(({ course }): Among => [`course:${course.id}`, `Learners of “${course.title}”`])];
}

/** A search that strangers answer: a rest closes it. */
export const isOfPartners = ([value]: Among): boolean => value === PARTNERS;

/** The form that begins a search. */
export function searchForm(among: Among[], find: (search: FindPartner) => Promise<void>): HTMLElement {
  if (!among.length) return nobody();
  const fields: Field[] = [
    // Not the learner's own level: learners of different levels would never match.
    { name: "level", label: "Partner's level", choices: [["all", "Any level"], ...LEVELS], value: "all" },
    { name: "strict", label: "Only this level, also if I wait longer", isBox: true },
    { name: "topic", label: "Topic (optional)", hint: "Learners with the same topic are matched first.", attributes: { maxlength: "60", autocomplete: "off" } },
  ];
  // One choice is none, unless it is not what everybody expects.
  if (among.length > 1 || among[0]?.[0] !== "anyone") fields.unshift({ name: "among", label: "Whom to meet", choices: among, value: among[0]?.[0] ?? "" });
  const start = form(fields, "Tap to talk", async ({ level = "all", among: chosen, strict, topic = "" }) => {
    await find({
      level: level as NonNullable<FindPartner["level"]>,
      ...(chosen && { among: chosen }),
      ...(strict && level !== "all" && { strict: true }),
      ...(topic.trim() && { topic: topic.trim() }),
    });
  });
  start.querySelector("button")?.classList.add("tap");
  const levels = start.querySelector("select[name=level]");
  const strict = start.querySelector<HTMLElement>(".check");
  if (strict && levels instanceof HTMLSelectElement) {
    strict.hidden = true;
    levels.addEventListener("change", () => {
      strict.hidden = levels.value === "all";
    });
  }
  return h("div", { class: "card" }, start);
}

function nobody(): HTMLElement {
  return h(
    "div",
    { class: "card" },
    h("p", {}, "Here you talk with partners and with learners of your courses."),
    h("p", { class: "row" }, h("a", { class: "button primary", href: "#/partners" }, "Invite a partner"), h("a", { class: "button", href: "#/courses" }, "Choose a course")),
  );
}

/** What a learner can do during a rest: the time that is left, partners, courses. `over` is called at its end. */
export function rest(until: number, among: Among[], find: (search: FindPartner) => Promise<void>, over: () => void): HTMLElement {
  const left = h("p", { class: "timer", role: "timer", "aria-label": "Time until you can meet new partners" });
  const again = h("p", { role: "status" });
  const count = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    left.textContent = duration(Math.max(0, seconds));
    if (seconds > 0) return;
    clearInterval(tick);
    again.append("You can meet new partners again. ", h("button", { class: "primary", click: () => (clearMessages(), over()) }, "Look for a partner"));
  };
  const tick = setInterval(count, 500);
  onLeave(() => clearInterval(tick));
  count();
  const partners = among.filter(isOfPartners);
  return h(
    "div",
    {},
    h(
      "div",
      { class: "card center" },
      h("h2", {}, "A short rest"),
      h("p", {}, `Several of your matches were declined, not joined or left within a minute. You can meet new partners again at ${timeOfDay(until)}.`),
      left,
      again,
    ),
    h(
      "div",
      { class: "card" },
      h("h2", {}, "Until then"),
      h("div", { class: "row" }, h("a", { class: "button", href: "#/partners" }, "Invite a partner"), h("a", { class: "button", href: "#/courses" }, "Take a lesson")),
    ),
    partners.length ? searchForm(partners, find) : "",
  );
}

