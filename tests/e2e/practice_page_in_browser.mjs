// Two learners use the practice page, each in a window of their own; prints what they saw and received as JSON.
// Usage: practice_page_in_browser.mjs <address> <folder of the mails> <folder for screenshots> <Chromium> <its arguments>
import { randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { browse, button, heading, link } from "./browsing.mjs";
import { received, speaker } from "./speakers.mjs";

const [base, mails, pictures, executablePath, ...args] = process.argv.slice(2);
const PASSWORD = "correct horse battery";
const { browser, complaints, violations, looked_at, person, look } = await browse(executablePath, args, [base]);

async function signUp(page) {
  const username = `u${randomUUID().replaceAll("-", "").slice(0, 12)}`;
  await page.goto(base);
  await page.getByLabel("E-mail").fill(`${username}@example.com`);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await heading(page, "Create your profile");
  return username;
}

/** The packets of the newest connection that come from now on. */
async function receivedFromNowOn(page) {
  const before = await received(page);
  const after = await received(page, before.packets + 50);
  return { packets: after.packets - before.packets, energy: after.energy };
}

async function mailed(address, path) {
  for (let tries = 0; tries < 200; tries += 1) {
    for (const name of await readdir(mails).catch(() => [])) {
      const text = (await readFile(`${mails}/${name}`, "utf8")).replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      const link = new RegExp(`${base}/${path}\\?token=[\\w.~-]+`).exec(text);
      if (text.includes(address) && link) return link[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no mail to ${address} leads to /${path}`);
}

const started = performance.now();
const phone = await speaker(person, { width: 390, height: 844 });
const desk = await speaker(person, { width: 1100, height: 800 });
await phone.goto(base);
await heading(phone, /Speak English/);
await look(phone, "sign up");
await phone.screenshot({ path: `${pictures}/practice-welcome.png` });
const names = [];
for (const page of [phone, desk]) names.push(await signUp(page));
const shown = ["Ada", "Bo"];
for (const [index, page] of [phone, desk].entries()) {
  if (index === 0) await look(page, "profile");
  await page.getByLabel("Username").fill(names[index]);
  await page.getByLabel("Name that partners see").fill(shown[index]);
  await page.getByLabel("My level of English").selectOption("intermediate");
  await button(page, "Save").click();
  await heading(page, `Hello, ${shown[index]}`);
}
await look(phone, "idle");

/** Both tap, and both see the name of their partner. */
async function meet() {
  for (const page of [phone, desk]) await page.getByLabel("Topic").fill("Food and travel");
  await button(phone, "Tap to talk").focus();
  await phone.keyboard.press("Enter");
  await heading(phone, "Looking for a partner");
  await phone.getByText(/^Expected wait: /).waitFor();
  if (!looked_at.includes("waiting")) await look(phone, "waiting");
  await button(desk, "Tap to talk").click();
  await Promise.all([phone.getByText("You are talking with Bo.").waitFor(), desk.getByText("You are talking with Ada.").waitFor()]);
}
await meet();
const both = [phone, desk];
const receivedFirst = await Promise.all(both.map((page) => received(page)));
const seconds = (performance.now() - started) / 1000;
await look(phone, "call");
await look(desk, "call at a desk");
// A link of another view, or the button of the browser that goes back, takes nobody out of a call.
await desk.evaluate(() => (location.hash = "#/courses"));
await button(phone, "Mute me").click();
const muted = await button(phone, "Mute me").getAttribute("aria-pressed");
if (muted !== "true" || (await phone.evaluate(() => window.tracks.some((track) => track.enabled)))) violations.push("mute does not mute");
await button(phone, "Mute me").click();
await phone.screenshot({ path: `${pictures}/practice-call.png` });

// Each of the two in turn: one of them is the caller.
const receivedAgain = [];
for (const [again, other] of [[phone, desk], [desk, phone]]) {
  await again.reload();
  await again.getByText(/You are talking with/).waitFor();
  receivedAgain.push(await receivedFromNowOn(again), await receivedFromNowOn(other));
}

// Two who want partners of different levels do not meet until one of them takes the page's offer.
await button(phone, "Hang up").click();
await Promise.all(both.map((page) => button(page, "Done").click()));
const preselected = await Promise.all(both.map((page) => page.getByLabel("Partner's level").inputValue()));
await phone.clock.install();
for (const [page, level] of [[phone, "beginner"], [desk, "advanced"]]) {
  await page.getByLabel("Partner's level").selectOption(level);
  await button(page, "Tap to talk").click();
  await heading(page, "Looking for a partner");
  await page.getByText(/^Expected wait: /).waitFor();
}
const offer = button(phone, "Look for any level");
const offeredAtOnce = await offer.count();
await phone.clock.fastForward(20_000);
await offer.waitFor();
await look(phone, "any level offered");
await phone.screenshot({ path: `${pictures}/practice-any-level.png` });
await offer.click();
await Promise.all([phone.getByText("You are talking with Bo.").waitFor(), desk.getByText("You are talking with Ada.").waitFor()]);

// The connection of the call before is gone, and nothing of it is received in the next.
await button(phone, "Hang up").click();
await Promise.all(both.map((page) => button(page, "Done").click()));
await meet();
receivedAgain.push(...(await Promise.all(both.map((page) => received(page)))));
await button(desk, "Hang up").click();
await Promise.all(both.map((page) => heading(page, "How was your call?")));
await phone.getByText("Your partner hung up.").waitFor();
const microphonesLeft = await Promise.all(both.map((page) => page.evaluate(() => window.tracks.filter((track) => track.readyState === "live").length)));
await look(phone, "afterwards");
await button(phone, "4 of 5 stars").click();
await button(phone, "Send").click();
await phone.getByText("You gave 4 of 5 stars.").waitFor();
await button(phone, "Report or block Bo").click();
await look(phone, "report");
await button(phone, "Block only").click();
await phone.getByText("You will not be matched with Bo again.").waitFor();
await button(phone, "Report or block Bo").click();
await button(phone, "Send report").click();
await phone.getByText(/We will look at it/).waitFor();
await link(phone, "Calls").click();
await phone.getByRole("listitem").first().waitFor();
const history = await phone.getByRole("listitem").first().innerText();
await look(phone, "calls");

// In dark, and with a new password: the first page of the desk keeps the old one.
const address = `${names[0]}@example.com`;
const visitor = await speaker(person, { width: 390, height: 844 }, true);
await visitor.emulateMedia({ colorScheme: "dark" });
await visitor.goto(base);
// A password that is too long is refused whole, in the form; cut, it would open an account that its owner cannot.
const tooLong = [];
for (const long of ["x".repeat(80), "é".repeat(37), "🐴".repeat(19)]) {
  const field = visitor.getByLabel("Password");
  await visitor.getByLabel("E-mail").fill("too.long@example.com");
  await field.fill(long);
  await visitor.keyboard.press("Enter");
  tooLong.push([(await field.inputValue()) === long, await field.evaluate((input) => input.validationMessage)]);
}
await button(visitor, "I have an account").click();
await heading(visitor, "Sign in");
await look(visitor, "sign in, dark");
await button(visitor, "I forgot my password").click();
await visitor.getByLabel("E-mail").fill(address);
await button(visitor, "Send me a link").click();
await visitor.getByText(/e-mail with a link is on its way/).waitFor();
await visitor.goto(await mailed(address, "reset-password"));
await look(visitor, "new password, dark");
await visitor.getByLabel("New password").fill("a much newer horse");
await button(visitor, "Save the password").click();
await heading(visitor, "Sign in");
const signIn = async (password) => {
  await visitor.getByLabel("E-mail").fill(address);
  await visitor.getByLabel("Password").fill(password);
  await button(visitor, "Sign in").click();
};
await signIn(PASSWORD);
const alert = visitor.getByRole("alert").filter({ hasText: /\w/ });
await alert.waitFor();
const oldPassword = await alert.innerText();
await signIn("a much newer horse");
await heading(visitor, "Hello, Ada");
await look(visitor, "idle, dark");
await button(visitor, "Tap to talk").click();
await alert.waitFor();
const refused = await alert.innerText();
await look(visitor, "microphone refused, dark");
// The reset has verified the first learner.
await visitor.goto(await mailed(`${names[1]}@example.com`, "verify-email"));
await button(visitor, "Verify").click();
await heading(visitor, "Your e-mail address is verified");
for (const [path, words] of [["/payment/success?session_id=x", "Thank you"], ["/payment/cancel", "You have not paid"]]) {
  await visitor.goto(base + path);
  await heading(visitor, words);
  await look(visitor, path);
}

await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at, partners: ["Bo", "Ada"], received: receivedFirst, receivedAgain, seconds, microphonesLeft, history, oldPassword, refused, preselected, offeredAtOnce, tooLong }));
