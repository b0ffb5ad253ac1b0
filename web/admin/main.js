// Routes: the login form, or the page that the address names after its #.

import * as api from "./api.js";
import { course, courses } from "./courses.js";
import { field, h, say } from "./dom.js";
import * as pages from "./pages.js";
import { answer as answerWithPasskey, areOffered } from "./passkeys.js";
import { pictures } from "./pictures.js";
import { queue } from "./queue.js";
import { codeInput, security, stepUp } from "./security.js";
import { staff, staffMember } from "./staff.js";

// Address, title, and whether it is for administrators alone.
const PAGES = [
  ["", "Overview", true], ["users", "Accounts"], ["queue", "Review queue"], ["reports", "Reports"], ["pictures", "Pictures"], ["appeals", "Appeals", true], ["orders", "Orders", true], ["courses", "Courses", true],
  ["staff", "Staff", true], ["audit", "Audit"], ["security", "Security"],
];
const ICON = new URL("icon.svg", import.meta.url).pathname;
const main = document.getElementById("main");
const bar = document.getElementById("top");
let shown = 0;

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name, id, which: Object.fromEntries(new URLSearchParams(query)) };
}

async function show({ keepsFocus = false } = {}) {
  const mayOpen = PAGES.filter(([, , isForAdmins]) => api.isAdmin() || !isForAdmins);
  const { name, id, which } = place();
  if (!mayOpen.some(([path]) => path === name)) return void location.replace(`#/${api.isAdmin() ? "" : "queue"}`);
  const turn = ++shown;
  const again = () => show({ keepsFocus: true });
  bar.replaceChildren(
    h("a", { class: "brand", href: "#/" }, h("img", { src: ICON, alt: "", width: 24, height: 24 }), "Parlance"),
    h("nav", { "aria-label": "Pages" }, mayOpen.map(([path, text]) => h("a", { href: `#/${path}`, "aria-current": path === name ? "page" : null }, text))),
    h("button", { class: "quiet", title: api.signedInAs(), onclick: leave }, "Sign out"),
  );
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    if (name === "users" && id) content = await pages.user(id, again);
    else if (name === "security") content = await security(again);
    else if (name === "staff") content = await (id ? staffMember(id, again) : staff());
    else if (name === "courses") content = await (id ? course(id, again) : courses(which, again));
    else if (name === "queue") content = await queue(which, again);
    else if (name === "pictures") content = await pictures(again);
    else if (["users", "reports", "appeals", "orders", "audit"].includes(name)) content = await pages[name](which, again);
    else content = await pages.overview();
  } catch (problem) {
    if (problem.status === 401 || turn !== shown) return;
    if (problem.code === "second_factor_required" && place().name !== name) return; // the page that sets one up opens
    content = [h("h1", null, "That did not work"), h("p", { role: "alert" }, problem.message), h("button", { onclick: again }, "Try again")];
  }
  if (turn !== shown) return; // another page was opened meanwhile
  main.removeAttribute("aria-busy");
  main.replaceChildren(...content.flat());
  document.title = `${main.querySelector("h1").textContent} · Parlance admin`;
  if (!keepsFocus) {
    say("");
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else if (document.activeElement === document.body) {
    // What had the focus is gone.
    main.focus({ preventScroll: true });
  }
}

function signIn(message) {
  shown++;
  bar.replaceChildren();
  main.removeAttribute("aria-busy");
  document.title = "Sign in · Parlance admin";
  const refusal = h("p", { role: "alert", class: "refusal" }, message ?? "");
  const button = h("button", { class: "primary" }, "Sign in");
  const code = field("Code of your authenticator app, or a recovery code", codeInput());
  const passkey = h("button", { type: "button", hidden: true, onclick: () => attempt(usePasskey) }, "Sign in with a passkey");
  const email = h("input", { name: "email", type: "email", autocomplete: "username", required: true });
  const form = h(
    "form",
    {
      class: "card login",
      onsubmit: async (event) => {
        event.preventDefault();
        await attempt(({ email: address, password, code: given }) => api.signIn(address, password, given && { secondFactorCode: given }));
      },
    },
    h("img", { src: ICON, alt: "", width: 48, height: 48 }),
    h("h1", null, "Parlance admin"),
    field("E-mail", email),
    field("Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
    refusal,
    button,
    passkey,
  );
  async function attempt(log) {
    button.disabled = passkey.disabled = true;
    refusal.textContent = "";
    try {
      await log(Object.fromEntries(new FormData(form)));
      say("");
      await show();
    } catch (problem) {
      const needsFactor = problem.code === "second_factor_required";
      refusal.textContent = needsFactor ? "" : problem.message;
      if (needsFactor) {
        refusal.before(code);
        passkey.textContent = "Use a passkey in place of the code";
      }
      if (needsFactor || problem.code === "second_factor_invalid") code.querySelector("input").select();
    } finally {
      button.disabled = passkey.disabled = false;
    }
  }
  /** Log in with a passkey alone or, once a second factor was asked for, with the password and a passkey of that account. */
  const usePasskey = async ({ email: address, password }) => {
    const proof = await answerWithPasskey();
    await (code.isConnected ? api.signIn(address, password, { secondFactorPasskey: proof }) : api.signInWithPasskey(proof));
  };
  main.replaceChildren(form);
  email.focus();
  areOffered().then((areThey) => (passkey.hidden = !areThey), () => {});
}

async function leave() {
  await api.signOut();
  signIn("You are signed out.");
}

api.whenItEnds(signIn);
api.whenItNeedsFactor(stepUp);
addEventListener("hashchange", () => api.signedInAs() && show());
if (await api.resume()) await show();
else signIn();
