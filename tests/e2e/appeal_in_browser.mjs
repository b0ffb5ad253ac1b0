// A learner is banned, reads why, appeals, and is let in by a second administrator; prints what was seen as JSON.
// Usage: appeal_in_browser.mjs <JSON: base, chromium, arguments, learner, warned, colleague, issuer, password, link, screenshots>
import { browse, button, heading, link } from "./browsing.mjs";

const given = JSON.parse(process.argv[2]);
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, given.arguments, [given.base]);
const seen = {};
const phone = { width: 360, height: 740 };
const shot = (page, name) => page.screenshot({ path: `${given.screenshots}/${name}.png`, fullPage: true });

async function signIn(page, email) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(given.password);
  await page.keyboard.press("Enter");
}

async function openLogin(page) {
  await page.goto(given.base);
  await button(page, "I have an account").click();
  await heading(page, "Sign in");
}

const learner = await person(phone);
await learner.emulateMedia({ colorScheme: "dark" });
await openLogin(learner);
await signIn(learner, given.learner);
await heading(learner, "Your account is banned");
seen.focus = await learner.evaluate(() => document.activeElement?.tagName);
seen.reasons = await learner.locator(".reasons").innerText();
await look(learner, "banned");
await shot(learner, "banned-dark");
await button(learner, "Back to the login").click();
await heading(learner, "Sign in");
await signIn(learner, given.learner);
await heading(learner, "Your account is banned");
// With the keyboard alone.
await learner.getByLabel("Why is the decision wrong?").focus();
await learner.keyboard.type("My brother used my phone.");
await learner.keyboard.press("Tab");
await learner.keyboard.press("Enter");
await learner.locator("#status", { hasText: "was received" }).waitFor();
await look(learner, "appealed");

// The link of the mail shows the state; its token does not stay in the address.
const reader = await person(phone);
await reader.goto(given.link);
await heading(reader, "Your account is banned");
seen.mailed = await reader.locator("section").innerText();
seen.address = reader.url();
await look(reader, "appeal by mail");
await shot(reader, "appeal-received");
await reader.goto(`${given.base}/appeal?token=wrong`);
await reader.getByText("The link is wrong or too old.").waitFor();

async function openAppeals(email, viewport) {
  const page = await person(viewport);
  await page.goto(`${given.base}/admin-ui`);
  await signIn(page, email);
  await heading(page, "Overview");
  await page.getByRole("link", { name: "Appeals", exact: true }).click();
  await page.getByLabel("Status").selectOption("open");
  await page.waitForURL(/status=open/);
  await page.getByText("My brother used my phone.").waitFor();
  return page;
}

const issuer = await openAppeals(given.issuer, phone);
const row = issuer.locator("main tbody tr", { hasText: "My brother used my phone." });
seen.own = await row.innerText();
seen.ownButtons = await row.getByRole("button").count();
await look(issuer, "appeals on a phone");
await shot(issuer, "appeals-own");

const colleague = await openAppeals(given.colleague, { width: 1280, height: 900 });
await colleague.locator("main tbody tr", { hasText: "My brother used my phone." }).getByRole("button", { name: "Decide" }).click();
await colleague.getByLabel("Decision").selectOption("overturned");
await colleague.getByLabel("Reason, which the learner reads").fill("The other device shows it.");
await shot(colleague, "appeal-decide");
await colleague.getByRole("dialog").getByRole("button", { name: "Decide" }).click();
await colleague.locator("#status", { hasText: "is decided" }).waitFor();

await reader.goto(given.link);
await heading(reader, "Your ban was lifted");
seen.decided = await reader.locator("section").innerText();
await button(learner, "Back to the login").click();
await signIn(learner, given.learner);
await learner.locator("nav#nav").waitFor();
await look(learner, "let in");

// A warning is shown until it is confirmed.
const warned = await person(phone);
await openLogin(warned);
await signIn(warned, given.warned);
await heading(warned, "You have received a warning");
await look(warned, "warning");
await shot(warned, "warning");
await warned.reload();
await heading(warned, "You have received a warning");
await button(warned, "I have read it").click();
await warned.locator("nav#nav").waitFor();
await warned.reload();
await warned.locator("nav#nav").waitFor();
seen.again = await warned.getByText("You have received a warning").count();

await browser.close();
console.log(JSON.stringify({ ...seen, complaints, violations, looked_at }));
