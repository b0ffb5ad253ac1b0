/** Tells what happened: how much of it is unread, what arrives now, and the list. */
import type { ServerEvents } from "../../../clients/typescript/src/asyncapi.ts";
import { value } from "../../../clients/typescript/src/client.ts";
import type { Notification } from "../../../clients/typescript/src/openapi.ts";
import type { Practice } from "../../../clients/typescript/src/practice.ts";
import { h, pages, place, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { sentence, when } from "./words.ts";

type Told = Notification | Parameters<ServerEvents["notification"]>[0];

/** Where a notification leads; one of a type that is newer than this page leads nowhere. */
function lead({ type, data }: Told): [href: string, words: string] | undefined {
  if (type === "payment_success" && data?.["courseId"]) return [`#/courses/${data["courseId"]}`, "Open the course"];
  if (type === "payment_failed" && data?.["courseId"]) return [`#/courses/${data["courseId"]}`, "Go to the course"];
  if (type === "achievement") return ["#/calls", "See how far you have come"];
  if (type === "match_found") return ["#/calls", "See your calls"];
  if (type === "admin_alert") return [data?.["courseId"] ? `/admin-ui#/courses/${data["courseId"]}` : "/admin-ui", "Open the operators' page"];
  return undefined;
}

export class Bell {
  #unread = 0;
  #list: HTMLUListElement | undefined;

  constructor(socket: Practice["socket"]) {
    this.#count(0);
    // While it was away something may have happened.
    socket.on("connect", () => void this.#read({ limit: 1 }).catch(() => undefined));
    socket.on("notification", (told) => this.#hear(told));
  }

  show(): void {
    const [box, list] = pages<Told>({
      name: "Notifications, the latest first",
      kind: "rows",
      nothing: "Nothing yet. Payments, streaks and news will stand here.",
      more: "Show older ones",
      read: (query) => this.#read(query),
      row: (told) => this.#row(told),
      failed: (reason) => say(sentence(reason), "trouble"),
    });
    this.#list = list;
    const all = h("button", { id: "read-all", hidden: this.#unread === 0, click: () => void this.#readAll(list) }, "Mark all as read");
    show("Notifications", h("div", { class: "card" }, all, box));
  }

  async #read(query: { limit: number; cursor?: string }) {
    const page = value(await parlance.rest.GET("/notifications", { params: { query } }));
    this.#count(page.unread);
    return page;
  }

  #count(unread: number): void {
    this.#unread = unread;
    place("unread").textContent = unread > 99 ? "99+" : unread ? String(unread) : "";
    place("bell").setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
    const all = document.getElementById("read-all");
    if (all) all.hidden = unread === 0;
  }

  #hear(told: Told): void {
    this.#count(this.#unread + 1);
    if (this.#list?.isConnected) this.#list.prepend(this.#row(told));
    // The call itself says that the partner is here.
    if (told.type === "match_found") return;
    // Where there is no way to other views, as in a call, none is offered.
    const link = place("nav").hidden ? undefined : this.#link(told);
    place("told").replaceChildren(h("strong", {}, told.title), ` ${told.body} `, link ?? "");
  }

  #link(told: Told): HTMLAnchorElement | undefined {
    const [href, words] = lead(told) ?? [];
    return href && words ? h("a", { href, click: () => void this.#mark(told).catch(() => undefined) }, words) : undefined;
  }

  #row(told: Told): HTMLLIElement {
    const mark = async () => {
      try {
        const changed = this.#row(await this.#mark(told));
        row.replaceWith(changed);
        // The button is gone, and the focus would be lost.
        changed.focus();
      } catch (reason) {
        say(sentence(reason), "trouble");
      }
    };
    const row: HTMLLIElement = h(
      "li",
      { class: told.read ? "" : "unread", tabindex: "-1" },
      h(
        "div",
        {},
        h("p", {}, !told.read && h("span", { class: "new" }, "New"), h("strong", {}, told.title)),
        h("p", {}, told.body),
        h("p", { class: "soft" }, when(told.createdAt)),
        h("div", { class: "row" }, this.#link(told), !told.read && h("button", { "aria-label": `Mark as read: ${told.title}`, click: () => void mark() }, "Mark as read")),
      ),
    );
    return row;
  }

  async #mark(told: Told): Promise<Told> {
    if (told.read) return told;
    const path = { notificationId: told.id };
    const changed = value(await parlance.rest.PATCH("/notifications/{notificationId}/read", { params: { path } }));
    await this.#read({ limit: 1 });
    return changed;
  }

  async #readAll(list: HTMLUListElement): Promise<void> {
    try {
      this.#count(value(await parlance.rest.PATCH("/notifications/read-all")).unread);
      this.show();
      say("All are read.");
    } catch (reason) {
      say(sentence(reason), "trouble");
      list.focus();
    }
  }
}
