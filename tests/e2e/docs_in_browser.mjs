// Opens both documentation pages as a reader does; prints what they show and every complaint of the browser as JSON.
// Usage: docs_in_browser.mjs <base address> <path of Chromium> <access token> <folder for screenshots>
import { chromium } from "playwright-core";

const [base, executablePath, token, screenshots] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
context.setDefaultTimeout(15_000);
const complaints = [];

async function open(path) {
  const page = await context.newPage();
  const complain = (what) => complaints.push(`${path}: ${what}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complain(message.text());
  });
  page.on("pageerror", (error) => complain(error.message));
  page.on("requestfailed", (request) => complain(`${request.url()} ${request.failure().errorText}`));
  page.on("response", (response) => {
    if (response.status() >= 400) complain(`${response.url()} answered ${response.status()}`);
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (!["data:", "blob:"].includes(protocol) && origin !== base) complain(`${request.url()} is elsewhere`);
  });
  await page.goto(base + path);
  return page;
}

async function leave(page, name) {
  await page.screenshot({ path: `${screenshots}/${name}.png` });
  await page.close();
}

const rest = await open("/docs");
await rest.locator(".opblock").first().waitFor();
const operations = await rest.locator(".opblock-summary").evaluateAll((summaries) =>
  summaries.map((summary) => {
    const text = (selector) => summary.querySelector(selector).textContent.replaceAll("\u200b", "");
    return `${text(".opblock-summary-method")} ${text(".opblock-summary-path")}`;
  }),
);
await rest.locator("button.authorize").first().click();
await rest.locator(".auth-container").first().locator("input").fill(token);
await rest.locator(".auth-container").first().locator("button.authorize").click();
await rest.locator("button.btn-done").first().click();
const profile = rest.locator(".opblock-get").filter({ has: rest.locator("[data-path='/users/me']") });
await profile.locator(".opblock-summary-control").click();
await profile.getByRole("button", { name: "Try it out" }).click();
await profile.getByRole("button", { name: "Execute" }).click();
const answer = await profile.locator(".live-responses-table .highlight-code").first().textContent();
await leave(rest, "rest");

const again = await open("/docs");
await again.locator("button.authorize.locked").waitFor();
await again.getByRole("link", { name: "Events", exact: true }).click();
await again.locator("#operations").waitFor();
await leave(again, "navigation");

const events = await open("/docs/events");
await events.locator("#operations").waitFor();
const titles = await events.locator("#operations h3:has(span.font-mono)").allTextContents();
for (const button of await events.locator("#operations li").first().locator("button").all()) await button.click();
await leave(events, "events");

await browser.close();
console.log(JSON.stringify({ complaints, operations, answer, events: titles }));
