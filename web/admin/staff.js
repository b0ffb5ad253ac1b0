// Accounts of staff and their logins, for administrators.

import * as api from "./api.js";
import { badge, h, number, table, when } from "./dom.js";
import { act, heading, list } from "./pages.js";

const factor = (row) => (row.isSecondFactorEnrolled ? badge("set up", "good") : badge("not set up", "warn"));

export async function staff() {
  const found = await list(
    (cursor) => api.staff({ limit: 25, cursor }),
    (rows) =>
      table(
        "Staff",
        [
          ["E-mail", (row) => h("a", { href: `#/staff/${row.id}` }, row.email)],
          ["Role", (row) => badge(row.role)],
          ["Second factor", factor],
          ["Logins", (row) => number(row.logins)],
          ["Last used", (row) => when(row.lastUsedAt)],
        ],
        rows,
      ),
  );
  return [heading("Staff"), h("p", null, "Roles are given by ", h("code", null, "parlance admins"), " on the server."), found];
}

export async function staffMember(id, again) {
  const [account, logins] = [await api.user(id), await api.staffLogins(id)];
  const end = (row) => act(() => api.endStaffLogin(id, row.id), "The login has ended.", again);
  return [
    heading(account.email, badge(account.role)),
    h("div", { class: "row" }, h("a", { class: "button", href: `#/audit?actorId=${id}` }, "Their audit log")),
    h("h2", null, "Logins"),
    table(
      "Logins",
      [
        ["Device", (row) => [row.deviceId, " ", row.isCurrent ? badge("this one", "good") : null]],
        ["Platform", (row) => row.platform],
        ["Logged in", (row) => when(row.loggedInAt)],
        ["Last used", (row) => when(row.lastUsedAt)],
        ["Second factor", (row) => when(row.factorProvenAt)],
        ["", (row) => (row.isCurrent ? null : h("button", { class: "danger", onclick: () => end(row) }, "End"))],
      ],
      logins.items,
    ),
  ];
}
