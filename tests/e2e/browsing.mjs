// Owns a browser on the practice page: windows of people, what the browser complains of, what axe finds.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Open Chromium; pages may ask `origins`, and what they ask of others is a complaint. */
export async function browse(executablePath, args, origins) {
  const browser = await chromium.launch({ executablePath, args });
  const complaints = [];
  const violations = [];
  const looked_at = [];

  /** A window that shares no cookies with the others. */
  async function person(viewport) {
    const context = await browser.newContext({ viewport, deviceScaleFactor: 1 });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const expected = /status of 40[01349]|disconnected|WebSocket connection/;
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !expected.test(message.text())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "blob:" && !origins.includes(origin)) complaints.push(`${request.url()} is elsewhere`);
    });
    return page;
  }

  async function look(page, view) {
    await page.evaluate(axe);
    const { violations: found } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
    for (const { id, impact, nodes } of found) {
      if (["serious", "critical"].includes(impact)) violations.push(`${view}: ${id} ${nodes.map(({ html }) => html).join(" ")}`);
    }
    const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    if (isTooWide) violations.push(`${view}: wider than the screen`);
    looked_at.push(view);
  }

  return { browser, complaints, violations, looked_at, person, look };
}

export const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();
export const button = (page, name) => page.getByRole("button", { name, exact: true });
export const link = (page, name) => page.getByRole("link", { name, exact: true });
