// The review queue: pending reports by the rank of the learner that they are about.

import * as api from "./api.js";
import { badge, field, h, number, select, table, when } from "./dom.js";
import { filters, heading, list, person, review } from "./pages.js";

const YES = [["", "any"], ["true", "yes"], ["false", "no"]];

/** The learner, with all that others have reported of them. */
function about({ reportedId, about: counts }) {
  const parts = ["pending", "actioned", "reviewed", "dismissed"].filter((each) => counts[each]);
  return [
    person(reportedId),
    h("small", null, ` ${parts.map((each) => `${number(counts[each])} ${each}`).join(", ")}`),
    ...(counts.heldUntil ? [" ", badge("not paired", "warn"), h("small", null, " until ", when(counts.heldUntil))] : []),
  ];
}

function due({ dueAt }) {
  return [when(dueAt), ...(new Date(dueAt) < new Date() ? [" ", badge("overdue", "bad")] : [])];
}

function call({ callSeconds, isBlocked }) {
  return [callSeconds === null ? "never connected" : `${number(callSeconds)} s`, ...(isBlocked ? [" ", badge("blocked")] : [])];
}

export async function queue(which, again) {
  let counts;
  const found = await list(
    async (cursor) => {
      const page = await api.reports({ ...which, order: "queue", limit: 25, cursor });
      counts = page.counts;
      return page;
    },
    (rows) =>
      rows.length
        ? table(
            "Review queue",
            [
              ["Reason", (row) => [row.reason.replaceAll("_", " "), ...(row.isUrgent ? [" ", badge("urgent", "bad")] : [])]],
              ["About", about],
              ["Weight", (row) => `${row.weight.toFixed(2)} of 1`],
              ["Due", due],
              ["Call", call],
              ["Description", (row) => row.description ?? "no description"],
              ["By", (row) => person(row.reporterId)],
              ["", (row) => h("button", { class: "primary", onclick: () => review(row, again) }, "Review")],
            ],
            rows,
          )
        : h("p", { class: "card" }, "No report waits for a review."),
  );
  return [
    heading("Review queue", h("small", null, `${number(counts.open)} open, ${number(counts.urgent)} urgent, ${number(counts.overdue)} overdue`)),
    filters(
      "queue",
      field("Urgent", select({ name: "isUrgent" }, YES, which.isUrgent)),
      field("Overdue", select({ name: "isOverdue" }, YES, which.isOverdue)),
    ),
    found,
  ];
}
