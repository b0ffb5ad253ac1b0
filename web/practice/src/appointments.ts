/** Appointments with partners: propose a time, answer, cancel, call at that time. */
import type { Appointment } from "../../../clients/typescript/src/openapi.js";
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Person } from "./calling.ts";
import { clearMessages, face, h, openDialog, say } from "./dom.ts";
import { idempotencyKey, parlance } from "./session.ts";
import { findField, sentence, when } from "./words.ts";

/** How long before the beginning "Call now" appears, in milliseconds: from the last reminder on. */
const CALL_BEFORE_MS = 10 * 60_000;
const DURATIONS = ["15", "30", "45", "60"];
const HOUR_MS = 3_600_000;

/** What the server says of a time that it refuses, and words for it. */
const TIMES: [RegExp, string][] = [
  [/in the past/, "This time is in the past. Choose a later one."],
  [/year ahead/, "This is more than a year away. Choose an earlier day."],
  [/does not exist/, "The clocks skip this time on that day. Choose another one."],
];

function explain(reason: unknown): string {
  const message = reason instanceof ParlanceError && reason.code === "request_invalid" ? reason.message : "";
  if (findField(reason) === "note") return "The note has a word that is not allowed here. Write it in another way.";
  return TIMES.find(([pattern]) => pattern.test(message))?.[1] ?? sentence(reason);
}

/** The date and time of an input, in the time zone of the browser. */
function localParts(time: Date): [date: string, time: string] {
  const two = (number: number) => String(number).padStart(2, "0");
  return [`${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`, `${two(time.getHours())}:${two(time.getMinutes())}`];
}

export function proposeButton(person: Person, words: string, proposed: () => void = () => {}): HTMLButtonElement {
  return h("button", { type: "button", "aria-haspopup": "dialog", "aria-label": `Propose a time to ${person.displayName}`, click: () => propose(person, proposed) }, words);
}

function propose({ userId, displayName }: Person, proposed: () => void): void {
  const keys = new Map<string, string>();
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const [today] = localParts(new Date());
  // The same time tomorrow, to the hour.
  const [day, hour] = localParts(new Date(Math.ceil((Date.now() + 24 * HOUR_MS) / HOUR_MS) * HOUR_MS));
  const date = h("input", { type: "date", id: "appointment-date", required: true, min: today, value: day });
  const time = h("input", { type: "time", id: "appointment-time", required: true, value: hour, step: "60" });
  const length = h("select", { id: "appointment-length" }, ...DURATIONS.map((minutes) => h("option", { value: minutes, selected: minutes === "30" }, `${minutes} minutes`)));
  const note = h("textarea", { id: "appointment-note", maxlength: "500", rows: "2" });
  const field = (label: string, input: HTMLElement) => h("div", { class: "field" }, h("label", { for: input.id }, label), input);
  const send = async () => {
    const text = note.value.trim();
    const body = {
      partnerId: userId,
      // An input may have seconds.
      localTime: `${date.value}T${time.value.slice(0, 5)}`,
      timezone,
      durationMinutes: Number(length.value),
      ...(text && { note: text }),
    };
    const header = { "Idempotency-Key": idempotencyKey(keys, body) };
    unwrap(await parlance.rest.POST("/appointments", { params: { header }, body }));
  };
  openDialog(`Propose a time to ${displayName}`, explain, ({ attempt, close, problem }) => {
    const done = () => {
      proposed();
      say(`Proposed. ${displayName} is notified, and can accept or decline.`);
    };
    const submit = (event: Event) => {
      event.preventDefault();
      clearMessages();
      void attempt(send, done);
    };
    return [
      h(
        "form",
        { submit },
        field("Day", date),
        field("Time", time),
        h("p", { class: "hint" }, `In your time zone, ${timezone}. ${displayName} sees it in theirs.`),
        field("How long", length),
        field("Note (optional)", note),
        problem,
        h("div", { class: "row" }, h("button", { class: "primary" }, "Propose"), h("button", { type: "button", click: close }, "Cancel")),
      ),
    ];
  });
}

type Answer = "accept" | "decline" | "cancel";
const ANSWERED: Record<Answer, string> = { accept: "Accepted. Both of you are reminded before it begins.", decline: "Declined.", cancel: "Cancelled." };

async function answer(id: string, how: Answer): Promise<void> {
  const path = { params: { path: { appointmentId: id } } };
  if (how === "accept") unwrap(await parlance.rest.POST("/appointments/{appointmentId}/accept", path));
  else if (how === "decline") unwrap(await parlance.rest.POST("/appointments/{appointmentId}/decline", path));
  else unwrap(await parlance.rest.DELETE("/appointments/{appointmentId}", path));
}

function describe({ state, isProposer, partner }: Appointment): string {
  if (state === "accepted") return "Agreed";
  return isProposer ? `Waiting for ${partner.displayName} to answer` : `${partner.displayName} proposes this time`;
}

/** An appointment in the list; `changed` is called after an answer, `call` invites the partner. */
export function appointmentRow(appointment: Appointment, changed: () => Promise<void>, call: (person: Person) => void): HTMLLIElement {
  const { id, partner, startsAt, durationMinutes, note, state, isProposer } = appointment;
  const name = partner.displayName;
  const [begins, now] = [Date.parse(startsAt), Date.now()];
  const isSoon = state === "accepted" && now > begins - CALL_BEFORE_MS && now < begins + durationMinutes * 60_000;
  const act = (words: string, how: Answer, kind = "") => {
    const work = async () => {
      if (button.getAttribute("aria-disabled")) return;
      button.setAttribute("aria-disabled", "true");
      clearMessages();
      try {
        await answer(id, how);
        say(ANSWERED[how]);
      } catch (reason) {
        say(sentence(reason), "alert");
      }
      // Also where it was refused: the other may have been quicker.
      await changed();
    };
    const button = h("button", { type: "button", class: kind, "aria-label": `${words} the call with ${name} on ${when(startsAt)}`, click: () => void work() }, words);
    return button;
  };
  const buttons = [
    isSoon && h("button", { class: "primary", "aria-label": `Call ${name} now`, click: () => call(partner) }, "Call now"),
    state === "proposed" && !isProposer && act("Accept", "accept", "primary"),
    state === "proposed" && !isProposer && act("Decline", "decline"),
    // After the beginning nothing is left to cancel.
    (state === "accepted" || isProposer) && now < begins && act("Cancel", "cancel"),
  ];
  return h(
    "li",
    {},
    face(name, partner.avatarUrl, "small"),
    h(
      "div",
      {},
      h("p", {}, h("strong", {}, when(startsAt))),
      h("p", {}, `${name}, ${durationMinutes} minutes`),
      note && h("p", { class: "text" }, note),
      h("p", { class: "soft" }, describe(appointment)),
    ),
    h("p", { class: "end" }, ...buttons),
  );
}
