// Adds passkeys on the admin page, logs in with them, alone and in place of a code, proves one again, and removes them.
// Usage: passkeys_in_browser.mjs <JSON: base, chromium, python, database, password, admin, learner, screenshots>
import { execFileSync } from "node:child_process";
import { browse, button, heading, link } from "./browsing.mjs";
import { addAuthenticator } from "./virtual_authenticator.mjs";

const given = JSON.parse(process.argv[2]);
const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, args, [given.base]);
const python = (program, ...more) => execFileSync(given.python, ["-c", program, ...more], { encoding: "utf8" }).trim();
const code = (secret) => python("import pyotp, sys, time; print(pyotp.TOTP(sys.argv[1]).at(time.time() - 30))", secret);
/** Let each login have proven its factor too long ago. */
const ageProofs = () =>
  python(
    "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(" +
      "\"UPDATE refresh_tokens SET factor_proven_at = now() - interval '11 minutes' WHERE factor_proven_at IS NOT NULL\")",
    given.database,
  );
const seen = {};
const shot = (page, name) => page.screenshot({ path: `${given.screenshots}/passkeys-${name}.png`, fullPage: true });
const status = (page, text) => page.locator("#status", { hasText: text }).waitFor();
const dialog = (page) => page.getByRole("dialog");
const rows = (page) => page.locator("table", { hasText: "Passkeys" }).locator("tbody tr");

async function signIn(page) {
  await page.getByLabel("E-mail").fill(given.admin);
  await page.getByLabel("Password").fill(given.password);
  await page.keyboard.press("Enter");
}

async function addPasskey(page, name) {
  await button(page, "Add a passkey").click();
  await dialog(page).getByLabel("What you call it").fill(name);
  await dialog(page).getByLabel("Password").fill(given.password);
  await button(page, "Continue").click();
}

const page = await person({ width: 360, height: 740 });
process.on("uncaughtException", async (e) => { await shot(page, "FAIL").catch(() => {}); console.error(e, await page.locator("body").innerText(), complaints); process.exit(1); });
const phone = await addAuthenticator(page);
await page.goto(`${given.base}/admin-ui`);
await button(page, "Sign in with a passkey").waitFor();
await look(page, "login");
await shot(page, "login");
// An authenticator without a passkey of this service.
await button(page, "Sign in with a passkey").click();
await page.getByRole("alert").filter({ hasText: "No passkey was used" }).waitFor();
await signIn(page);
await heading(page, "Security");
await look(page, "no factor");
await shot(page, "missing");
await button(page, "Add a passkey").click();
await look(page, "dialog");
await dialog(page).getByLabel("Password").fill("not the password");
await button(page, "Continue").click();
await dialog(page).getByRole("alert").filter({ hasText: /\w/ }).waitFor();
await shot(page, "dialog");
await button(page, "Cancel").click();
await addPasskey(page, "Phone");
await rows(page).filter({ hasText: "Phone" }).waitFor();
await look(page, "passkey");
await shot(page, "added");
// Its first factor: administration is open at once.
await link(page, "Overview").click();
await heading(page, "Overview");
await page.locator(".tiles").first().waitFor();
await link(page, "Security").click();
// The authenticator has one of this account already.
await addPasskey(page, "Phone again");
await dialog(page).getByRole("alert").filter({ hasText: "has a passkey of the account already" }).waitFor();
await button(page, "Cancel").click();
await button(page, "Sign out").click();

// Alone, without an address.
await button(page, "Sign in with a passkey").click();
await heading(page, "Security");
await link(page, "Overview").click();
await heading(page, "Overview");
// A user whom the authenticator does not recognise is not logged in.
await button(page, "Sign out").click();
await phone.recognise(false);
await button(page, "Sign in with a passkey").click();
await page.getByRole("alert").filter({ hasText: "No passkey was used" }).waitFor();
await phone.recognise(true);
// In place of the code.
await signIn(page);
await button(page, "Use a passkey in place of the code").waitFor();
await look(page, "login with a factor");
await shot(page, "factor");
await button(page, "Use a passkey in place of the code").click();
await heading(page, "Overview");

// Proven again, where there is no app.
ageProofs();
await page.reload();
await heading(page, "Overview");
await page.goto(`${given.base}/admin-ui#/users/${given.learner}`);
await button(page, "Issue a sanction").click();
await page.getByLabel("Kind").selectOption("ban");
await page.getByLabel("What happened").fill("You shouted at everybody.");
await button(page, "Issue").click();
await page.getByRole("heading", { name: "Confirm that it is you" }).waitFor();
await look(page, "step-up");
await shot(page, "step-up");
await button(page, "Use a passkey").click();
await status(page, "is issued");

// With an app beside it.
await link(page, "Security").click();
await button(page, "Set up an authenticator app").click();
await dialog(page).getByLabel("Password").fill(given.password);
await button(page, "Continue").click();
await page.getByRole("img", { name: "QR code" }).waitFor();
const secret = (await page.locator("code.secret").textContent()).replaceAll(" ", "");
await page.getByLabel("Six digits").fill(code(secret));
await page.keyboard.press("Enter");
await button(page, "I have kept them").click();
await page.getByText("10 recovery codes are left").waitFor();
ageProofs();
await page.reload();
await rows(page).first().waitFor();
await addPasskey(page, "Key");
await page.getByRole("heading", { name: "Confirm that it is you" }).waitFor();
await shot(page, "step-up-with-app");
await button(page, "Use a passkey").click();
// The same authenticator refuses a second one; another device takes it.
await dialog(page).getByRole("alert").filter({ hasText: "has a passkey of the account already" }).waitFor();
await button(page, "Cancel").last().click();
const [credential] = await phone.credentials();
await phone.remove();
const laptop = await addAuthenticator(page);
await addPasskey(page, "Laptop");
await rows(page).filter({ hasText: "Laptop" }).waitFor();
seen.rows = await rows(page).count();
seen.credentials = (await laptop.credentials()).length;

// On a wide screen, with a passkey that a password manager has brought there.
const wide = await person({ width: 1280, height: 800 });
await wide.emulateMedia({ colorScheme: "dark" });
const synced = await addAuthenticator(wide);
await synced.add(credential);
await wide.goto(`${given.base}/admin-ui`);
await button(wide, "Sign in with a passkey").click();
await heading(wide, "Overview");
await link(wide, "Security").click();
await rows(wide).filter({ hasText: "Phone" }).waitFor();
await look(wide, "security, wide and dark");
await shot(wide, "wide-dark");
await button(wide, "Remove Phone").click();
await dialog(wide).getByRole("button", { name: "Remove", exact: true }).click();
await status(wide, "The passkey is removed");
await rows(wide).filter({ hasText: "Phone" }).waitFor({ state: "detached" });
await button(wide, "Sign out").click();
await button(wide, "Sign in with a passkey").click();
await wide.getByRole("alert").filter({ hasText: "passkey" }).waitFor();
seen.refused = await wide.getByRole("alert").textContent();
await shot(wide, "refused");
await browser.close();
console.log(JSON.stringify({ ...seen, complaints, violations, looked_at }));
