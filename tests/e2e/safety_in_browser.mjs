// A learner withdraws a consent, unblocks, uploads pictures and downloads the data; three others are suspended, each in
// another state of the page. Prints what they saw as JSON.
// Usage: safety_in_browser.mjs <JSON: base, storage, chromium, arguments, password, adminToken, suspension, owner, suspended,
//   partner, pageSize, lastBlocked, picture, screenshots>
import { readFile } from "node:fs/promises";
import { browse, button, heading, link } from "./browsing.mjs";

const given = JSON.parse(process.argv[2]);
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, given.arguments, [given.base, new URL(given.storage).origin]);
const seen = { suspended: [] };
const WIDTHS = [320, 390, 1280];
const phone = { width: 390, height: 844 };

/** Look at a view in both schemes, on the narrowest phone; screenshots have wider ones too. */
async function lookEverywhere(page, view) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of process.env.SCREENSHOTS ? WIDTHS : WIDTHS.slice(0, 1)) {
      await page.setViewportSize({ width, height: phone.height });
      if (width === WIDTHS[0]) await look(page, `${view}, ${colorScheme}`);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: `${given.screenshots}/${view}-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  await page.setViewportSize(phone);
  await page.emulateMedia({ colorScheme: "light" });
}

async function signIn(page, email) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(given.password);
  await page.keyboard.press("Enter");
}

/** A window with a logged-in learner, whose microphone is seen. */
async function enter(email) {
  const page = await person(phone);
  await page.addInitScript(() => {
    window.tracks = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (asked) => {
      const stream = await open(asked);
      window.tracks.push(...stream.getTracks());
      return stream;
    };
  });
  await page.goto(given.base);
  await button(page, "I have an account").click();
  await heading(page, "Sign in");
  await signIn(page, email);
  await heading(page, /^Hello, /);
  return page;
}

async function message(page, kind, words) {
  const box = page.locator(`#${kind}`, { hasText: words });
  await box.waitFor();
  return box.innerText();
}

const open = (page, section) => page.locator("summary", { hasText: section }).click();

// Consents.
const owner = await enter(given.owner);
await link(owner, "Profile").click();
await heading(owner, "Your profile");
await open(owner, "My consents");
await button(owner, "Withdraw the consent: Terms of use").focus();
await owner.keyboard.press("Enter");
seen.withdrawn = await message(owner, "status", "Your consent is withdrawn: Terms of use.");
await owner.screenshot({ path: `${given.screenshots}/consent-withdrawn.png` });
await lookEverywhere(owner, "consent-withdrawn");
seen.focus = await owner.evaluate(() => document.activeElement?.getAttribute("aria-label"));
await link(owner, "Talk").click();
await heading(owner, "Before you talk with others");
seen.asked = await owner.getByRole("checkbox").count();
await lookEverywhere(owner, "consent-asked-again");
await link(owner, "Profile").click();
await heading(owner, "Your profile");
await open(owner, "My consents");
await button(owner, "Accept: Terms of use").click();
await message(owner, "status", "You accept: Terms of use.");
await link(owner, "Talk").click();
await heading(owner, /^Hello, /);

// Blocked learners, the second page too.
await owner.route(/\/users\/me\/blocks\?/, (route) => {
  const url = new URL(route.request().url());
  url.searchParams.set("limit", given.pageSize);
  return route.continue({ url: url.href });
});
await link(owner, "Profile").click();
await heading(owner, "Your profile");
await open(owner, "Blocked learners");
const rows = owner.getByRole("list", { name: "Blocked learners, the latest first" }).getByRole("listitem");
const more = button(owner, "Show more");
await more.waitFor();
seen.blocked = [await rows.count()];
await more.click();
await more.waitFor({ state: "hidden" });
seen.blocked.push(await rows.count());
const last = rows.filter({ hasText: given.lastBlocked });
seen.since = await last.innerText();
await button(owner, `Unblock ${given.lastBlocked}`).click();
await message(owner, "status", "is unblocked");
await lookEverywhere(owner, "unblocked");
await button(owner, `Block ${given.lastBlocked} again`).click();
await message(owner, "status", "is blocked again");
await button(owner, `Unblock ${given.lastBlocked}`).click();
await message(owner, "status", "is unblocked");

// Pictures: the first one is refused, the second one held.
for (const [key, kind, words] of [["refusedPicture", "alert", "not allowed"], ["heldPicture", "status", "is saved"]]) {
  await owner.getByLabel("My picture").setInputFiles([]);
  await owner.getByLabel("My picture").setInputFiles(given.picture);
  seen[key] = await message(owner, kind, words);
  await look(owner, key);
}

const downloading = owner.waitForEvent("download");
await button(owner, "Download my data").click();
const download = await downloading;
seen.file = download.suggestedFilename();
seen.data = JSON.parse(await readFile(await download.path(), "utf8"));
await message(owner, "status", "Your data is downloaded.");
await owner.context().close();

// Suspensions.
async function suspend(id) {
  const headers = { Authorization: `Bearer ${given.adminToken}`, "Content-Type": "application/json" };
  const answer = await fetch(`${given.base}/admin/users/${id}/sanctions`, { method: "POST", headers, body: JSON.stringify(given.suspension) });
  if (answer.status !== 201) throw new Error(await answer.text());
  return (await answer.json()).endsAt;
}

async function search(page) {
  await button(page, "Tap to talk").click();
  await heading(page, "Looking for a partner");
  await page.getByText(/^Expected wait: /).waitFor();
}

let partner;
const STATES = {
  idle: async () => {},
  searching: search,
  call: async (page) => {
    partner = await enter(given.partner);
    await search(partner);
    await button(page, "Tap to talk").click();
    await Promise.all([page, partner].map((each) => each.getByText(/^You are talking with /).waitFor()));
  },
};
for (const [state, begin] of Object.entries(STATES)) {
  const { id, email } = given.suspended[seen.suspended.length];
  const page = await enter(email);
  await begin(page);
  const endsAt = await suspend(id);
  await heading(page, "Your account is suspended");
  const until = await page.evaluate((at) => new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(new Date(at)), endsAt);
  const notice = await page.locator("main").innerText();
  const microphones = await page.evaluate(() => window.tracks.filter(({ readyState }) => readyState === "live").length);
  if (state === "idle") await lookEverywhere(page, "suspended");
  await button(page, "Sign in to read and appeal").click();
  await heading(page, "Sign in");
  await signIn(page, email);
  await page.getByLabel("Why is the decision wrong?").waitFor();
  const reasons = await page.locator(".reasons").innerText();
  if (state === "idle") await lookEverywhere(page, "suspended-login");
  seen.suspended.push({ state, until, notice, reasons, microphones });
  if (partner) {
    await partner.getByText(/^How was it with /).waitFor();
    seen.left = await partner.getByRole("heading", { level: 1 }).innerText();
  }
  await page.context().close();
}

await browser.close();
console.log(JSON.stringify({ ...seen, complaints, violations, looked_at }));
