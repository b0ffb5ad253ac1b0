// Two browser pages with fake microphones talk through the typed client; prints what each received as JSON.
// Usage: call_in_browsers.mjs <address of the API> <port of the page> <script of the page> <Chromium> <its arguments>
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [api, port, script, executablePath, ...args] = process.argv.slice(2);
const SECONDS = 30;
const source = await readFile(script);
const pages = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? source : '<!doctype html><link rel="icon" href="data:,"><body><script src="/page.js"></script>');
}).listen(Number(port), "127.0.0.1");

// Playwright gives every browser that it launches a new profile.
const browser = await chromium.launch({ executablePath, args });
const complaints = [];
async function open() {
  // A context each: two people share no cookies.
  const page = await (await browser.newContext()).newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${port}/`);
  return page;
}

const both = await Promise.all([open(), open()]);
const ids = await Promise.all(
  both.map((page) =>
    page.evaluate(([url, name]) => window.learner.signUp(url, name), [api, `u${randomUUID().replaceAll("-", "").slice(0, 20)}`]),
  ),
);
await both[0].reload();
const again = await both[0].evaluate((url) => window.learner.signInAgain(url), api);

const started = performance.now();
const elapsed = () => (performance.now() - started) / 1000;
const topic = randomUUID();
const partners = await Promise.all(both.map((page) => page.evaluate((about) => window.learner.talk(about), topic)));
const connected = elapsed();
let received = [];
do {
  received = await Promise.all(both.map((page) => page.evaluate(() => window.learner.received())));
  await new Promise((resolve) => setTimeout(resolve, 100));
} while (elapsed() < SECONDS && received.some(({ packets, energy }) => packets < 100 || energy <= 0.001));
const within = elapsed();

await both[0].evaluate(() => window.learner.end());
const ended = await both[1].evaluate(() => window.learner.ended());
await browser.close();
pages.close();
console.log(JSON.stringify({ ids, again, partners, connected, within, received, ended, complaints }));
