/** Notifications: the number of unread ones, those that arrive now, and the list. */
import type { ServerEvents } from "../../../clients/typescript/src/asyncapi.js";
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { Notification } from "../../../clients/typescript/src/openapi.js";
import type { RealtimeClient } from "../../../clients/typescript/src/realtime.js";
import { h, pages, place, say, show } from "./dom.ts";
import { PEOPLE_CHANGED } from "./people.ts";
import { parlance } from "./session.ts";
import { sentence, when } from "./words.ts";

type Shown = Notification | Parameters<ServerEvents["notification"]>[0];

function isAboutPeople({ type, data }: Pick<Shown, "type" | "data">): boolean {
  return type === "system" && ["partner", "appointment"].includes(data?.["kind"] ?? "");
}

/** The link of a notification; none for a type that is newer than this page. */
function findTarget({ type, data }: Shown): [href: string, words: string] | undefined {
  if (isAboutPeople({ type, data })) return ["#/partners", data?.["kind"] === "appointment" ? "See your appointments" : "See your partners"];
  if (type === "payment_success" && data?.["courseId"]) return [`#/courses/${data["courseId"]}`, "Open the course"];
  if (type === "payment_failed" && data?.["courseId"]) return [`#/courses/${data["courseId"]}`, "Go to the course"];
  if (type === "achievement") return ["#/calls", "See your progress"];
  if (type === "match_found") return ["#/calls", "See your calls"];
  if (type === "admin_alert") return [data?.["courseId"] ? `/admin-ui#/courses/${data["courseId"]}` : "/admin-ui", "Open the administration page"];
  return undefined;
}

export class Bell {
  #unread = 0;
  #list: HTMLUListElement | undefined;

  constructor(socket: RealtimeClient["socket"]) {
    this.#count(0);
    // Notifications may have come while the connection was lost.
    socket.on("connect", () => void this.#read({ limit: 1 }).catch(() => undefined));
    socket.on("notification", (notification) => this.#receive(notification));
  }

  show(): void {
    const [box, list] = pages<Shown>({
      name: "Notifications, the latest first",
      kind: "rows",
      nothing: "Nothing yet. Payments, streaks and messages appear here.",
      more: "Show older ones",
      read: (query) => this.#read(query),
      row: (notification) => this.#row(notification),
      failed: (reason) => say(sentence(reason), "alert"),
    });
    this.#list = list;
    const all = h("button", { id: "read-all", hidden: this.#unread === 0, click: () => void this.#readAll(list) }, "Mark all as read");
    show("Notifications", h("div", { class: "card" }, all, box));
  }

  async #read(query: { limit: number; cursor?: string }) {
    const page = unwrap(await parlance.rest.GET("/notifications", { params: { query } }));
    this.#count(page.unreadCount);
    return page;
  }

  #count(unread: number): void {
    this.#unread = unread;
    place("unread").textContent = unread > 99 ? "99+" : unread ? String(unread) : "";
    place("bell").setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
    const all = document.getElementById("read-all");
    if (all) all.hidden = unread === 0;
  }

  #receive(notification: Shown): void {
    this.#count(this.#unread + 1);
    if (this.#list?.isConnected) this.#list.prepend(this.#row(notification));
    if (isAboutPeople(notification)) dispatchEvent(new Event(PEOPLE_CHANGED));
    // The view of the call shows the match already.
    if (notification.type === "match_found") return;
    // Without navigation, as in a call, no link to another view.
    const link = place("nav").hidden ? undefined : this.#link(notification);
    place("notification").replaceChildren(h("strong", {}, notification.title), ` ${notification.body} `, link ?? "");
  }

  #link(notification: Shown): HTMLAnchorElement | undefined {
    const [href, words] = findTarget(notification) ?? [];
    return href && words ? h("a", { href, click: () => void this.#mark(notification).catch(() => undefined) }, words) : undefined;
  }

  #row(notification: Shown): HTMLLIElement {
    const mark = async () => {
      try {
        const changed = this.#row(await this.#mark(notification));
        row.replaceWith(changed);
        // The button is gone, and the focus would be lost.
        changed.focus();
      } catch (reason) {
        say(sentence(reason), "alert");
      }
    };
    const row: HTMLLIElement = h(
      "li",
      { class: notification.isRead ? "" : "unread", tabindex: "-1" },
      h(
        "div",
        {},
        h("p", {}, !notification.isRead && h("span", { class: "new" }, "New"), h("strong", {}, notification.title)),
        h("p", {}, notification.body),
        h("p", { class: "soft" }, when(notification.createdAt)),
        h("div", { class: "row" }, this.#link(notification), !notification.isRead && h("button", { "aria-label": `Mark as read: ${notification.title}`, click: () => void mark() }, "Mark as read")),
      ),
    );
    return row;
  }

  async #mark(notification: Shown): Promise<Shown> {
    if (notification.isRead) return notification;
    const path = { notificationId: notification.id };
    const changed = unwrap(await parlance.rest.PATCH("/notifications/{notificationId}/read", { params: { path } }));
    await this.#read({ limit: 1 });
    return changed;
  }

  async #readAll(list: HTMLUListElement): Promise<void> {
    try {
      this.#count(unwrap(await parlance.rest.PATCH("/notifications/read-all")).unreadCount);
      this.show();
      say("All are read.");
    } catch (reason) {
      say(sentence(reason), "alert");
      list.focus();
    }
  }
}
