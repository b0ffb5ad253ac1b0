/** Texts of errors, and formats of times, amounts and durations. */
import { ParlanceError } from "../../../clients/typescript/src/rest.js";

const SENTENCES: Record<string, string> = {
  account_banned: "This account has been banned, so it cannot be used to sign in or talk.",
  banned: "This account has been banned, so it cannot be used to sign in or talk.",
  account_suspended: "This account is suspended. Sign in to read why, and until when.",
  already_appealed: "Your appeal has been received already. The answer comes by e-mail.",
  sanction_lifted: "This decision has been lifted already.",
  email_taken: "There is an account with this e-mail address already. Sign in instead, or ask for a new password.",
  invalid_credentials: "The e-mail address or the password is not right.",
  id_token_invalid: "Signing in there did not work. Try again.",
  code_invalid: "This code is wrong or too old, or was tried too often. Use the newest one, or ask for another.",
  passkey_invalid: "This passkey does not work here. Try again, or sign in another way.",
  authorization_failed: "Signing in there was not completed. Begin again.",
  email_missing: "An e-mail address is needed, and none was shared. Begin again and share it, or sign up another way.",
  identity_taken: "This belongs to another account of ours. Sign in with it, or remove it there first.",
  last_login_method: "Without it you could not sign in any more. Verify your e-mail address, or set a password first.",
  too_many_login_methods: "You have as many of these as an account can have. Remove one first.",
  second_factor_required: "Staff change this on the administration page, where they prove their second factor.",
  username_taken: "This username is taken. Choose another one.",
  picture_refused: "This picture is not allowed here. Choose another one.",
  token_invalid: "This link has been used already or is too old. Ask for a new one.",
  pairing_on_hold: "You cannot be matched with a partner for now. Try again tomorrow.",
  email_unverified: "Verify your e-mail address first.",
  age_required: "Enter your date of birth first.",
  too_young: "This account cannot be used to talk with other learners.",
  terms_required: "Read and accept the documents first.",
  profile_incomplete: "Choose a username and your level first.",
  already_in_room: "You are in a call in another window. Hang up there first.",
  already_inviting: "Another invitation of yours is still open. It ends within a minute; then try again.",
  pool_closed: "This way of meeting others is not offered here any more. Choose another one.",
  resting: "You can meet new partners again in some minutes.",
  invitation_over: "This invitation is over already.",
  partner_unavailable: "Your partner cannot be reached any more. You can invite them yourself later.",
  too_many_partners: "You have as many partners, or wishes, as an account can have. Remove some partners first.",
  too_many_appointments: "You have proposed many times to this partner already. Wait for an answer first.",
  appointment_exists: "You two have another appointment at this time. Accept or cancel that one first.",
  appointment_closed: "This appointment was answered or cancelled meanwhile, or has begun.",
  already_searching: "You are looking for a partner in another window already.",
  already_reported: "You have reported this call already. We are looking at it.",
  already_rated: "You have rated this call already.",
  not_found: "This could not be found; it may have been removed. Reload the page.",
  not_enrolled: "This lesson opens with its course.",
  video_not_ready: "The video of this lesson is not ready yet. Come back in a little while.",
  already_enrolled: "This course is yours already.",
  payment_pending: "A payment for this course is on its way. The course opens when it has arrived.",
  payment_refused: "The payment provider does not take payments at the moment. Nothing was charged. Try again later.",
  payload_too_large: "This file is too large.",
  unsupported_media_type: "This is not a picture that can be used. Take a JPEG, PNG or WebP.",
  unavailable: "The service is busy. Try again in a moment.",
  internal: "Something went wrong on our side. Try again in a moment.",
  unauthenticated: "You have been signed out. Sign in again.",
  disconnected: "The connection was lost. Check your network, then try again.",
  timeout: "That took too long. Check your network, then try again.",
};

const MICROPHONE: Record<string, string> = {
  NotAllowedError: "Your browser was not allowed to use the microphone. Allow it beside the address of this page, then try again.",
  NotFoundError: "No microphone was found. Plug one in, then try again.",
  NotReadableError: "The microphone is used by another program. Close that, then try again.",
};

/** Of `navigator.credentials`. */
const PASSKEY: Record<string, string> = {
  InvalidStateError: "This device has a passkey of your account already.",
  SecurityError: "Passkeys cannot be used at this address.",
  AbortError: "Another question of the browser is open. Answer it first, then try again.",
  OperationError: "Another question of the browser is open. Answer it first, then try again.",
  NotSupportedError: "This device cannot keep a passkey.",
};

/** Names of the fields whose texts are filtered. */
const FIELDS: Record<string, string> = { username: "The username", displayName: "The name that partners see", topic: "The topic" };

/** The field that a text was refused in, or undefined. */
export function findField(reason: unknown): string | undefined {
  if (!(reason instanceof ParlanceError)) return undefined;
  if (reason.code === "username_taken") return "username";
  return reason.code === "text_refused" ? /^'(\w+)'/.exec(reason.message)?.[1] : undefined;
}

function refusedText(reason: ParlanceError): string {
  const name = FIELDS[findField(reason) ?? ""] ?? "This";
  const fault = reason.message.includes("staff") ? "reads like an account of our staff" : "has a word that is not allowed here";
  return `${name} ${fault}. Write it in another way.`;
}

export function sentence(reason: unknown): string {
  if (reason instanceof ParlanceError && reason.code === "text_refused") return refusedText(reason);
  if (reason instanceof ParlanceError) return SENTENCES[reason.code] ?? reason.message;
  if (reason instanceof DOMException) return PASSKEY[reason.name] ?? MICROPHONE[reason.name] ?? "This browser cannot do that here.";
  // `fetch` raises it when the server cannot be reached.
  if (reason instanceof TypeError) return "The service cannot be reached. Check your network, then try again.";
  return "That took too long. Check your network, then try again.";
}

export const LEVELS: [string, string][] = [
  ["beginner", "Beginner"],
  ["intermediate", "Intermediate"],
  ["advanced", "Advanced"],
];

/** End a sentence with a period, except after a name such as "Ada L." */
export function endSentence(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export function when(time: string): string {
  return moment.format(new Date(time));
}

const clock = new Intl.DateTimeFormat("en", { timeStyle: "short" });

export function timeOfDay(milliseconds: number): string {
  return clock.format(new Date(milliseconds));
}

const list = new Intl.ListFormat("en");

export function listWords(words: string[]): string {
  return list.format(words);
}

const date = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

export function day(time: string): string {
  return date.format(new Date(time));
}

/** Format an amount in the smallest unit of its currency. */
export function money(amount: number, currency: string): string {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

export function duration(seconds: number): string {
  const rest = String(Math.floor(seconds) % 60).padStart(2, "0");
  return `${Math.floor(seconds / 60)}:${rest}`;
}
