// Opens the documentation pages as a reader does; prints what they show and every complaint of the browser as JSON.
// Usage: docs_in_browser.mjs <base address> <e-mail address> <password> <address of staff, same password> <recovery code>
//   <folder for screenshots> <Chromium> <its arguments>
import { browse } from "./browsing.mjs";

const [base, email, password, staff, recoveryCode, screenshots, chromium, ...args] = process.argv.slice(2);
const { browser, complaints, violations, looked_at, person, look } = await browse(chromium, args, [base, "data:"]);
const desktop = { width: 1280, height: 900 };
const phone = { width: 390, height: 844 };
const seen = {};

async function open(page, path) {
  await page.goto(base + path);
  await page.locator("#main h1, #viewer h1").first().waitFor();
}

const page = await person(desktop);
await open(page, "/docs");
seen.groups = (await page.locator("aside").innerText()).split("\n");
await page.locator("aside").getByRole("button", { name: "Search" }).click();
await page.getByRole("combobox", { name: "search" }).waitFor();
await page.keyboard.type("refresh token");
await page.getByRole("option").first().waitFor();
seen.found = await page.getByRole("option").allInnerTexts();
await page.keyboard.press("Escape");

// One login for both pages of the tab.
await page.locator("#open-login").click();
await page.locator("#login-email").fill(email);
await page.locator("#login-password").fill("not the password");
await page.keyboard.press("Enter");
await page.locator("#login-message:not(:empty)").waitFor();
seen.refusal = await page.locator("#login-message").textContent();
await page.locator("#login-password").fill(password);
await page.keyboard.press("Enter");
await page.locator("#open-login", { hasText: email }).waitFor();

await page.goto("about:blank");
await page.goto(`${base}/docs#tag/users/getMe`);
const operation = page.locator("section[id$='/tag/users/getMe'], [id$='tag/users/getMe']").first();
await operation.getByRole("heading").first().waitFor();
seen.operation = await operation.innerText();
await operation.getByRole("button", { name: "Test Request" }).click();
await page.getByRole("button", { name: /^Send/ }).first().click();
await page.getByText("200 OK").waitFor();
await page.getByText(email).last().waitFor();
await page.screenshot({ path: `${screenshots}/rest.png` });

await page.goto(`${base}/docs/events`);
await page.locator("page-part[template=console]").waitFor();
seen.steps = await page.locator(".sequence ol").first().locator(".step").allInnerTexts();
seen.sendable = await page.locator("#console-event option").allInnerTexts();
await page.locator("[data-do=connect]").click();
await page.locator("[data-is=status]", { hasText: "Connected." }).waitFor();
await page.locator("#console-event").selectOption("cancel_search");
await page.locator(".console form .primary").click();
await page.locator(".log .acknowledged").first().waitFor();
await page.locator("[data-do=drop]").click();
await page.locator(".log .connected").nth(1).waitFor();
seen.log = await page.locator(".log li b").allInnerTexts();
await page.screenshot({ path: `${screenshots}/events.png` });

// Staff with a second factor are asked for a code after the password.
const desk = await person(desktop);
await open(desk, "/docs");
await desk.locator("#open-login").click();
seen.hasCodeAtFirst = await desk.locator("#login-code").isVisible();
await desk.locator("#login-email").fill(staff);
await desk.locator("#login-password").fill(password);
await desk.keyboard.press("Enter");
await desk.locator("#login-code").waitFor();
await desk.screenshot({ path: `${screenshots}/login-code.png` });
await desk.keyboard.type(recoveryCode);
await desk.keyboard.press("Enter");
await desk.locator("#open-login", { hasText: staff }).waitFor();

for (const [viewport, colorScheme] of [[desktop, "light"], [phone, "dark"]]) {
  const reader = await person(viewport);
  await reader.emulateMedia({ colorScheme });
  for (const path of ["/docs", "/docs/events", "/docs/guide", "/docs/guide/performance", "/no-such-page"]) {
    await open(reader, path);
    await look(reader, `${path} ${colorScheme}`);
    await reader.screenshot({ path: `${screenshots}/${path.replaceAll("/", "-").slice(1)}-${colorScheme}.png` });
  }
  seen[colorScheme] = await reader.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await reader.context().close();
}

await browser.close();
console.log(JSON.stringify({ ...seen, complaints, violations, looked_at }));
