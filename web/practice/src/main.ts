/** Start of the page: login, routes, navigation between the views. */
import type { AuthorizationTokens } from "../../../clients/typescript/src/openapi.js";
import { Invitations, ParlanceError, RealtimeClient } from "../../../clients/typescript/src/index.js";
import { account, linkReturned } from "./account.ts";
import { Bell } from "./bell.ts";
import { notPaid, paid } from "./buying.ts";
import { course, courses } from "./courses.ts";
import { h, clearMessages, place, say, show } from "./dom.ts";
import { firstGate } from "./gates.ts";
import { history } from "./history.ts";
import { lesson } from "./lesson.ts";
import { Banner } from "./invited.ts";
import { people } from "./people.ts";
import { profile } from "./profile.ts";
import { me, parlance } from "./session.ts";
import { readAmong } from "./search.ts";
import { Talk } from "./talk.ts";
import { appealPage, ended, refused, warned } from "./sanctions.ts";
import { returnFromProvider, takeIntent } from "./providers.ts";
import { loginReturned, resetPassword, signIn, signUp, undoEmailChange, verifyEmail } from "./welcome.ts";
import { sentence } from "./words.ts";

/** Set after a login in this browser: only then can there be a refresh cookie. */
const KNOWN = "known";
/** Return addresses of payment providers and their views; what a provider adds to the address is dropped. */
const LANDINGS: Record<string, string> = { "/payment/success": "paid", "/payment/cancel": "not-paid" };
/** Views without a link of their own, and the link that is marked for them. */
const BELONGS: Record<string, string> = { account: "profile", lessons: "courses", paid: "courses", "not-paid": "courses" };

/** Codes of a connection that a sanction has ended. */
const SANCTIONS = ["banned", "account_suspended"];

let talk: Talk | undefined;
let bell: Bell | undefined;
let banner: Banner | undefined;

/** Loaders by the first part of the address, called with the second: read a view's data, return what shows it. */
const VIEWS: Record<string, (id: string) => Promise<() => void>> = {
  account: () => account(leave),
  calls: async () => history(await me()),
  courses: (id) => (id ? course(id) : Promise.resolve(courses)),
  lessons: lesson,
  notifications: () => Promise.resolve(() => bell?.show()),
  partners: () => people((person) => void talk?.invite(person)),
  paid: () => Promise.resolve(paid),
  "not-paid": () => Promise.resolve(notPaid),
  profile: async () => {
    const mine = await me();
    // A new profile has texts that others read, so what they need comes first.
    const gate = mine.username ? undefined : firstGate(mine, () => void route(), leave);
    return gate ?? (() => profile(mine, () => mine.username || go(""), leave));
  },
};

const address = () => location.hash.replace(/^#\/?/, "");

/** Show the view of the address, or the start of a search. */
async function route(): Promise<void> {
  const asked = address();
  if (!talk || talk.isBusy) return;
  let [name = "", id = ""] = asked.split("/");
  place("main").setAttribute("aria-busy", "true");
  try {
    let view = await VIEWS[name]?.(id);
    if (!view) {
      const [mine, among] = await Promise.all([me(), readAmong()]);
      // Matchmaking needs what the gates ask for, a username and a level.
      const gate = firstGate(mine, () => void route(), leave);
      name = gate || (mine.username && mine.englishLevel) ? "" : "profile";
      view = name ? await VIEWS["profile"]?.("") : (gate ?? (() => talk?.idle(mine, among)));
    }
    // The learner may have opened another view meanwhile.
    if (asked !== address() || !talk || talk.isBusy) return;
    navigate(BELONGS[name] ?? name);
    view?.();
  } catch (reason) {
    if (asked !== address() || !talk) return;
    if (reason instanceof ParlanceError && /^(refresh_token_|unauthenticated|account_banned)/.test(reason.code)) leave();
    else if (reason instanceof ParlanceError && ["not_found", "request_invalid"].includes(reason.code)) {
      navigate("");
      show("Page not found", h("p", {}, "The address is wrong, or the page has been removed."), h("p", {}, h("a", { href: "#/courses" }, "See all courses")));
      return;
    } else if (!document.querySelector("h1")) show("Parlance", h("button", { class: "primary", click: () => location.reload() }, "Try again"));
    say(sentence(reason), "alert");
  } finally {
    place("main").removeAttribute("aria-busy");
  }
}

function go(path: string): void {
  if (address() !== path) window.history.pushState(null, "", `/#/${path}`);
  void route();
}

function navigate(current: string): void {
  place("nav").hidden = false;
  for (const link of place("nav").querySelectorAll("a")) {
    if (link.hash === `#/${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function enter(): Promise<void> {
  localStorage.setItem(KNOWN, "yes");
  const realtime = new RealtimeClient(parlance);
  const invitations = new Invitations(realtime);
  const started = new Talk(realtime, invitations, go, endLogin);
  talk = started;
  banner = new Banner(invitations, (invitation) => started.accept(invitation));
  bell = new Bell(realtime.socket);
  if (await talk.resume()) return;
  // A page that cannot read the warnings shows them the next time.
  if (!(await warned(() => void route()).catch(() => false))) await route();
}

function leave(): void {
  clearMessages();
  localStorage.removeItem(KNOWN);
  talk?.close();
  banner?.close();
  talk = bell = banner = undefined;
  place("nav").hidden = true;
  window.history.replaceState(null, "", "/");
  signIn(enter, keptOut);
}

/** Show why the server has ended the login: a sanction, or a logout on another device. */
function endLogin(reason: ParlanceError): void {
  leave();
  if (SANCTIONS.includes(reason.code)) ended(reason, () => signIn(enter, keptOut));
  else say(sentence(reason), "alert");
}

/** Show the reasons of a login that was refused for a sanction; return whether it was. */
function keptOut(reason: unknown): boolean {
  if (!(reason instanceof ParlanceError) || !reason.sanction) return false;
  refused(reason.sanction, () => signIn(enter, keptOut));
  return true;
}

/** Show that the page needs https: without it a browser gives no microphone and drops the refresh cookie. */
function needsHttps(): void {
  const port = location.port ? `:${location.port}` : "";
  show(
    "This page needs https",
    h("p", {}, `Browsers give the microphone only to pages over https, or on the computer that serves them. This page was opened over http, at ${location.host}.`),
    h("p", {}, "If this is your server: put a proxy with a certificate before it, and open the page at its https address."),
    h("p", {}, `On the computer where it runs, open http://localhost${port} instead.`),
  );
}

async function begin(): Promise<void> {
  if (!isSecureContext) return needsHttps();
  const token = new URLSearchParams(location.search).get("token") ?? "";
  // A token in the address would stay in the history of the browser.
  if (token) window.history.replaceState(null, "", location.pathname);
  if (location.pathname === "/reset-password") return resetPassword(token, leave);
  if (location.pathname === "/verify-email") return verifyEmail(token);
  if (location.pathname === "/undo-email-change") return undoEmailChange(token);
  if (location.pathname === "/oauth/callback") return returned();
  if (location.pathname === "/appeal") return appealPage(token);
  const landing = LANDINGS[location.pathname];
  if (landing) window.history.replaceState(null, "", `/#/${landing}`);
  if (!localStorage.getItem(KNOWN)) return landing ? (landing === "paid" ? paid() : notPaid()) : signUp(enter, keptOut);
  if (await isLoggedIn()) await enter();
}

/** Log in again with the cookie; show what to do where that fails. */
async function isLoggedIn(): Promise<boolean> {
  try {
    await parlance.refresh();
    return true;
  } catch (reason) {
    if (reason instanceof ParlanceError && reason.status === 401) leave();
    else {
      show("Parlance", h("button", { class: "primary", click: () => location.reload() }, "Try again"));
      say(sentence(reason), "alert");
    }
    return false;
  }
}

/** Go on where the page was left for a provider's: log in with the identity, or add it to the account. */
async function returned(): Promise<void> {
  const query = new URLSearchParams(location.search);
  const intent = takeIntent();
  window.history.replaceState(null, "", intent === "link" ? "/#/account" : "/");
  show("One moment", h("p", { class: "soft", role: "status" }, "Loading …"));
  const outcome = await returnFromProvider(query).catch((reason: unknown) => reason);
  const isReturned = typeof outcome === "object" && outcome !== null && "idToken" in outcome;
  if (intent === "link") {
    if (!(await isLoggedIn())) return;
    await enter();
    if (!isReturned) return say(outcome ? sentence(outcome) : "Nothing was added.", outcome ? "alert" : "status");
    const message = await linkReturned(outcome as AuthorizationTokens);
    if (!message) return;
    await route();
    return say(message);
  }
  if (isReturned) return loginReturned(outcome as AuthorizationTokens, enter, keptOut);
  signIn(enter, keptOut);
  say(outcome ? sentence(outcome) : "You were not signed in.", outcome ? "alert" : "status");
}

addEventListener("hashchange", () => {
  clearMessages();
  void route();
});
// A link to the current view does not change the address, so it causes no hashchange; load the view again.
place("nav").addEventListener("click", ({ target }) => {
  if (target instanceof Element && target.closest("a")?.hash === location.hash) {
    clearMessages();
    void route();
  }
});
void begin();
