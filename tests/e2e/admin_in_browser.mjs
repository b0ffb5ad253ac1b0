// Works on the admin page as an operator does; prints what it saw and every complaint of the browser as JSON.
// Usage: admin_in_browser.mjs <JSON: base, chromium, admin, learner, password, banned, screenshots, clip, storage, token, learnerId>
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: given.chromium,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "UTC" });
context.setDefaultTimeout(15_000);
const page = await context.newPage();
const complaints = [];
page.on("console", (message) => {
  // What is tried includes a refused login, a file that is no video, a lost picture and a decided one, which the browser notes.
  if (["error", "warning"].includes(message.type()) && !/status of (401|403|404|409|415)/.test(message.text())) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(error.message));
page.on("request", (request) => {
  const { origin } = new URL(request.url());
  const isPicture = origin === given.storage && request.resourceType() === "image";
  if (origin !== given.base && !isPicture) complaints.push(`${request.url()} is elsewhere`);
});
const seen = {};
const shot = (name) => page.screenshot({ path: `${given.screenshots}/admin-${name}.png` });
const status = async (text) => page.locator("#status", { hasText: text }).waitFor();

async function signIn(email, password) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
}

await page.goto(`${given.base}/admin-ui`);
await signIn(given.admin, "not this one");
await page.getByRole("alert").filter({ hasText: /./ }).waitFor();
seen.wrongPassword = await page.getByRole("alert").textContent();
await signIn(given.learner, given.password);
await page.getByRole("alert").filter({ hasText: "administrator" }).waitFor();
seen.learner = await page.getByRole("alert").textContent();

await signIn(given.admin, given.password);
await page.getByRole("heading", { name: "Overview" }).waitFor();
seen.tiles = Object.fromEntries(
  await page.locator(".tile").evaluateAll((tiles) =>
    tiles.map((tile) => [tile.querySelector("span").textContent, tile.querySelector("strong").textContent]),
  ),
);
seen.bars = await page.locator(".chart rect").count();
await shot("overview");

await page.getByRole("link", { name: "Accounts", exact: true }).click();
await page.getByRole("searchbox").fill(given.banned);
await page.keyboard.press("Enter");
await page.waitForURL(/search=/);
await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length === 1);
await page.locator("td[data-label=E-mail]", { hasText: given.banned }).waitFor();
seen.found = await page.locator("main tbody tr").count();
await page.locator("main tbody tr a").first().click();
await page.getByRole("button", { name: "Issue a sanction" }).click();
await page.getByLabel("Kind").selectOption("suspension");
await page.getByLabel("Days").fill("400");
seen.tooLong = await page.getByLabel("Days").evaluate((input) => !input.checkValidity());
await page.getByLabel("Kind").selectOption("ban");
seen.banHasDays = await page.getByLabel("Days").isVisible();
await page.getByLabel("What happened").fill("You shouted at <b>everybody</b>.");
await shot("ban");
await page.getByRole("dialog").getByRole("button", { name: "Issue" }).click();
await status("is issued");
await page.locator("h1 ~ .badge", { hasText: "banned" }).waitFor();
await page.getByRole("button", { name: "Lift", exact: true }).click();
await page.getByLabel("Reason").fill("It was another learner.");
await page.getByRole("dialog").getByRole("button", { name: "Lift" }).click();
await status("is lifted");
await page.locator("td[data-label=State] .badge", { hasText: "lifted" }).waitFor();
await page.setViewportSize({ width: 360, height: 740 });
seen.sanctionsTooWide = await page.evaluate(() => [...document.querySelectorAll("main *")].filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML.slice(0, 80)));
await shot("sanctions-phone");
await page.setViewportSize({ width: 1280, height: 900 });

await page.getByRole("link", { name: "Reports", exact: true }).click();
await page.getByLabel("Status").selectOption("pending");
await page.waitForURL(/status=pending/);
await page.getByRole("button", { name: "Review" }).first().waitFor();
seen.pending = await page.getByRole("button", { name: "Review" }).count();
await shot("reports");
await page.getByRole("button", { name: "Review" }).first().click();
await page.getByLabel("Verdict").selectOption("dismissed");
await page.getByLabel("Note").fill("<b>nothing</b> to it");
await page.getByRole("dialog").getByRole("button", { name: "Review" }).click();
await status("reviewed");
await page.waitForFunction(
  (before) => [...document.querySelectorAll("main button")].filter((each) => each.textContent === "Review").length < before,
  seen.pending,
);

await page.getByRole("link", { name: "Pictures", exact: true }).click();
const photo = page.locator("img.photo");
await page.locator("span.photo", { hasText: "cannot be loaded" }).waitFor();
seen.photo = await photo.evaluate((image) => image.decode().then(() => image.naturalWidth));
await shot("pictures");
await page.setViewportSize({ width: 320, height: 640 });
seen.picturesTooWide = await page.locator("main table").evaluate((table) => {
  const edge = table.getBoundingClientRect().right;
  return [table, ...table.querySelectorAll("tbody *")].filter((each) => each.getBoundingClientRect().right > Math.min(edge, innerWidth)).map((each) => each.outerHTML.slice(0, 80));
});
await shot("pictures-phone");
const lost = page.locator("tbody tr", { has: page.locator("span.photo") });
await lost.getByRole("button", { name: "Remove" }).click();
await page.getByLabel("Note").fill("<b>no</b> such file");
await shot("pictures-dialog");
await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
await status("is removed");
await lost.waitFor({ state: "detached" });
await page.setViewportSize({ width: 1280, height: 900 });
// Another administrator keeps what is about to be removed here.
await page.getByRole("button", { name: "Remove" }).click();
const kept = await fetch(`${given.base}/admin/pictures/${given.learnerId}/decision`, {
  method: "POST",
  headers: { Authorization: `Bearer ${given.token}`, "Content-Type": "application/json" },
  body: JSON.stringify({ avatarUrl: await photo.getAttribute("src"), outcome: "keep" }),
});
seen.kept = kept.status;
await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
await status("no longer waits");
seen.conflict = await page.locator("#status").textContent();
await page.locator("p.card", { hasText: "No picture waits" }).waitFor();

await page.getByRole("link", { name: "Orders", exact: true }).click();
for (const amount of ["100", ""]) {
  await page.getByRole("button", { name: "Refund" }).first().click();
  await page.getByLabel("Amount in INR").fill(amount);
  await page.getByLabel("Reason").fill("half of it was missing");
  await page.getByRole("dialog").getByRole("button", { name: "Refund" }).click();
  await status("on its way");
  await page.locator("#status").evaluate((element) => (element.textContent = ""));
  for (let turn = 0; turn < 100; turn++) {
    const back = await page.locator("main tbody tr").first().locator("td").nth(4).textContent();
    if (back.includes(amount ? "100.00" : "499.00")) break;
    await page.evaluate(() => dispatchEvent(new HashChangeEvent("hashchange")));
    await page.waitForTimeout(100);
  }
}
seen.order = await page.locator("main tbody tr").first().innerText();
await shot("orders");

await page.getByRole("link", { name: "Courses", exact: true }).click();
await page.getByRole("button", { name: "New course" }).click();
await page.getByLabel("Title").fill("Idioms & <b>sayings</b>");
await page.getByLabel("Currency").fill("inr");
await page.getByLabel("Price").fill("499.5");
await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
await page.getByRole("heading", { name: "Idioms & <b>sayings</b>" }).waitFor();
seen.price = await page.locator("main .card p").first().textContent();
for (const title of ["Second", "First"]) {
  await page.getByRole("button", { name: "Add a lesson" }).click();
  await page.getByLabel("Title").fill(title);
  await page.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  await page.locator("td[data-label=Lesson]", { hasText: title }).waitFor();
}
await page.getByRole("button", { name: "Move First up" }).click();
await page.locator("main tbody tr").first().locator("td[data-label=Lesson]", { hasText: "First" }).waitFor();
const video = page.locator("main tbody tr").first().locator(".video");
await page.getByLabel("Video for First").setInputFiles({ name: "no.mp4", mimeType: "video/mp4", buffer: Buffer.from("not a video at all") });
await page.locator("#status", { hasText: /./ }).waitFor();
seen.noVideo = await page.locator("#status").textContent();
await page.getByLabel("Video for First").setInputFiles(given.clip);
await video.getByRole("progressbar").waitFor();
await shot("courses");
await video.locator(".badge", { hasText: "ready" }).waitFor({ timeout: 60_000 });
seen.video = await video.innerText();
await page.getByRole("button", { name: "Publish" }).click();
await page.getByRole("button", { name: "Unpublish" }).waitFor();

await page.getByRole("link", { name: "Audit", exact: true }).click();
await page.getByRole("heading", { name: "Audit log" }).waitFor();
seen.audit = await page.locator("main tbody tr td:nth-child(4)").allTextContents();

await page.setViewportSize({ width: 390, height: 844 });
await page.getByRole("link", { name: "Overview", exact: true }).click();
await page.getByRole("heading", { name: "Overview" }).waitFor();
await page.getByRole("link", { name: "Accounts", exact: true }).click();
await page.getByRole("heading", { name: "Accounts" }).waitFor();
await page.locator("main tbody tr").first().waitFor();
const tooWide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
seen.tooWide = [await tooWide()];
await shot("phone");
await page.getByRole("link", { name: "Courses", exact: true }).click();
await page.getByRole("link", { name: "Idioms & <b>sayings</b>" }).click();
await page.getByLabel("Video for First").waitFor();
seen.tooWide.push(await tooWide());
seen.unlabelled = await page.locator("input, select, textarea").evaluateAll((all) => all.filter((each) => !each.labels.length).length);

await page.getByRole("button", { name: "Sign out" }).click();
await page.getByRole("alert").filter({ hasText: "signed out" }).waitFor();
seen.stored = await page.evaluate(() => JSON.stringify({ ...localStorage }));
await browser.close();
console.log(JSON.stringify({ ...seen, complaints }));
