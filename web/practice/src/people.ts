/** Partners, with their presence, and appointments with them. */
import type { Appointment, Partnership } from "../../../clients/typescript/src/openapi.js";
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { appointmentRow, proposeButton } from "./appointments.ts";
import type { Person } from "./calling.ts";
import { clearMessages, face, h, onLeave, openDialog, say, show } from "./dom.ts";
import { parlance, partners } from "./session.ts";
import { endSentence, sentence } from "./words.ts";

/** How often presence and appointments are read again while the view is open, in milliseconds. */
const REFRESH_MS = 20_000;
const PRESENCE: Record<string, string> = { online: "Online", in_call: "In a call", offline: "Offline" };

async function appointments(): Promise<Appointment[]> {
  return unwrap(await parlance.rest.GET("/appointments", { params: { query: { limit: 100 } } })).items;
}

/** Event that a notification about partners or appointments has come; the view reads its lists again. */
export const PEOPLE_CHANGED = "peoplechange";

/** Read partners and appointments; `invite` begins a call. */
export async function people(invite: (person: Person) => void): Promise<() => void> {
  const first = await Promise.all([partners(), appointments()]);
  return () => new People(invite).show(...first);
}

class People {
  readonly #invite: (person: Person) => void;
  readonly #partners = h("ul", { class: "rows", "aria-label": "Partners, the latest first", tabindex: "-1" });
  readonly #appointments = h("ul", { class: "rows", "aria-label": "Appointments, the next first", tabindex: "-1" });
  readonly #upcoming = h("section", { class: "card" }, h("h2", {}, "Appointments"), this.#appointments);
  readonly #nobody = h(
    "div",
    {},
    h("p", {}, "You have no partners yet."),
    h("p", {}, "After a call, or in the list of your calls, choose “I want to talk to this partner again”. If the other learner chooses it too, you are partners: you find each other here, and can invite each other or agree on a time."),
    h("p", { class: "row" }, h("a", { class: "button primary", href: "#/" }, "Find a partner"), h("a", { class: "button", href: "#/calls" }, "See my calls")),
  );

  constructor(invite: (person: Person) => void) {
    this.#invite = invite;
  }

  show(known: Partnership[], upcoming: Appointment[]): void {
    this.#fill(known, upcoming);
    show("Your partners", h("div", { class: "card" }, this.#partners, this.#nobody), this.#upcoming);
    const refresh = () => void this.#refresh().catch(() => undefined);
    const timer = setInterval(refresh, REFRESH_MS);
    addEventListener(PEOPLE_CHANGED, refresh);
    onLeave(() => {
      clearInterval(timer);
      removeEventListener(PEOPLE_CHANGED, refresh);
    });
  }

  async #refresh(): Promise<void> {
    this.#fill(...(await Promise.all([partners(), appointments()])));
  }

  /** Show both lists; where the focus was in one, it stays at the same button, else at the list. */
  #fill(known: Partnership[], upcoming: Appointment[]): void {
    const active = document.activeElement;
    const label = active?.getAttribute("aria-label");
    const list = [this.#partners, this.#appointments].find((each) => each.contains(active));
    this.#partners.replaceChildren(...known.map((each) => this.#row(each)));
    this.#appointments.replaceChildren(...upcoming.map((each) => appointmentRow(each, () => this.#refresh(), this.#invite)));
    this.#nobody.hidden = known.length > 0;
    this.#partners.hidden = known.length === 0;
    this.#upcoming.hidden = upcoming.length === 0;
    if (!list) return;
    const same = [...list.querySelectorAll("button")].find((each) => each.getAttribute("aria-label") === label);
    (same ?? (list.hidden || this.#upcoming.hidden ? document.querySelector("h1") : list))?.focus({ preventScroll: true });
  }

  #row(partner: Partnership): HTMLLIElement {
    const { displayName: name, avatarUrl, level, presence } = partner;
    const facts = [presence && (PRESENCE[presence] ?? ""), level && `${level} English`].filter(Boolean).join(" · ");
    return h(
      "li",
      {},
      face(name, avatarUrl, "small"),
      h("div", {}, h("p", {}, h("strong", {}, name)), facts && h("p", { class: presence === "online" ? "soft online" : "soft" }, facts)),
      h(
        "p",
        { class: "end" },
        h("button", { class: "primary", "aria-label": `Invite ${name} to a call`, click: () => this.#invite(partner) }, "Invite"),
        proposeButton(partner, "Propose a time", () => void this.#refresh().catch(() => undefined)),
        h("button", { "aria-haspopup": "dialog", "aria-label": `Remove ${name} from your partners`, click: () => this.#remove(partner) }, "Remove"),
      ),
    );
  }

  #remove({ userId, displayName: name }: Partnership): void {
    openDialog(`Remove ${name}?`, sentence, ({ attempt, close, problem }) => {
      const work = async () => unwrap(await parlance.rest.DELETE("/partners/{userId}", { params: { path: { userId } } }));
      const done = async () => {
        clearMessages();
        await this.#refresh();
        say(endSentence(`You are no longer partners with ${name}`));
      };
      return [
        h("p", {}, `You cannot invite each other any more, and your appointments are cancelled. ${name} is not notified. To be partners again, both of you have to ask for it after a call.`),
        problem,
        h("div", { class: "row" }, h("button", { class: "danger", click: () => void attempt(work, done) }, "Remove"), h("button", { click: close }, "Keep")),
      ];
    });
  }
}
