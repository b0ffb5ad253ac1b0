// The pages: each function returns its elements.

import * as api from "./api.js";
import { chart } from "./charts.js";
import { ask, badge, digits, field, h, money, number, say, select, table, when } from "./dom.js";
import { appealTable, fields, readSanction, sanctionsOf } from "./sanctions.js";

const short = (id) => id.slice(0, 8);
export const person = (id) => (id ? h("a", { href: `#/users/${id}`, class: "id" }, short(id)) : "the command line");
export const heading = (text, ...more) => h("div", { class: "row" }, h("h1", null, text), ...more);

/** Do something and reload the page; show the API's refusal. */
export async function act(work, message, again) {
  try {
    await work();
    say(message);
    again();
  } catch (problem) {
    say(problem.message);
  }
}

/** Show that something was done, and reload the page. */
export function finish(message, again) {
  say(message);
  again();
}

/** A list with more pages: `read(cursor)` returns a page, `draw(rows)` shows all rows so far. */
export async function list(read, draw) {
  const place = h("div");
  let rows = [];
  async function more(cursor) {
    const page = await read(cursor);
    rows = [...rows, ...page.items];
    const next = page.nextCursor;
    place.replaceChildren(
      draw(rows),
      ...(next ? [h("button", { class: "more", onclick: () => more(next).catch((p) => say(p.message)) }, "More")] : []),
    );
  }
  await more();
  return place;
}

/** Filters whose values are in the address, so that a page can be bookmarked. */
export function filters(path, ...controls) {
  const go = (event) => {
    event.preventDefault();
    const chosen = [...new FormData(event.currentTarget.closest("form"))].filter(([, value]) => value);
    location.hash = `#/${path}?${new URLSearchParams(chosen)}`;
  };
  return h("form", { class: "filters", role: "search", onsubmit: go, onchange: go }, controls, h("button", null, "Show"));
}

const any = (options) => [["", "any"], ...options.map((each) => [each, each])];

export async function overview() {
  const now = await api.stats();
  const tile = (label, value, link) =>
    h(link ? "a" : "div", { class: "tile", href: link }, h("strong", null, value), h("span", null, label));
  const total = ({ count, isExact }) => (isExact ? "" : "about ") + number(count);
  const hour = (since) => `${new Date(since).getUTCHours()}h`;
  return [
    heading("Overview", h("small", null, "as of ", when(now.computedAt), "; charts in UTC")),
    h(
      "div",
      { class: "tiles" },
      tile("searching now", now.live.searches === null ? "unknown" : number(now.live.searches)),
      tile("calls now", number(now.live.calls)),
      tile("active today", number(now.activeToday)),
      tile("new today", number(now.newToday)),
      tile("median wait", now.wait.medianSeconds === null ? "none" : `${now.wait.medianSeconds.toFixed(1)} s`),
      tile("open reports", number(now.openReports), "#/queue"),
      tile("flagged accounts", number(now.flaggedUsers), "#/users?isFlagged=true"),
      tile("open appeals", number(now.appeals.open), "#/appeals?status=open"),
      tile("appeals overturned in 30 days", `${number(now.appeals.overturned)} of ${number(now.appeals.upheld + now.appeals.overturned)}`),
      tile("open disputes", number(now.openDisputes), "#/orders?isDisputed=true"),
      tile("accounts", total(now.totals.users), "#/users"),
      tile("calls in total", total(now.totals.calls)),
      tile("orders", total(now.totals.orders), "#/orders"),
    ),
    h(
      "div",
      { class: "grid" },
      chart("Matches by hour", now.hours.map((each) => [hour(each.since), each.matches]), 6),
      chart("Calls by day", now.days.map((each) => [each.day.slice(5), each.calls]), 7),
      chart("Minutes by day", now.days.map((each) => [each.day.slice(5), each.callMinutes]), 7),
      h(
        "section",
        { class: "card" },
        h("h2", null, "Revenue of 30 days"),
        table(
          "Revenue of 30 days",
          [
            ["Currency", (row) => [row.currency.toUpperCase(), " ", row.isLive ? "" : badge("test")]],
            ["Orders", (row) => number(row.orders)],
            ["Paid", (row) => money(row.amount, row.currency)],
            ["Refunded", (row) => money(row.amountRefunded, row.currency)],
          ],
          now.revenue,
        ),
      ),
    ),
  ];
}

const standing = (user) => [
  user.isBanned ? badge("banned", "bad") : null,
  !user.isBanned && new Date(user.suspendedUntil ?? 0) > new Date() ? badge("suspended", "bad") : null,
  user.flaggedAt ? badge("flagged", "warn") : null,
  user.role === "student" ? null : badge(user.role, "good"),
  user.isVerified ? null : badge("not verified"),
];

export async function users(which) {
  const found = await list(
    (cursor) => api.users({ ...which, limit: 25, cursor }),
    (rows) =>
      table(
        "Accounts",
        [
          ["Account", (row) => h("a", { href: `#/users/${row.id}` }, row.displayName ?? row.username ?? row.email)],
          ["E-mail", (row) => row.email],
          ["Status", standing],
          ["Calls", (row) => number(row.totalCalls)],
          ["Registered", (row) => when(row.createdAt)],
        ],
        rows,
      ),
  );
  const yes = [["", "any"], ["true", "yes"], ["false", "no"]];
  return [
    heading("Accounts"),
    filters(
      "users",
      field("Begins with", h("input", { type: "search", name: "search", value: which.search, placeholder: "e-mail, username or id" })),
      field("Banned", select({ name: "isBanned" }, yes, which.isBanned)),
      field("Flagged", select({ name: "isFlagged" }, yes, which.isFlagged)),
      field("Role", select({ name: "role" }, any(["student", "moderator", "admin"]), which.role)),
    ),
    found,
  ];
}

export async function user(id, again) {
  const found = await api.user(id);
  const name = found.displayName ?? found.username ?? found.email;
  const fact = (label, value) => [h("dt", null, label), h("dd", null, value ?? "none")];
  return [
    heading(name, ...standing(found)),
    h(
      "div",
      { class: "row" },
      h("a", { class: "button", href: `#/audit?targetId=${id}` }, "Audit log"),
    ),
    h(
      "dl",
      { class: "card facts" },
      fact("E-mail", found.email),
      fact("Username", found.username),
      fact("Level", found.englishLevel),
      fact("Country", found.country),
      fact("Practised", `${number(found.totalPracticeMinutes)} minutes in ${number(found.totalCalls)} calls`),
      fact("Last active", when(found.lastActiveAt)),
      fact("Registered", when(found.createdAt)),
      found.isBanned ? fact("Banned", [when(found.bannedAt), " by ", person(found.bannedBy), `: ${found.banReason}`]) : [],
      !found.isBanned && new Date(found.suspendedUntil ?? 0) > new Date() ? fact("Suspended until", when(found.suspendedUntil)) : [],
      found.deletedAt ? fact("Deleted", when(found.deletedAt)) : [],
      fact("Id", h("code", null, found.id)),
    ),
    ...(await sanctionsOf(found, name, again)),
    h("h2", null, "Reports about this account"),
    reportTable(found.reportsAbout, again),
    h("h2", null, "Reports by this account"),
    reportTable(found.reportsBy, again),
    api.isAdmin() ? [h("h2", null, "Orders"), orderTable(found.orders, again)] : [],
    h("h2", null, "Calls"),
    table(
      "Calls",
      [
        ["Started", (row) => when(row.startedAt)],
        ["With", (row) => (row.partner?.userId ? person(row.partner.userId) : "a deleted account")],
        ["Topic", (row) => row.topic ?? "none"],
        ["Seconds", (row) => number(row.durationSeconds ?? 0)],
      ],
      found.calls,
    ),
  ];
}

const VERDICTS = { pending: "warn", actioned: "bad", reviewed: "good", dismissed: "" };
const VERDICT_CHOICES = [["reviewed", "reviewed: true, but no measure"], ["actioned", "actioned: true, with a measure"], ["dismissed", "dismissed: nothing to it"]];

export async function review(row, again) {
  const status = select({ name: "status" }, VERDICT_CHOICES, row.status);
  const sanction = fields(row.reason, "none", (kind) => {
    // The report of a sanctioned learner is `actioned` in any case.
    if (kind) status.value = "actioned";
    for (const option of status.options) option.disabled = Boolean(kind) && option.value !== "actioned";
  });
  const send = async (answer) => {
    const verdict = { status: answer.status, sanction: readSanction(answer) };
    if (answer.adminNote.trim()) verdict.adminNote = answer.adminNote.trim();
    await api.review(row.id, verdict);
  };
  const answer = await ask(
    "Review the report",
    [
      h("p", null, "About ", person(row.reportedId), `: ${row.reason.replaceAll("_", " ")}`),
      h("p", { class: "text" }, row.description ?? "no description"),
      field("Verdict", status),
      field("Note, for staff", h("textarea", { name: "adminNote", maxlength: 2000, rows: 3 }, row.adminNote ?? "")),
      ...sanction,
    ],
    "Review",
    "primary",
    send,
  );
  if (answer) finish("The report is reviewed.", again);
}

function reportTable(rows, again) {
  return table(
    "Reports",
    [
      ["Created", (row) => when(row.createdAt)],
      ["About", (row) => person(row.reportedId)],
      ["By", (row) => person(row.reporterId)],
      ["Reason", (row) => row.reason.replaceAll("_", " ")],
      ["Description", (row) => row.description ?? "no description"],
      ["Status", (row) => [badge(row.status, VERDICTS[row.status]), row.adminNote ? h("small", null, ` ${row.adminNote}`) : null]],
      ["", (row) => h("button", { onclick: () => review(row, again) }, row.status === "pending" ? "Review" : "Change")],
    ],
    rows,
  );
}

export async function reports(which, again) {
  const found = await list((cursor) => api.reports({ ...which, limit: 25, cursor }), (rows) => reportTable(rows, again));
  const statuses = any(["pending", "reviewed", "actioned", "dismissed"]);
  return [heading("Reports"), filters("reports", field("Status", select({ name: "status" }, statuses, which.status))), found];
}

export async function appeals(which, again) {
  const found = await list((cursor) => api.appeals({ ...which, limit: 25, cursor }), (rows) => appealTable(rows, again));
  const statuses = any(["open", "upheld", "overturned", "closed"]);
  return [heading("Appeals"), filters("appeals", field("Status", select({ name: "status" }, statuses, which.status))), found];
}

const PAID = { paid: "good", processing: "warn", refunded: "warn", failed: "bad" };

function orderTable(rows, again) {
  const refund = async (row) => {
    const left = row.amount - row.amountRefunded;
    const unit = 10 ** digits(row.currency);
    const key = `admin-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    const send = async (answer) => {
      const body = {};
      if (answer.amount) body.amount = Math.round(Number(answer.amount) * unit);
      if (answer.reason.trim()) body.reason = answer.reason.trim();
      await api.refund(row.id, body, key);
    };
    const answer = await ask(
      `Refund ${money(left, row.currency)}?`,
      [
        h("p", null, "A full refund ends the enrollment. Leave the amount empty to refund the rest."),
        field(
          `Amount in ${row.currency.toUpperCase()}`,
          h("input", { name: "amount", type: "number", min: 1 / unit, max: left / unit, step: 1 / unit, inputmode: "decimal" }),
        ),
        field("Reason", h("input", { name: "reason", maxlength: 500 })),
      ],
      "Refund",
      "danger",
      send,
    );
    if (answer) finish("The refund is on its way.", again);
  };
  return table(
    "Orders",
    [
      ["Created", (row) => when(row.createdAt)],
      ["Receipt", (row) => h("code", null, row.receiptId)],
      ["By", (row) => person(row.userId)],
      ["Amount", (row) => money(row.amount, row.currency)],
      ["Refunded", (row) => (row.amountRefunded ? money(row.amountRefunded, row.currency) : "nothing")],
      ["Status", (row) => [badge(row.status, PAID[row.status]), row.isDisputed ? badge("disputed", "bad") : null, row.isUnderInquiry ? badge("inquiry", "warn") : null, row.alerts.map((each) => badge(each, "bad"))]],
      ["", (row) => (row.status === "paid" && row.amountRefunded < row.amount ? h("button", { onclick: () => refund(row) }, "Refund") : null)],
    ],
    rows,
  );
}

export async function orders(which, again) {
  const found = await list((cursor) => api.orders({ ...which, limit: 25, cursor }), (rows) => orderTable(rows, again));
  return [
    heading("Orders"),
    filters(
      "orders",
      field("Status", select({ name: "status" }, any(["pending", "processing", "paid", "failed", "expired", "refunded"]), which.status)),
      field("Provider", select({ name: "provider" }, any(["stripe", "razorpay"]), which.provider)),
      field("Disputed", select({ name: "isDisputed" }, [["", "any"], ["true", "yes"], ["false", "no"]], which.isDisputed)),
    ),
    found,
  ];
}

export async function audit(which) {
  const found = await list(
    (cursor) => api.audit({ ...which, limit: 50, cursor }),
    (rows) =>
      table(
        "Audit log",
        [
          ["No.", (row) => String(row.number)],
          ["Time", (row) => when(row.createdAt)],
          ["Actor", (row) => person(row.actorId)],
          ["Action", (row) => h("code", null, row.action)],
          ["Target", (row) => (row.targetId ? h("code", null, short(row.targetId)) : "")],
          ["Detail", (row) => h("code", { class: "detail" }, JSON.stringify(row.details))],
        ],
        rows,
      ),
  );
  return [
    heading("Audit log"),
    filters(
      "audit",
      field("Action", h("input", { name: "action", value: which.action, placeholder: "user.ban", pattern: "[a-z_]+\\.[a-z_]+" })),
      field("Target id", h("input", { name: "targetId", value: which.targetId })),
      api.isAdmin() ? field("Actor id", h("input", { name: "actorId", value: which.actorId })) : null,
    ),
    found,
  ];
}
