/** After a call: stars, how the partner's English compares, meeting again, reports. */
import type { MatchFound } from "../../../clients/typescript/src/asyncapi.js";
import type { FeedbackPace } from "../../../clients/typescript/src/openapi.js";
import { unwrap } from "../../../clients/typescript/src/rest.js";
import { clearMessages, h, place, say, show } from "./dom.ts";
import { reportButton } from "./report.ts";
import { parlance, partners } from "./session.ts";
import { sentence } from "./words.ts";
import { wish } from "./wishes.ts";

/** From how many milliseconds on a call says something about the partner's English. */
const PACE_AFTER_MS = 60_000;
const PACES: [FeedbackPace, string][] = [
  ["easier", "Easier"],
  ["same", "About the same"],
  ["harder", "Harder"],
];

/** A group of buttons of which one is pressed; `chosen` is called with its value, or undefined where it is released. */
function choice<T>(legend: string, kind: string, options: [T, string, string?][], chosen: (value: T | undefined) => void): HTMLFieldSetElement {
  const buttons = options.map(([value, words, label]) => {
    const press = () => {
      const isPressed = button.getAttribute("aria-pressed") === "true";
      for (const each of buttons) each.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(!isPressed));
      chosen(isPressed ? undefined : value);
    };
    const button: HTMLButtonElement = h("button", { type: "button", "aria-pressed": "false", ...(label && { "aria-label": label }), click: press }, words);
    return button;
  });
  return h("fieldset", { class: kind }, h("legend", {}, legend), h("div", { class: "row" }, ...buttons));
}

/** The stars, with a question of its own after a longer call, and the button that sends both: a call is rated once. */
function rating({ partner, sessionId }: MatchFound, milliseconds: number): HTMLElement {
  const name = partner.displayName;
  let stars: number | undefined;
  let pace: FeedbackPace | undefined;
  const send = h("button", { class: "primary", hidden: true, click: () => void rate() }, "Send");
  const rate = async () => {
    if (send.getAttribute("aria-disabled") || stars === undefined) return;
    send.setAttribute("aria-disabled", "true");
    clearMessages();
    try {
      unwrap(await parlance.rest.POST("/sessions/{sessionId}/rate", { params: { path: { sessionId } }, body: { stars, ...(pace && { pace }) } }));
      const given = h("p", { tabindex: "-1" }, `You gave ${stars} of 5 stars.`);
      box.replaceChildren(given);
      given.focus();
      say("Thank you for rating.");
    } catch (reason) {
      say(sentence(reason), "alert");
      send.removeAttribute("aria-disabled");
    }
  };
  const five = [1, 2, 3, 4, 5].map((each): [number, string, string] => [each, "★", `${each} of 5 stars`]);
  const box = h(
    "div",
    {},
    choice(`How was it with ${name}?`, "stars", five, (value) => {
      stars = value;
      send.hidden = value === undefined;
    }),
    milliseconds >= PACE_AFTER_MS &&
      choice<FeedbackPace>(`How was ${name}'s English beside yours? (optional; nobody is shown your answer)`, "choice", PACES, (value) => {
        pace = value;
      }),
    send,
  );
  return box;
}

/** Show what follows a call of so many milliseconds; `home` leads to the start. */
export function showAfterwards(match: MatchFound, milliseconds: number, home: () => void): void {
  const { partner, sessionId } = match;
  const name = partner.displayName;
  place("nav").hidden = false;
  const again = h("div", { class: "card" });
  show(
    "How was your call?",
    h("div", { class: "card" }, rating(match, milliseconds)),
    again,
    h("div", { class: "card" }, h("p", {}, "Was something wrong?"), reportButton({ userId: partner.userId, name, sessionId }, `Report or block ${name}`)),
    h("p", {}, h("button", { class: "primary", click: () => (clearMessages(), home()) }, "Done")),
  );
  const fill = async () => {
    const isPartner = (await partners()).some(({ userId }) => userId === partner.userId);
    if (isPartner) again.append(h("p", {}, `${name} is your partner. `, h("a", { href: "#/partners" }, "See your partners")));
    else again.append(wish(partner.userId, name));
  };
  // Without the list, the wish can still be sent; taking it back would end a partnership that is there already.
  void fill().catch(() => again.remove());
}
