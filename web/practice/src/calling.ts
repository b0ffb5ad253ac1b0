/** An invitation that this learner sends: its ringing, and what to do where it ends without a call. */
import { ParlanceError } from "../../../clients/typescript/src/rest.js";
import { proposeButton } from "./appointments.ts";
import { face, h, place, show } from "./dom.ts";
import { endSentence, sentence } from "./words.ts";

/** Whom to call; partners and appointments have these fields. */
export interface Person {
  userId: string;
  displayName: string;
  avatarUrl: string | null;
}

const ENDINGS: Record<string, (name: string) => string> = {
  declined: (name) => `${name} cannot talk now.`,
  expired: (name) => `${name} did not answer.`,
  unavailable: (name) => `${name} cannot be reached now.`,
  cancelled: () => "The invitation was cancelled in another of your windows.",
  accepted: () => "The call continues in another of your windows.",
  not_joined: (name) => `${name} accepted, but did not come.`,
  not_found: (name) => endSentence(`You cannot invite ${name} any more`),
  already_inviting: () => "Another invitation of yours is still open. It ends within a minute; then try again.",
  rate_limited: (name) => endSentence(`You have invited ${name} several times. Wait some minutes, or propose a time`),
};

export function showRinging({ displayName, avatarUrl }: Person, cancel: () => void): void {
  place("nav").hidden = true;
  show(
    `Inviting ${displayName}`,
    h(
      "div",
      { class: "card center" },
      face(displayName, avatarUrl),
      h("div", { class: "wait", "aria-hidden": "true" }),
      h("p", { role: "status" }, `Waiting for ${displayName} to answer …`),
      h("p", {}, h("button", { class: "danger", click: cancel }, "Cancel")),
    ),
  );
}

/** Show how an invitation ended without a call; `again` invites once more. */
export function showUnanswered(person: Person, reason: unknown, again: () => void): void {
  const { displayName: name, avatarUrl } = person;
  const code = reason instanceof ParlanceError ? reason.code : "";
  const why = ENDINGS[code]?.(name) ?? sentence(reason);
  place("nav").hidden = false;
  show(
    "No call this time",
    h(
      "div",
      { class: "card center" },
      face(name, avatarUrl),
      h("p", { role: "status" }, why),
      h(
        "div",
        { class: "row" },
        code !== "not_found" && h("button", { click: again }, "Invite again"),
        code !== "not_found" && proposeButton(person, "Propose a time"),
        h("a", { class: "button", href: "#/partners" }, "Back to my partners"),
      ),
    ),
  );
}
