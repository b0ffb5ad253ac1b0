// A learner without scripts reads the pages of the documents and deletes an account by a mailed link; another deletes one
// in the profile. Prints what they saw as JSON.
// Usage: policy_in_browser.mjs <address> <folder of the mails> <folder for screenshots> <Chromium> <its arguments>
import { randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { browse, button, heading, link } from "./browsing.mjs";

const [base, mails, pictures, executablePath, ...args] = process.argv.slice(2);
const PASSWORD = "correct horse battery";
const PAGES = ["terms", "privacy", "safety", "contact", "delete-account"];
const { browser, complaints, violations, looked_at, person, look } = await browse(executablePath, args, [base]);

async function signUp(page) {
  const email = `u${randomUUID().replaceAll("-", "").slice(0, 12)}@example.com`;
  await page.goto(base);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await heading(page, "Create your profile");
  return email;
}

async function mailed(address) {
  for (let tries = 0; tries < 300; tries += 1) {
    for (const name of await readdir(mails).catch(() => [])) {
      const text = (await readFile(`${mails}/${name}`, "utf8")).replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      const found = new RegExp(`${base}/delete-account\\?token=[\\w.~-]+`).exec(text);
      if (text.includes(address) && found) return found[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no mail to ${address} leads to the deletion`);
}

const phone = await person({ width: 320, height: 740 });
for (const scheme of ["light", "dark"]) {
  await phone.emulateMedia({ colorScheme: scheme });
  for (const name of PAGES) {
    await phone.goto(`${base}/${name}`);
    await look(phone, `${name}, ${scheme}`);
    await phone.screenshot({ path: `${pictures}/${name}-${scheme}.png`, fullPage: true });
  }
}
// On paper: the width of A4 between its margins, and the scheme of the screen does not matter.
await phone.setViewportSize({ width: 658, height: 990 });
await phone.emulateMedia({ media: "print", colorScheme: "dark" });
const printed = [];
const pages = {};
for (const name of PAGES) {
  await phone.goto(`${base}/${name}`);
  printed.push(
    await phone.evaluate(() => {
      const all = [...document.querySelectorAll("body *")].filter((part) => part.getClientRects().length > 0);
      const isCut = (part) => part.scrollWidth > part.clientWidth && getComputedStyle(part).overflowX !== "visible";
      const { color } = getComputedStyle(document.querySelector("h1"));
      return { color, screenOnly: all.filter((part) => part.matches("nav, footer, form, input, button")).length, cut: all.filter(isCut).length };
    }),
  );
  const pdf = await phone.pdf({ path: `${pictures}/${name}.pdf`, format: "A4" });
  pages[name] = pdf.toString("latin1").match(/\/Type \/Page\b/g)?.length;
}
await phone.setViewportSize({ width: 320, height: 740 });
await phone.emulateMedia({ media: "screen" });

// The profile, with the password.
await signUp(phone);
for (const name of ["Terms", "Privacy", "Safety", "Contact", "Delete your account"]) await link(phone, name).waitFor();
await phone.locator("summary", { hasText: "Delete my account" }).focus();
await phone.keyboard.press("Enter");
await look(phone, "deletion in the profile");
await phone.screenshot({ path: `${pictures}/profile-deletion.png`, fullPage: true });
await button(phone, "Delete my account …").click();
await phone.getByLabel("Your password").fill("not the password");
await button(phone, "Delete my account for good").click();
const wrong = await phone.getByRole("dialog").getByRole("alert").filter({ hasText: "password" }).textContent();
await phone.getByLabel("Your password").fill(PASSWORD);
await button(phone, "Delete my account for good").click();
await phone.getByText("Your account and your personal data are deleted.").waitFor();

// The mailed link, in a browser without scripts, by the keyboard.
const email = await signUp(phone);
const plain = await (await browser.newContext({ viewport: { width: 360, height: 740 }, javaScriptEnabled: false })).newPage();
await plain.goto(`${base}/delete-account`);
await plain.getByLabel("E-mail address of your account").focus();
await plain.keyboard.type(email);
await plain.keyboard.press("Enter");
await heading(plain, "Check your e-mail");
await plain.screenshot({ path: `${pictures}/deletion-sent.png`, fullPage: true });
const address = await mailed(email);
await plain.goto(address);
await button(plain, "Delete my account for good").waitFor();
await plain.screenshot({ path: `${pictures}/deletion-confirm.png`, fullPage: true });
await button(plain, "Delete my account for good").focus();
await plain.keyboard.press("Enter");
await heading(plain, "Your account is deleted");
await plain.screenshot({ path: `${pictures}/deletion-done.png`, fullPage: true });
await plain.goto(address);
const again = await plain.getByRole("alert").textContent();
await plain.screenshot({ path: `${pictures}/deletion-used.png`, fullPage: true });
await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at, printed, pages, wrong, again }));
