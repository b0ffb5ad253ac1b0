// Sanctions of an account, and appeals against them.

import * as api from "./api.js";
import { ask, badge, field, h, say, select, table, when } from "./dom.js";

const KINDS = [["warning", "Warning"], ["suspension", "Suspension"], ["ban", "Ban"]];
const GROUNDS = ["harassment", "spam", "inappropriate", "hate_speech", "minor_safety", "threat", "underage", "fraud", "other"];
const words = (name) => name.replaceAll("_", " ");
const COLOURS = { warning: "warn", suspension: "bad", ban: "bad", open: "warn", overturned: "good" };

/** Whether the clock of this machine is beyond an instant: for what is shown, not for what is decided. */
const isPast = (instant) => instant !== null && new Date(instant) < new Date();

/** The fields of a sanction; the duration belongs to a suspension. With `none` no sanction is chosen at first. `choose` is
 * called with each kind that is chosen. */
export function fields(ground, none, choose = () => {}) {
  const days = h("input", { name: "days", type: "number", min: 1, max: 365, value: 7, inputmode: "numeric" });
  const duration = field("Days", days);
  const facts = h("textarea", { name: "facts", minlength: 3, maxlength: 2000, rows: 4, "aria-describedby": "facts-hint" });
  const chosen = select({ name: "kind", onchange: adapt }, none ? [["", none], ...KINDS] : KINDS);
  const more = [
    field("Ground", select({ name: "ground" }, GROUNDS.map((each) => [each, words(each)]), GROUNDS.includes(ground) ? ground : "other")),
    duration,
    field("What happened", facts),
    h("p", { id: "facts-hint" }, h("small", null, "The learner reads this text. Name nobody, and nothing that shows who reported them.")),
  ];
  function adapt() {
    for (const each of more) each.hidden = !chosen.value;
    duration.hidden = chosen.value !== "suspension";
    days.disabled = duration.hidden;
    days.required = !duration.hidden;
    facts.required = Boolean(chosen.value);
    choose(chosen.value);
  }
  adapt();
  return [field(none ? "Sanction" : "Kind", chosen), ...more];
}

/** The sanction that was entered in `fields`; undefined where none was chosen. */
export function readSanction({ kind, ground, facts, days }) {
  if (!kind) return undefined;
  return { kind, ground, facts: facts.trim(), ...(kind === "suspension" && { days: Number(days) }) };
}

/** Ask for a sanction of an account; return what was issued, or null. */
function issue(id, name) {
  const key = `admin-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  return ask(`Sanction ${name}`, fields("harassment"), "Issue", "danger", (answer) => api.issueSanction(id, readSanction(answer), key));
}

async function run(work, message, again) {
  if (!(await work())) return;
  say(message);
  again();
}

const state = (row) => {
  if (row.liftedAt) return badge("lifted");
  if (row.kind === "warning") return badge(row.acknowledgedAt ? "read" : "not read");
  return isPast(row.endsAt) ? badge("ended") : badge("in force", "bad");
};

const person = (id) => (id ? h("a", { href: `#/users/${id}`, class: "id" }, id.slice(0, 8)) : "the command line");

/** The section of an account's page. */
export async function sanctionsOf(user, name, again) {
  const { items } = await api.sanctions(user.id);
  const lift = (row) => {
    const reason = h("textarea", { name: "reason", required: true, minlength: 3, maxlength: 2000, rows: 3 });
    const texts = [h("p", null, "The learner reads the reason. An open appeal is closed."), field("Reason", reason)];
    return ask(`Lift the ${row.kind}?`, texts, "Lift", "primary", (answer) => api.liftSanction(row.id, answer.reason.trim()));
  };
  return [
    h(
      "div",
      { class: "row" },
      h("h2", null, "Sanctions"),
      user.deletedAt || user.role !== "student"
        ? null
        : h("button", { onclick: () => run(() => issue(user.id, name), "The sanction is issued.", again) }, "Issue a sanction"),
    ),
    table(
      "Sanctions",
      [
        ["Issued", (row) => when(row.startsAt)],
        ["Kind", (row) => badge(row.kind, COLOURS[row.kind])],
        ["Ground", (row) => words(row.ground)],
        ["What happened", (row) => [h("span", { class: "text" }, row.facts ?? "erased"), row.isInternal ? h("small", null, " (internal)") : null]],
        ["By", (row) => person(row.issuedBy)],
        ["Ends", (row) => (row.endsAt ? when(row.endsAt) : row.kind === "ban" ? "when lifted" : "")],
        ["State", (row) => [state(row), row.appeal ? badge(`appeal ${row.appeal.status}`, COLOURS[row.appeal.status]) : null, row.liftReason ? h("small", null, ` ${row.liftReason}`) : null]],
        ["", (row) => (row.liftedAt || user.deletedAt ? null : h("button", { onclick: () => run(() => lift(row), `The ${row.kind} is lifted.`, again) }, "Lift"))],
      ],
      items,
    ),
  ];
}

/** The table of appeals. An administrator does not decide about an own sanction. */
export function appealTable(rows, again) {
  const me = api.ownId();
  const decide = (row) => {
    const outcome = select({ name: "outcome" }, [["upheld", `uphold: the ${row.sanction.kind} stays`], ["overturned", `overturn: the ${row.sanction.kind} is lifted`]]);
    return ask(
      "Decide the appeal",
      [
        h("p", null, `${row.sanction.kind} for ${words(row.sanction.ground)}: ${row.sanction.facts ?? "erased"}`),
        h("p", { class: "text" }, row.text ?? "erased"),
        field("Decision", outcome),
        field("Reason, which the learner reads", h("textarea", { name: "reason", required: true, minlength: 3, maxlength: 2000, rows: 4 })),
      ],
      "Decide",
      "primary",
      (answer) => api.decideAppeal(row.id, { outcome: answer.outcome, reason: answer.reason.trim() }),
    );
  };
  const action = (row) => {
    if (row.status !== "open") return null;
    if (row.sanction.issuedBy === me) return h("small", null, "Another administrator decides: you issued this sanction.");
    return h("button", { onclick: () => run(() => decide(row), "The appeal is decided.", again) }, "Decide");
  };
  return table(
    "Appeals",
    [
      ["Submitted", (row) => when(row.createdAt)],
      ["Learner", (row) => h("a", { href: `#/users/${row.sanction.userId}` }, row.displayName ?? row.sanction.userId.slice(0, 8))],
      ["Against", (row) => [badge(row.sanction.kind, COLOURS[row.sanction.kind]), h("span", null, words(row.sanction.ground))]],
      ["What happened", (row) => row.sanction.facts ?? "erased"],
      ["Appeal", (row) => h("span", { class: "text" }, row.text ?? "erased")],
      ["Status", (row) => [badge(row.status, COLOURS[row.status]), row.decisionReason ? h("small", null, ` ${row.decisionReason}`) : null]],
      ["", action],
    ],
    rows,
  );
}
