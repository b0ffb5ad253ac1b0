// Enrolls a second factor on the admin page, logs in with it, proves it again, and looks at what a moderator sees.
// Usage: staff_in_browser.mjs <JSON: base, chromium, python, database, password, admin, moderator, recoveryCode, moderatorId, learner, screenshots>
import { execFileSync } from "node:child_process";
import { browse, button, heading, link } from "./browsing.mjs";

const given = JSON.parse(process.argv[2]);
const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, args, [given.base]);
const python = (program, ...more) => execFileSync(given.python, ["-c", program, ...more], { encoding: "utf8" }).trim();
const code = (secret, steps) =>
  python("import pyotp, sys, time; print(pyotp.TOTP(sys.argv[1]).at(time.time() + 30 * int(sys.argv[2])))", secret, `${steps}`);
/** Let each login have proven its factor too long ago. */
const ageProofs = () =>
  python(
    "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(" +
      "\"UPDATE refresh_tokens SET factor_proven_at = now() - interval '11 minutes' WHERE factor_proven_at IS NOT NULL\")",
    given.database,
  );
const seen = {};
const shot = (page, name) => page.screenshot({ path: `${given.screenshots}/staff-${name}.png`, fullPage: true });
const status = (page, text) => page.locator("#status", { hasText: text }).waitFor();
const codeBox = (page) => page.getByLabel("Code of your authenticator app");

async function signIn(page, email) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(given.password);
  await page.keyboard.press("Enter");
}

const page = await person({ width: 360, height: 740 });
process.on("uncaughtException", async (e) => { await shot(page, "FAIL").catch(() => {}); console.error(e, await page.locator("body").innerText(), complaints); process.exit(1); });
await page.goto(`${given.base}/admin-ui`);
await signIn(page, given.admin);
await heading(page, "Security");
await look(page, "no factor");
await shot(page, "missing");
await button(page, "Set up an authenticator app").click();
await page.getByRole("dialog").getByLabel("Password").fill(given.password);
await page.keyboard.press("Enter");
await page.getByRole("img", { name: "QR code" }).waitFor();
await look(page, "QR code");
await shot(page, "qr-code");
const secret = (await page.locator("code.secret").textContent()).replaceAll(" ", "");
seen.modules = (await page.locator(".qr path").getAttribute("d")).split("M").length - 1;
await page.getByLabel("Six digits").fill("000000");
await page.keyboard.press("Enter");
await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
await page.getByLabel("Six digits").fill(code(secret, -1));
await page.keyboard.press("Enter");
await page.getByRole("heading", { name: "Recovery codes" }).waitFor();
seen.recoveryCodes = await page.locator(".codes code").allTextContents();
await look(page, "recovery codes");
await shot(page, "recovery-codes");
await page.emulateMedia({ media: "print" });
seen.printed = { codes: await page.locator(".codes").isVisible(), header: await page.locator("header").isVisible() };
await page.emulateMedia({ media: null });
await button(page, "I have kept them").click();
await page.getByText("10 recovery codes are left").waitFor();
await look(page, "enrolled");
await shot(page, "enrolled");
await link(page, "Overview").click();
await heading(page, "Overview");
await button(page, "Sign out").click();

await signIn(page, given.admin);
await codeBox(page).waitFor();
await look(page, "login with a code");
await codeBox(page).pressSequentially("123 45x");
await page.keyboard.press("Enter");
await page.getByRole("alert").filter({ hasText: "code is wrong" }).waitFor();
await shot(page, "login");
await codeBox(page).fill(code(secret, 0));
await page.keyboard.press("Enter");
await heading(page, "Overview");

ageProofs();
await page.reload();
await heading(page, "Overview");
await page.goto(`${given.base}/admin-ui#/users/${given.learner}`);
await button(page, "Issue a sanction").click();
await page.getByLabel("Kind").selectOption("ban");
await page.getByLabel("What happened").fill("You shouted at everybody.");
await button(page, "Issue").click();
await page.getByRole("heading", { name: "Confirm that it is you" }).waitFor();
// A refused sanction keeps what was entered.
await button(page, "Cancel").last().click();
await page.getByRole("alert").filter({ hasText: /\w/ }).waitFor();
seen.kept = await page.getByLabel("What happened").inputValue();
await button(page, "Issue").click();
await page.getByRole("heading", { name: "Confirm that it is you" }).waitFor();
await look(page, "step-up");
await codeBox(page).fill("nothing");
await page.keyboard.press("Enter");
await page.getByRole("dialog").getByRole("alert").filter({ hasText: /\w/ }).waitFor();
await shot(page, "step-up");
await codeBox(page).fill(code(secret, 1));
await page.keyboard.press("Enter");
await status(page, "is issued");

await link(page, "Staff").click();
await heading(page, "Staff");
await page.locator("main tbody tr").first().waitFor();
seen.staff = await page.locator("main tbody").innerText();
await look(page, "staff");
await shot(page, "staff");
await page.locator(`a[href="#/staff/${given.moderatorId}"]`).click();
await button(page, "End").first().waitFor();
await look(page, "logins");
await shot(page, "logins");
const logins = await page.locator("main tbody tr").count();
await button(page, "End").first().click();
await status(page, "The login has ended");
await page.waitForFunction((before) => document.querySelectorAll("main tbody tr").length < before, logins);

const other = await person({ width: 360, height: 740 });
await other.emulateMedia({ colorScheme: "dark" });
await other.goto(`${given.base}/admin-ui`);
await signIn(other, given.moderator);
await codeBox(other).fill(given.recoveryCode);
await other.keyboard.press("Enter");
await heading(other, "Review queue");
seen.navigation = await other.locator("nav a").allTextContents();
await look(other, "queue of a moderator");
await shot(other, "moderator-dark");
await other.goto(`${given.base}/admin-ui#/orders`);
await other.waitForURL(/#\/queue/);
await other.goto(`${given.base}/admin-ui#/users/${given.learner}`);
await button(other, "Lift").waitFor();
seen.headings = await other.locator("main h2").allTextContents();
await link(other, "Security").click();
await heading(other, "Security");
await other.getByText("9 recovery codes are left").waitFor();
await look(other, "security, dark");
await shot(other, "security-dark");
await link(other, "Audit").click();
await heading(other, "Audit log");
seen.audit = await other.locator("main tbody tr td:nth-child(4)").allTextContents();
await browser.close();
console.log(JSON.stringify({ ...seen, complaints, violations, looked_at }));
