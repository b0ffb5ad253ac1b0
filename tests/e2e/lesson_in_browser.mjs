// A page with hls.js plays a lesson by its link; prints what it saw as JSON.
// Usage: lesson_in_browser.mjs <port of the page> <hls.js> <link> <Chromium> <its arguments>
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [port, library, link, executablePath, ...args] = process.argv.slice(2);
const source = await readFile(library);
const pages = createServer((request, response) => {
  const isScript = request.url === "/hls.js";
  response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
  response.end(
    isScript ? source : '<!doctype html><link rel="icon" href="data:,"><body><video muted></video><script src="/hls.js"></script>',
  );
}).listen(Number(port), "127.0.0.1");

const browser = await chromium.launch({ executablePath, args });
const page = await browser.newPage();
const complaints = [];
const fetched = [];
page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(error.message));
page.on("response", (response) => fetched.push([new URL(response.url()).origin, response.status()]));
await page.goto(`http://127.0.0.1:${port}/`);
const seen = await page.evaluate(async (url) => {
  const video = document.querySelector("video");
  const hls = new Hls({ enableWorker: false });
  const failures = [];
  hls.on(Hls.Events.ERROR, (_, data) => data.fatal && failures.push(`${data.type} ${data.details}`));
  hls.loadSource(url);
  hls.attachMedia(video);
  await new Promise((resolve) => hls.on(Hls.Events.MANIFEST_PARSED, resolve));
  const levels = hls.levels.map((level) => level.height);
  hls.currentLevel = 0;
  await video.play();
  const deadline = performance.now() + 20_000;
  while (!video.ended && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 100));
  const { ended, duration, videoWidth, videoHeight } = video;
  const { totalVideoFrames } = video.getVideoPlaybackQuality();
  return { levels, ended, duration, videoWidth, videoHeight, totalVideoFrames, failures };
}, link);
await browser.close();
pages.close();
console.log(JSON.stringify({ ...seen, fetched, complaints }));
