/** The learner's profile, and logout. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me, MeUpdate } from "../../../clients/typescript/src/openapi.js";
import { blocks } from "./blocks.ts";
import { consents } from "./consents.ts";
import { deletion } from "./deletion.ts";
import { face, form, h, clearMessages, say, show } from "./dom.ts";
import { parlance } from "./session.ts";
import { LEVELS, findField, sentence } from "./words.ts";

const GOALS: [string, string][] = [
  ["", "Not specified"],
  ["fluency", "Speaking fluently"],
  ["business", "Business"],
  ["travel", "Travel"],
  ["exam", "An exam"],
];
const SHARES: [string, string][] = [
  ["no", "No"],
  ["yes", "Yes"],
];
const LANGUAGES = ["ar", "bn", "de", "es", "fr", "hi", "id", "it", "ja", "ko", "pl", "pt", "ru", "sw", "tr", "uk", "ur", "vi", "zh"];

function languages(current: string | null): [string, string][] {
  const names = new Intl.DisplayNames("en", { type: "language" });
  const offered = current && !LANGUAGES.includes(current) ? [...LANGUAGES, current] : LANGUAGES;
  return [["", "Not specified"], ...offered.map((code): [string, string] => [code, names.of(code) ?? code])];
}

export function profile(me: Me, saved: (me: Me) => void, left: () => void): void {
  const fields = [
    {
      name: "username",
      label: "Username",
      hint: "3 to 30 letters, digits or underscores.",
      attributes: { required: true, pattern: "[A-Za-z0-9_]{3,30}", autocomplete: "username" },
      value: me.username ?? "",
    },
    { name: "displayName", label: "Name that partners see", attributes: { maxlength: "60", autocomplete: "name" }, value: me.displayName ?? "" },
    { name: "englishLevel", label: "My level of English", choices: LEVELS, value: me.englishLevel ?? "beginner" },
    { name: "learningGoal", label: "My goal", choices: GOALS, value: me.learningGoal ?? "" },
    { name: "nativeLanguage", label: "My first language", choices: languages(me.nativeLanguage), value: me.nativeLanguage ?? "" },
    {
      name: "sharesPresence",
      label: "Show partners when I am online",
      hint: "Partners are learners with whom both of you have asked to talk again. They then see if you are online or in a call; nobody else does.",
      choices: SHARES,
      value: me.sharesPresence ? "yes" : "no",
    },
  ];
  const save = async (values: Record<string, string>) => {
    clearMessages();
    try {
      const body = {
        username: values["username"] ?? "",
        displayName: values["displayName"]?.trim() || null,
        englishLevel: (values["englishLevel"] || null) as NonNullable<MeUpdate["englishLevel"]> | null,
        learningGoal: (values["learningGoal"] || null) as NonNullable<MeUpdate["learningGoal"]> | null,
        nativeLanguage: values["nativeLanguage"] || null,
        sharesPresence: values["sharesPresence"] === "yes",
        // Days of a streak follow the learner's time zone.
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      };
      const changed = unwrap(await parlance.rest.PATCH("/users/me", { body }));
      saved(changed);
      say("Your profile is saved.");
    } catch (reason) {
      say(sentence(reason), "alert");
      const field = findField(reason);
      if (field) document.getElementById(field)?.focus();
    }
  };
  const verifyAgain = async () => {
    const { error } = await parlance.rest.POST("/auth/resend-verification");
    say(error ? error.detail : "An e-mail with a link is on its way.", error ? "alert" : "status");
  };
  const download = async () => {
    clearMessages();
    try {
      const data = unwrap(await parlance.rest.GET("/users/me/export"));
      const href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
      h("a", { href, download: "parlance-data.json" }).click();
      URL.revokeObjectURL(href);
      say("Your data is downloaded.");
    } catch (reason) {
      say(sentence(reason), "alert");
    }
  };
  const name = me.displayName ?? me.username ?? "?";
  const picture = async (chosen: Event) => {
    const file = (chosen.target as HTMLInputElement).files?.[0];
    if (!file) return;
    clearMessages();
    const bodySerializer = () => {
      const parts = new FormData();
      parts.append("file", file);
      return parts;
    };
    try {
      // The part of the form is a file, which the generated types call a string.
      const { avatarUrl, isUnderReview } = unwrap(await parlance.rest.POST("/users/me/avatar", { body: { file: file.name }, bodySerializer }));
      shown.replaceChildren(face(name, avatarUrl));
      say(isUnderReview ? "Your picture is saved. We look at it first; until then only you see it." : "Your picture is saved. Partners see it.");
    } catch (reason) {
      say(sentence(reason), "alert");
    }
  };
  const shown = h("div", {}, face(name, me.avatarUrl));
  const accept = "image/jpeg,image/png,image/webp";
  show(
    me.username ? "Your profile" : "Create your profile",
    Boolean(me.username) &&
      h(
        "div",
        { class: "card row" },
        shown,
        h("div", { class: "field" }, h("label", { for: "picture" }, "My picture"), h("input", { type: "file", id: "picture", accept, change: (event) => void picture(event) })),
      ),
    h("div", { class: "card" }, form(fields, "Save", save)),
    h(
      "div",
      { class: "card row" },
      h("span", {}, `Signed in as ${me.email}`),
      !me.isVerified && h("button", { click: () => void verifyAgain() }, "Send me a verification link"),
      h("a", { class: "button", href: "#/account" }, "Account and security"),
      h("button", { click: () => void download() }, "Download my data"),
      h("button", { click: () => void parlance.logout().then(left, (reason: unknown) => say(sentence(reason), "alert")) }, "Sign out"),
    ),
    consents(),
    blocks(),
    deletion(left),
  );
}
