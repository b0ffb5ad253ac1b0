// Ways to log in on the practice page: codes, passkeys, providers; the account's changes, and its deletion.
// node login_in_browser.mjs <JSON of its arguments>
import { randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { browse, button, heading, link } from "./browsing.mjs";
import { addAuthenticator } from "./virtual_authenticator.mjs";

const { base, issuer, mails, pictures, chromium: executablePath, arguments: args } = JSON.parse(process.argv[2]);
const PASSWORD = "correct horse battery";
const { browser, complaints, violations, looked_at, person, look } = await browse(executablePath, args, [base, issuer]);
const newAddress = () => `u${randomUUID().replaceAll("-", "").slice(0, 12)}@example.com`;
const read = new Set();

/** The text of the next mail to an address that has something; mails that were read before are skipped. */
async function mailed(address, pattern) {
  for (let tries = 0; tries < 400; tries += 1) {
    for (const name of (await readdir(mails).catch(() => [])).sort()) {
      if (read.has(name)) continue;
      const text = (await readFile(`${mails}/${name}`, "utf8")).replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      const found = pattern.exec(text);
      if (!text.includes(address) || !found) continue;
      read.add(name);
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no mail to ${address} has ${pattern}`);
}
const code = async (address) => (await mailed(address, /\b([0-9]{6})\b/))[1];

async function openSignIn(page) {
  await page.goto(base);
  await heading(page, /Speak English/);
  await button(page, "I have an account").click();
  await heading(page, "Sign in");
}

async function openAccount(page) {
  await page.goto(`${base}/#/account`);
  await heading(page, "Account and security");
}

const said = (page, words) => page.locator(".messages").getByText(words).waitFor();
const answer = (page) => page.getByRole("dialog");

async function proveByPassword(page, action) {
  await answer(page).getByLabel("Your password").fill(PASSWORD);
  await answer(page).getByRole("button", { name: action, exact: true }).click();
}

async function signOut(page) {
  await page.goto(`${base}/#/profile`);
  await button(page, "Sign out").click();
  await heading(page, "Sign in");
}

async function chooseAt(page, provider, address, options = []) {
  await page.getByRole("heading", { name: "Choose an account" }).waitFor();
  await page.getByLabel("E-mail address").fill(address);
  for (const each of options) await page.getByLabel(each).check();
  await button(page, "Continue").click();
}

// A code makes an account, on a phone.
const phone = await person({ width: 390, height: 844 });
let address = newAddress();
await openSignIn(phone);
await button(phone, "Continue with Google").waitFor();
await look(phone, "sign in");
await phone.screenshot({ path: `${pictures}/login-phone.png`, fullPage: true });
await button(phone, "E-mail me a code").click();
await phone.getByLabel("E-mail").fill(address);
await look(phone, "ask for a code");
await phone.keyboard.press("Enter");
await heading(phone, "Enter the code");
await look(phone, "enter the code");
await phone.getByLabel("Code").fill("000000");
await phone.keyboard.press("Enter");
await said(phone, /This code is wrong/);
const first = await code(address);
await phone.getByLabel("Code").fill(`${first.slice(0, 3)} ${first.slice(3)}`);
await phone.keyboard.press("Enter");
await heading(phone, "Create your profile");

// The new account gets a password, with a code as the proof.
await openAccount(phone);
await look(phone, "account");
await phone.screenshot({ path: `${pictures}/account-phone.png`, fullPage: true });
await phone.getByText("Set a password", { exact: true }).first().click();
await phone.getByLabel("New password").fill(PASSWORD);
await button(phone, "Set a password").click();
await answer(phone).getByRole("button", { name: "E-mail me a code" }).click();
await look(phone, "proof by code");
await answer(phone).getByLabel("Code").fill(await code(address));
await answer(phone).getByRole("button", { name: "Set the password" }).click();
await said(phone, /Your password is set/);

// A passkey, with a wrong password first.
const authenticator = await addAuthenticator(phone);
await button(phone, "Add a passkey").click();
await answer(phone).getByLabel("Your password").fill("wrong horse battery");
await answer(phone).getByRole("button", { name: "Continue" }).click();
await answer(phone).getByText(/not right/).waitFor();
await look(phone, "proof by password");
await phone.screenshot({ path: `${pictures}/proof-phone.png` });
await proveByPassword(phone, "Continue");
await said(phone, /The passkey is added/);
await look(phone, "account with a passkey");
await signOut(phone);
await button(phone, "Use a passkey").click();
await heading(phone, "Create your profile");

// Google, linked after the passkey has proven the owner; then it logs in.
await openAccount(phone);
await button(phone, "Add Google").click();
await chooseAt(phone, "google", newAddress());
await answer(phone).getByRole("button", { name: "Use a passkey" }).click();
await said(phone, /You can sign in with Google now/);
await signOut(phone);
await button(phone, "Continue with Google").click();
await phone.getByRole("button", { name: /@example\.com/ }).first().click();
await heading(phone, "Create your profile");

// Cancelled at the provider.
await signOut(phone);
await button(phone, "Continue with Google").click();
await button(phone, "Cancel").click();
await heading(phone, "Sign in");
await said(phone, /You were not signed in|not completed/);

// The address changes; the old one takes the account back.
await button(phone, "Use a passkey").click();
await heading(phone, "Create your profile");
await openAccount(phone);
const changed = newAddress();
await phone.getByText("Change the address", { exact: true }).click();
await phone.getByLabel("New e-mail address").fill(changed);
await button(phone, "Continue").click();
await proveByPassword(phone, "Send the code");
await heading(phone, "Confirm your new address");
await look(phone, "confirm the new address");
await phone.getByLabel("Code").fill(await code(changed));
await button(phone, "Change my address").click();
await said(phone, new RegExp(`Your e-mail address is ${changed.replaceAll(".", "\\.")} now`));
const [undo] = await mailed(address, new RegExp(`${base}/undo-email-change\\?token=[\\w.~-]+`));
const desk = await person({ width: 1100, height: 800 });
await desk.goto(undo);
await heading(desk, "Undo the change of your e-mail address");
await look(desk, "undo");
await button(desk, "Take my account back").click();
await heading(desk, "Your e-mail address is back");
await link(desk, "Go to the start page").click();
await desk.goto(base);
await button(desk, "E-mail me a code").click();
await desk.getByLabel("E-mail").fill(address);
await desk.keyboard.press("Enter");
await heading(desk, "Enter the code");
await desk.getByLabel("Code").fill(await code(address));
await desk.keyboard.press("Enter");
await heading(desk, "Create your profile");
await openAccount(desk);
await look(desk, "account at a desk");
await desk.screenshot({ path: `${pictures}/account-desk.png`, fullPage: true });
const afterUndo = await desk.locator("main").innerText();

// The account goes, with a code as the proof.
await desk.goto(`${base}/#/profile`);
await desk.getByText("Delete my account", { exact: true }).click();
await button(desk, "Delete my account …").click();
await answer(desk).getByRole("button", { name: "E-mail me a code" }).click();
await answer(desk).getByLabel("Code").fill(await code(address));
await answer(desk).getByRole("button", { name: "Delete my account for good" }).click();
await said(desk, /Your account and your personal data are deleted/);

// Apple answers with a form and hides the address; its learner has an account at once.
const other = await person({ width: 390, height: 844 });
await openSignIn(other);
await button(other, "Continue with Apple").click();
await chooseAt(other, "apple", newAddress(), ["Hide my address from the app"]);
await heading(other, "Create your profile");

// Google vouches for an address whose account has never verified it: the password links the two.
const third = await person({ width: 390, height: 844 });
const taken = newAddress();
await third.goto(base);
await third.getByLabel("E-mail").fill(taken);
await third.getByLabel("Password").fill(PASSWORD);
await third.keyboard.press("Enter");
await heading(third, "Create your profile");
await signOut(third);
await button(third, "Continue with Google").click();
await chooseAt(third, "google", taken, [/of an organization/]);
await heading(third, "You have an account already");
await look(third, "link by password");
await third.screenshot({ path: `${pictures}/link-phone.png` });
await third.getByLabel("Password").fill(PASSWORD);
await third.keyboard.press("Enter");
await heading(third, "Create your profile");

console.log(JSON.stringify({ complaints, violations, looked_at, afterUndo, authenticator: Boolean(authenticator) }));
await browser.close();
