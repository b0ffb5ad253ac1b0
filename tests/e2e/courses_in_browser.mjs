// A learner takes a free course, buys another and reads notifications on the practice page; prints what was seen as JSON.
// Usage: courses_in_browser.mjs <JSON: base, storage, till, email, password, locked, picture, pictures, chromium, arguments>
import { browse, button, heading, link } from "./browsing.mjs";

const given = JSON.parse(process.argv[2]);
const { base, storage, till } = given;
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, given.arguments, [base, storage, till]);
const page = await person({ width: 390, height: 844 });
const segments = [];
page.on("response", (response) => {
  if (response.url().startsWith(`${storage}/`) && response.request().resourceType() !== "image") segments.push(response.status());
});
const unread = [];
const count = async () => unread.push(await page.locator("#unread").textContent());
const loaded = (selector) => page.waitForFunction((which) => document.querySelector(which)?.naturalWidth > 0, selector);
const shot = (name) => page.screenshot({ path: `${given.pictures}/practice-${name}.png` });

// A visitor with a link to a course logs in and sees it.
await page.goto(`${base}/#/courses`);
await button(page, "I have an account").click();
await page.getByLabel("E-mail").fill(given.email);
await page.getByLabel("Password").fill(given.password);
await page.keyboard.press("Enter");
await heading(page, "Courses");
await page.getByText("You have no courses yet.").waitFor();
await loaded(".picture img");
await look(page, "courses");
await shot("courses");

// A lesson of a course without enrollment says what to do.
await page.goto(`${base}/#/lessons/${given.locked}`);
await page.getByText("This lesson opens with its course.").waitFor();
await look(page, "closed lesson");

// The free course, by the keyboard.
await link(page, "Courses").click();
await link(page, "Small talk that works").focus();
await page.keyboard.press("Enter");
await heading(page, "Small talk that works");
await look(page, "course");
await button(page, "Enroll for free").click();
await page.getByText("You are enrolled.").waitFor();
await page.getByText("0 of 2 lessons done").waitFor();
// Requests fail at first, as with an expired address.
await page.route(/\/playback\//, (route) => route.fulfill({ status: 403 }));
await link(page, "Begin with “Listen first”").click();
await heading(page, "Listen first");
await page.getByText("The video stopped").waitFor();
await page.unroute(/\/playback\//);
await button(page, "Play on").click();

// Two seconds are watched, and are there after a reload that the page does not announce.
const at = (seconds) => page.waitForFunction((from) => document.querySelector("video").currentTime >= from, seconds);
const play = () => page.evaluate(() => document.querySelector("video").play());
await at(2.2);
await look(page, "lesson");
await page.reload();
await page.getByText(/^Resumes at 0:0[2-4]\.$/).waitFor();
await at(2);
const resumed = await page.evaluate(() => document.querySelector("video").currentTime);
await shot("lesson");
const download = page.waitForEvent("download");
await link(page, "words.txt").click();
const file = (await download).suggestedFilename();
await play();
await page.getByText("Well done. This lesson is completed.").waitFor();
await link(page, "Next: Say it after me").click();
await heading(page, "Say it after me");
await button(page, "Mark as done").focus();
await page.keyboard.press("Enter");
await page.getByText("✓ Done").waitFor();
await link(page, "← Small talk that works").click();
await page.getByText("2 of 2 lessons done").waitFor();

// The other one has a price. Who leaves the provider's page comes back to it, and so does who pays.
await link(page, "Courses").click();
await link(page, "Meetings without fear").click();
for (const [choice, title] of [["Go back without paying", "You have not paid"], ["Pay ₹499.00", "Thank you"]]) {
  await button(page, "Buy for ₹499.00").click();
  await page.getByText("a stand-in: no money moves").waitFor();
  // The webhook of the provider waits until the page was seen waiting for it.
  await page.request.post(`${till}/control/webhooks`, { data: { hold: true } });
  await page.getByRole("button", { name: choice === "Go back without paying" ? choice : /^Pay \D*499/ }).click();
  await heading(page, title);
  await look(page, title);
  if (title === "You have not paid") await link(page, "Go to the course").click();
}
await page.getByText(/^The payment is on its way/).waitFor();
await page.waitForFunction(() => document.querySelector("#unread").textContent !== "");
await count();
await page.request.post(`${till}/control/webhooks`, { data: { hold: false } });
await page.getByText("Your payment has arrived, and your course is open.").waitFor();
await page.locator("#notification", { hasText: "Payment received" }).waitFor();
await look(page, "notification");
await count();
await page.getByRole("main").getByRole("link", { name: "Open the course" }).click();
await link(page, "Begin with “Ask for the floor”").waitFor();

// The notifications, in dark, with a second page.
await page.emulateMedia({ colorScheme: "dark" });
await link(page, "Notifications, 22 unread").click();
await heading(page, "Notifications");
await button(page, "Show older ones").click();
await page.getByText("Message 0", { exact: true }).waitFor();
await look(page, "notifications, dark");
await shot("notifications");
await button(page, "Mark as read: Payment received").click();
await link(page, "Notifications, 21 unread").waitFor();
await count();
await button(page, "Mark all as read").click();
await page.getByText("All are read.").waitFor();
await count();
if ((await page.locator("li.unread").count()) > 0) violations.push("something is still new");

// A name, a level and a picture; the rest of the views in dark, and at a desk.
await link(page, "Profile").click();
await page.getByLabel("Username").fill(`u${Date.now()}`);
await button(page, "Save").click();
await heading(page, /^Hello/);
await link(page, "Profile").click();
await page.getByLabel("My picture").setInputFiles(given.picture);
await page.getByText("Your picture is saved.").waitFor();
await loaded(".face img");
await look(page, "profile, dark");
await page.setViewportSize({ width: 1100, height: 800 });
await link(page, "Courses").click();
await page.getByText("2 of 2 lessons done").waitFor();
await look(page, "courses, dark, at a desk");
await page.goBack();
await heading(page, "Your profile");
await page.goto(`${base}/#/lessons/00000000-0000-4000-8000-000000000000`);
await heading(page, "Page not found");
await page.goto(`${base}/#/courses/no-such-course`);
await heading(page, "Page not found");

await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at, unread, resumed, segments, file }));
