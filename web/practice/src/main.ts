/** Begins the page: what its address asks for, who is signed in, and the way between the views. */
import { Refused } from "../../../clients/typescript/src/client.ts";
import { Bell } from "./bell.ts";
import { notPaid, paid } from "./buying.ts";
import { course, courses } from "./courses.ts";
import { h, hush, place, say, show } from "./dom.ts";
import { history } from "./history.ts";
import { lesson } from "./lesson.ts";
import { profile } from "./profile.ts";
import { me, parlance } from "./session.ts";
import { Talk } from "./talk.ts";
import { resetPassword, signIn, signUp, verifyEmail } from "./welcome.ts";
import { sentence } from "./words.ts";

/** Set once somebody has signed in here: only then is a cookie worth asking about. */
const KNOWN = "known";
/** Where payment providers lead to, and the view of it, which keeps nothing of what they add to the address. */
const LANDINGS: Record<string, string> = { "/payment/success": "paid", "/payment/cancel": "not-paid" };
/** Views without a link of their own, and the link that they belong to. */
const BELONGS: Record<string, string> = { lessons: "courses", paid: "courses", "not-paid": "courses" };

let talk: Talk | undefined;
let bell: Bell | undefined;

/** Reads what a view needs and answers what shows it; by the first part of the address, with the second. */
const VIEWS: Record<string, (id: string) => Promise<() => void>> = {
  calls: async () => {
    const mine = await me();
    return () => history(mine);
  },
  courses: (id) => (id ? course(id) : Promise.resolve(courses)),
  lessons: lesson,
  notifications: () => Promise.resolve(() => bell?.show()),
  paid: () => Promise.resolve(paid),
  "not-paid": () => Promise.resolve(notPaid),
  profile: async () => {
    const mine = await me();
    return () => profile(mine, () => mine.username || go(""), leave);
  },
};

const address = () => location.hash.replace(/^#\/?/, "");

/** Show what the address asks for, or Talk. */
async function route(): Promise<void> {
  const asked = address();
  if (!talk || talk.isBusy) return;
  let [name = "", id = ""] = asked.split("/");
  place("main").setAttribute("aria-busy", "true");
  try {
    let view = await VIEWS[name]?.(id);
    if (!view) {
      const mine = await me();
      // Partners are found for those who have a name and a level.
      name = mine.username && mine.englishLevel ? "" : "profile";
      view = name ? await VIEWS["profile"]?.("") : () => talk?.idle(mine);
    }
    // Somebody may have gone on meanwhile.
    if (asked !== address() || !talk || talk.isBusy) return;
    navigate(BELONGS[name] ?? name);
    view?.();
  } catch (reason) {
    if (asked !== address()) return;
    if (reason instanceof Refused && /^(refresh_token_|unauthenticated|account_banned)/.test(reason.code)) leave();
    else if (reason instanceof Refused && ["not_found", "request_invalid"].includes(reason.code)) {
      navigate("");
      show("There is nothing here", h("p", {}, "What was here may have been removed."), h("p", {}, h("a", { href: "#/courses" }, "See all courses")));
      return;
    } else if (!document.querySelector("h1")) show("Parlance", h("button", { class: "primary", click: () => location.reload() }, "Try again"));
    say(sentence(reason), "trouble");
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
  const practice = parlance.practise();
  talk = new Talk(practice, () => go(""));
  bell = new Bell(practice.socket);
  if (!(await talk.resume())) await route();
}

function leave(): void {
  hush();
  localStorage.removeItem(KNOWN);
  talk?.close();
  talk = bell = undefined;
  place("nav").hidden = true;
  window.history.replaceState(null, "", "/");
  signIn(enter);
}

/** Without https a browser gives no microphone, and the cookie that keeps somebody signed in is not kept. */
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
  const landing = LANDINGS[location.pathname];
  if (landing) window.history.replaceState(null, "", `/#/${landing}`);
  if (!localStorage.getItem(KNOWN)) return landing ? (landing === "paid" ? paid() : notPaid()) : signUp(enter);
  try {
    await parlance.refresh();
  } catch (reason) {
    if (reason instanceof Refused) return leave();
    show("Parlance", h("button", { class: "primary", click: () => location.reload() }, "Try again"));
    return say(sentence(reason), "trouble");
  }
  await enter();
}

addEventListener("hashchange", () => {
  hush();
  void route();
});
// A link to the view that is shown changes no address, and is to bring it back to its beginning.
place("nav").addEventListener("click", ({ target }) => {
  if (target instanceof Element && target.closest("a")?.hash === location.hash) {
    hush();
    void route();
  }
});
void begin();
