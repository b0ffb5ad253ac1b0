// Pictures of learners that wait for a review.

import * as api from "./api.js";
import { ask, badge, field, h, number, table, when } from "./dom.js";
import { finish, heading, list } from "./pages.js";

const CAUSES = { screen: "screen undecided", reports: "hidden by reports" };
const nameOf = (row) => row.displayName ?? row.username ?? row.userId.slice(0, 8);

/** The picture itself, or a sentence where it cannot be loaded. */
function image(row) {
  const missing = () => shown.replaceWith(h("span", { class: "photo bad" }, "The picture cannot be loaded."));
  const shown = h("img", { class: "photo", src: row.avatarUrl, alt: `Picture of ${nameOf(row)}`, referrerpolicy: "no-referrer", onerror: missing });
  return shown;
}

function reports({ reports: count, weight }) {
  return count ? `${number(count)} open, weight ${weight.toFixed(2)}` : "none";
}

function lastReview({ reviewedAt, reviewNote }) {
  return [when(reviewedAt), reviewNote ? h("small", { class: "text" }, reviewNote) : null];
}

async function decide(row, outcome, again) {
  const isKept = outcome === "keep";
  let done = isKept ? "The picture is kept." : "The picture is removed.";
  const send = async (answer) => {
    const note = answer.note.trim();
    try {
      await api.decidePicture(row.userId, { avatarUrl: row.avatarUrl, outcome, ...(note && { note }) });
    } catch (problem) {
      // Another has decided, or the learner has another picture: the list is out of date.
      if (problem.code !== "picture_not_waiting") throw problem;
      done = problem.message;
    }
  };
  const text = isKept ? "Others see it again. Reports about the learner stay open." : "It is deleted, and the learner is notified. Reports about the learner stay open.";
  const answer = await ask(
    `${isKept ? "Keep" : "Remove"} the picture of ${nameOf(row)}?`,
    [h("p", null, text), field("Note, for staff", h("textarea", { name: "note", maxlength: 2000, rows: 3 }))],
    isKept ? "Keep" : "Remove",
    isKept ? "primary" : "danger",
    send,
  );
  if (answer) finish(done, again);
}

function actions(row, again) {
  if (row.userId === api.ownId()) return h("small", null, "Another member of staff decides: this is your own picture.");
  const of = h("span", { class: "hidden" }, ` the picture of ${nameOf(row)}`);
  return h(
    "div",
    { class: "row" },
    h("button", { class: "primary", onclick: () => decide(row, "keep", again) }, "Keep", of),
    h("button", { class: "danger", onclick: () => decide(row, "remove", again) }, "Remove", of.cloneNode(true)),
  );
}

export async function pictures(again) {
  const found = await list(
    (cursor) => api.pictures({ limit: 25, cursor }),
    (rows) =>
      rows.length
        ? table(
            "Pictures",
            [
              ["Picture", image],
              ["Learner", (row) => h("a", { href: `#/users/${row.userId}` }, nameOf(row))],
              ["Why", (row) => row.causes.map((each) => badge(CAUSES[each] ?? each, "warn"))],
              ["Reports", reports],
              ["Since", (row) => when(row.waitingSince)],
              ["Last review", lastReview],
              ["", (row) => actions(row, again)],
            ],
            rows,
          )
        : h("p", { class: "card" }, "No picture waits for a review."),
  );
  return [heading("Pictures", h("small", null, "that only their owners and staff see")), found];
}
