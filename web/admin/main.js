// Routes: the login form, or the page that the address names after its #.

import * as api from "./api.js";
import { course, courses } from "./courses.js";
import { field, h, say } from "./dom.js";
import * as pages from "./pages.js";

const PAGES = [["", "Overview"], ["users", "Accounts"], ["reports", "Reports"], ["orders", "Orders"], ["courses", "Courses"], ["audit", "Audit"]];
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
  const { name, id, which } = place();
  const turn = ++shown;
  const again = () => show({ keepsFocus: true });
  bar.replaceChildren(
    h("a", { class: "brand", href: "#/" }, h("img", { src: ICON, alt: "", width: 24, height: 24 }), "Parlance"),
    h("nav", { "aria-label": "Pages" }, PAGES.map(([path, text]) => h("a", { href: `#/${path}`, "aria-current": path === name ? "page" : null }, text))),
    h("button", { class: "quiet", title: api.signedInAs(), onclick: leave }, "Sign out"),
  );
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    if (name === "users" && id) content = await pages.user(id, again);
    else if (name === "courses") content = await (id ? course(id, again) : courses(which, again));
    else if (["users", "reports", "orders", "audit"].includes(name)) content = await pages[name](which, again);
    else content = await pages.overview();
  } catch (problem) {
    if (problem.status === 401) return;
    content = [h("h1", null, "That did not work"), h("p", { role: "alert" }, problem.message), h("button", { onclick: again }, "Try again")];
  }
  if (turn !== shown) return; // another page was opened meanwhile
  main.removeAttribute("aria-busy");
  main.replaceChildren(...content);
  document.title = `${main.querySelector("h1").textContent} · Parlance admin`;
  if (!keepsFocus) {
    say("");
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function signIn(message) {
  shown++;
  bar.replaceChildren();
  main.removeAttribute("aria-busy");
  document.title = "Sign in · Parlance admin";
  const refusal = h("p", { role: "alert", class: "refusal" }, message ?? "");
  const button = h("button", { class: "primary" }, "Sign in");
  const email = h("input", { name: "email", type: "email", autocomplete: "username", required: true });
  const form = h(
    "form",
    {
      class: "card login",
      onsubmit: async (event) => {
        event.preventDefault();
        const { email: address, password } = Object.fromEntries(new FormData(form));
        button.disabled = true;
        refusal.textContent = "";
        try {
          await api.signIn(address, password);
          say("");
          await show();
        } catch (problem) {
          refusal.textContent = problem.message;
        } finally {
          button.disabled = false;
        }
      },
    },
    h("img", { src: ICON, alt: "", width: 48, height: 48 }),
    h("h1", null, "Parlance admin"),
    field("E-mail", email),
    field("Password", h("input", { name: "password", type: "password", autocomplete: "current-password", required: true })),
    refusal,
    button,
  );
  main.replaceChildren(form);
  email.focus();
}

async function leave() {
  await api.signOut();
  signIn("You are signed out.");
}

api.whenItEnds(signIn);
addEventListener("hashchange", () => api.signedInAs() && show());
if (await api.resume()) await show();
else signIn();
