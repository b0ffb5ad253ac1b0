/** Begins the page: what its address asks for, who is signed in, and the way between the views. */
import { Refused } from "../../../clients/typescript/src/client.ts";
import { h, hush, place, say, show } from "./dom.ts";
import { history } from "./history.ts";
import { profile } from "./profile.ts";
import { me, parlance } from "./session.ts";
import { Talk } from "./talk.ts";
import { notPaid, paid, resetPassword, signIn, signUp, verifyEmail } from "./welcome.ts";
import { sentence } from "./words.ts";

type View = "Talk" | "Calls" | "Profile";
const VIEWS: View[] = ["Talk", "Calls", "Profile"];
/** Set once somebody has signed in here: only then is a cookie worth asking about. */
const KNOWN = "known";

let talk: Talk | undefined;

function navigate(current: View): void {
  const nav = place("nav");
  nav.hidden = false;
  nav.replaceChildren(
    ...VIEWS.map((view) =>
      h("button", { ...(view === current && { "aria-current": "page" }), click: () => (hush(), void open(view)) }, view),
    ),
  );
}

async function open(view: View): Promise<void> {
  try {
    const mine = await me();
    // Partners are found for those who have a name and a level.
    const shown = mine.username && mine.englishLevel ? view : "Profile";
    navigate(shown);
    if (shown === "Calls") history(mine);
    else if (shown === "Talk") talk?.idle(mine);
    else profile(mine, () => mine.username || void open("Talk"), leave);
  } catch (reason) {
    if (reason instanceof Refused && /^(refresh_token_|unauthenticated|account_banned)/.test(reason.code)) leave();
    say(sentence(reason), "trouble");
  }
}

async function enter(): Promise<void> {
  localStorage.setItem(KNOWN, "yes");
  talk = new Talk(() => void open("Talk"));
  navigate("Talk");
  if (!(await talk.resume())) await open("Talk");
}

function leave(): void {
  localStorage.removeItem(KNOWN);
  talk?.close();
  talk = undefined;
  place("nav").hidden = true;
  signIn(enter);
}

async function begin(): Promise<void> {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  // A token in the address would stay in the history of the browser.
  if (token) window.history.replaceState(null, "", location.pathname);
  const home = () => {
    window.history.replaceState(null, "", "/");
    leave();
  };
  if (location.pathname === "/reset-password") return resetPassword(token, home);
  if (location.pathname === "/verify-email") return verifyEmail(token);
  if (location.pathname === "/payment/success") return paid();
  if (location.pathname === "/payment/cancel") return notPaid();
  if (!localStorage.getItem(KNOWN)) return signUp(enter);
  try {
    await parlance.refresh();
  } catch (reason) {
    if (reason instanceof Refused) return leave();
    show("Parlance", h("button", { class: "primary", click: () => location.reload() }, "Try again"));
    return say(sentence(reason), "trouble");
  }
  await enter();
}

void begin();
