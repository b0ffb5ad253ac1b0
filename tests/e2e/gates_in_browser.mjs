// Two learners pass the gates of the practice page on a phone, one of them too young; prints what they saw as JSON.
// Usage: gates_in_browser.mjs <address> <folder of the mails> <folder for screenshots> <Chromium> <its arguments>
import { randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { browse, button, heading } from "./browsing.mjs";

const [base, mails, pictures, executablePath, ...args] = process.argv.slice(2);
const { browser, complaints, violations, looked_at, person, look } = await browse(executablePath, args, [base]);

async function signUp(page) {
  const address = `u${randomUUID().replaceAll("-", "").slice(0, 24)}@example.com`;
  await page.goto(base);
  await page.getByLabel("E-mail").fill(address);
  await page.getByLabel("Password").fill("correct horse battery");
  await page.keyboard.press("Enter");
  await heading(page, "Verify your e-mail address");
  return address;
}

async function verify(page, address) {
  let found;
  for (let tries = 0; tries < 200 && !found; tries += 1) {
    for (const name of await readdir(mails).catch(() => [])) {
      const text = (await readFile(`${mails}/${name}`, "utf8")).replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      if (text.includes(address)) found = new RegExp(`${base}/verify-email\\?token=[\\w.~-]+`).exec(text)?.[0] ?? found;
    }
    if (!found) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const tab = await page.context().newPage();
  await tab.goto(found);
  await button(tab, "Verify").click();
  await heading(tab, "Your e-mail address is verified");
  await tab.close();
}

const phone = await person({ width: 360, height: 740 });
await phone.emulateMedia({ colorScheme: "dark" });
const address = await signUp(phone);
await look(phone, "address");
await phone.screenshot({ path: `${pictures}/gate-address.png` });
await button(phone, "Send it again").click();
await phone.getByText("Another e-mail is on its way.").waitFor();
await button(phone, "Continue").click();
await heading(phone, "Verify your e-mail address");
await verify(phone, address);
await button(phone, "Continue").click();
await heading(phone, "When were you born?");
await look(phone, "age");
const preset = await phone.getByLabel("Date of birth").inputValue();
const asked = await phone.locator("main").innerText();
await phone.screenshot({ path: `${pictures}/gate-age.png` });
await phone.getByLabel("Date of birth").fill("1998-04-23");
await phone.keyboard.press("Enter");
await heading(phone, "Before you talk with others");
await look(phone, "documents");
await phone.screenshot({ path: `${pictures}/gate-documents.png`, fullPage: true });
const boxes = phone.getByRole("checkbox");
const ticked = await boxes.evaluateAll((all) => all.filter((each) => each.checked).length);
// With the keyboard alone; one box less than all keeps the form.
for (let index = 0; index < (await boxes.count()); index += 1) {
  await button(phone, "Continue").click();
  await heading(phone, "Before you talk with others");
  await boxes.nth(index).focus();
  await phone.keyboard.press("Space");
}
await phone.keyboard.press("Enter");
await heading(phone, "Create your profile");
await phone.getByLabel("Username").fill(address.split("@")[0]);
await button(phone, "Save").click();
await heading(phone, /^Hello, /);

const child = await person({ width: 360, height: 740 });
await verify(child, await signUp(child));
await button(child, "Continue").click();
await heading(child, "When were you born?");
await child.getByLabel("Date of birth").fill(`${new Date().getUTCFullYear() - 15}-01-01`);
await button(child, "Continue").click();
await heading(child, "You cannot talk with others here");
await look(child, "too young");
await child.screenshot({ path: `${pictures}/gate-too-young.png` });
const refusal = await child.locator("main").innerText();
await child.reload();
await heading(child, "You cannot talk with others here");

await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at, preset, asked, ticked, refusal }));
