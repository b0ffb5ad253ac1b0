// Partners on the practice page, each in a window of their own and on a server of their own; prints what they saw as JSON.
// Usage: partners_in_browser.mjs <JSON: addresses, e-mail addresses, password, folder for screenshots, Chromium, arguments>
import { browse, button, heading, link } from "./browsing.mjs";
import { received, speaker } from "./speakers.mjs";

const given = JSON.parse(process.argv[2]);
const { browser, complaints, violations, looked_at, person, look } = await browse(given.chromium, given.arguments, given.addresses);
const [first, second, third] = given.addresses;

async function signIn(page, base, email, name) {
  await page.goto(base);
  await button(page, "I have an account").click();
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(given.password);
  await button(page, "Sign in").click();
  await heading(page, `Hello, ${name}`);
}

/** Look at a view as it is on the smallest phone, and in the dark; pictures for people. */
async function view(page, name) {
  const before = page.viewportSize();
  await look(page, name);
  await page.screenshot({ path: `${given.pictures}/${name.replaceAll(" ", "-")}.png`, fullPage: true });
  await page.setViewportSize({ width: 320, height: 640 });
  await page.emulateMedia({ colorScheme: "dark" });
  await look(page, `${name}, small and dark`);
  await page.screenshot({ path: `${given.pictures}/${name.replaceAll(" ", "-")}-small-dark.png`, fullPage: true });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(before);
}

const invite = (page, name) => page.getByRole("button", { name: `Invite ${name} to a call` });
const talking = (page, name) => page.getByText(`You are talking with ${name}.`).waitFor();
const goTo = async (page, name, title) => {
  await link(page, name).click();
  await heading(page, title);
};
const partners = (page) => goTo(page, "Partners", "Your partners");
const banner = (page, name) => page.getByText(`${name} invites you to a call`);

/** Both hang up, and leave the view after the call. */
async function endCall(one, other) {
  await button(one, "Hang up").click();
  await Promise.all([one, other].map((page) => button(page, "Done").click()));
}

/** Note the time of the next press of a button in a page, in milliseconds of this program's clock: that of a page may be moved. */
const notePress = (page) =>
  page.evaluate(() => {
    window.pressedAt = new Promise((resolve) => addEventListener("click", () => resolve(window.readClock()), { capture: true, once: true }));
  });

/** Note when the first audio comes over a connection that a page is still to make. */
const noteAudio = (page) =>
  page.evaluate(() => {
    const before = window.peers.length;
    window.heardAt = (async () => {
      for (;;) {
        const report = window.peers.length > before ? await window.peers.at(-1).getStats() : new Map();
        for (const entry of report.values()) if (entry.type === "inbound-rtp" && entry.packetsReceived > 0) return window.readClock();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
  });

const ada = await speaker(person, { width: 390, height: 844 });
const bo = await speaker(person, { width: 390, height: 844 });
const cy = await speaker(person, { width: 390, height: 844 });
await Promise.all([ada, bo].map((page) => page.exposeFunction("readClock", () => performance.now())));
await Promise.all([signIn(ada, first, given.emails[0], "Ada"), signIn(bo, second, given.emails[1], "Bo"), signIn(cy, first, given.emails[2], "Cy")]);

// Nobody yet, and how partners come about.
await partners(ada);
await ada.getByText("You have no partners yet.").waitFor();
await view(ada, "partners none");
await link(ada, "Find a partner").click();
await heading(ada, "Hello, Ada");
await view(ada, "start");

// A call by search; both ask for each other, one after the call, the other in the list of calls.
await ada.clock.install();
for (const page of [ada, bo]) {
  await page.getByLabel("Topic").fill(given.topic);
  await button(page, "Tap to talk").click();
  if (page === ada) {
    await page.getByText(/^Expected wait: /).waitFor();
    await view(page, "waiting");
  }
}
await Promise.all([talking(ada, "Bo"), talking(bo, "Ada")]);
await Promise.all([ada, bo].map((page) => received(page)));
// As after more than a minute.
await ada.clock.fastForward(70_000);
await button(ada, "Hang up").click();
await heading(ada, "How was your call?");
await button(ada, "4 of 5 stars").click();
await button(ada, "Harder").click();
const wish = ada.getByRole("button", { name: "I want to talk to Bo again" });
await wish.waitFor();
await view(ada, "after the call");
await button(ada, "Send").click();
await ada.getByText("You gave 4 of 5 stars.").waitFor();
await wish.click();
await ada.getByText(/^Noted\. Bo learns of it only if they want it too/).waitFor();
await partners(ada);
const beforeBoth = await ada.getByText("You have no partners yet.").count();
await button(bo, "Done").click();
await goTo(bo, "Calls", "Your calls");
await bo.getByRole("button", { name: "I want to talk to Ada again" }).click();
await ada.getByText("You have a new partner").waitFor();
// The list of the page that is open has them, without a reload.
await invite(ada, "Bo").waitFor();
await goTo(bo, "Calls", "Your calls");
await bo.getByText(/your partner/).waitFor();
await view(bo, "calls");

// Presence, once Bo shares it.
await goTo(bo, "Profile", "Your profile");
await bo.getByLabel("Show partners when I am online").selectOption("yes");
await view(bo, "profile");
await button(bo, "Save").click();
await bo.getByText("Your profile is saved.").waitFor();
await partners(ada);
await ada.getByText("Online").waitFor();
await view(ada, "partners");

// Ada invites; Bo, on another page and another server, accepts.
await goTo(bo, "Courses", "Courses");
await Promise.all([ada, bo].map(noteAudio));
await invite(ada, "Bo").click();
await banner(bo, "Ada").waitFor();
await view(ada, "ringing");
await view(bo, "invited");
await notePress(bo);
await button(bo, "Accept").click();
await Promise.all([talking(ada, "Bo"), talking(bo, "Ada")]);
const [pressedAt, ...heardAt] = await Promise.all([bo.evaluate(() => window.pressedAt), ...[ada, bo].map((page) => page.evaluate(() => window.heardAt))]);
const within = heardAt.map((at) => at - pressedAt);
const receivedFirst = await Promise.all([ada, bo].map((page) => received(page)));

// Cy, who rests from strangers, invites Bo in the call; accepting is refused, and the call goes on.
await button(cy, "Tap to talk").click();
await cy.getByRole("heading", { name: "A short rest" }).waitFor();
await view(cy, "rest");
await link(cy, "Invite a partner").click();
await heading(cy, "Your partners");
await invite(cy, "Bo").click();
await banner(bo, "Cy").waitFor();
await button(bo, "Accept").click();
await bo.getByText("You are in a call. Hang up first, then accept the invitation.").waitFor();
await view(bo, "invited in a call");
const stillTalking = await bo.getByText("You are talking with Ada.").count();
await endCall(bo, ada);
await button(bo, "Decline").click();
await cy.getByText("Bo cannot talk now.").waitFor();
await view(cy, "declined");
const afterDecline = await banner(bo, "Cy").count();

// Cancelled while it rings.
await partners(cy);
await invite(cy, "Bo").click();
await banner(bo, "Cy").waitFor();
await button(cy, "Cancel").click();
await bo.getByText("Cy has taken the invitation back.").waitFor();
await heading(cy, "Your partners");

// Two invitations that cross are one call.
await Promise.all([partners(ada), partners(bo)]);
await Promise.all([invite(ada, "Bo").click(), invite(bo, "Ada").click()]);
await Promise.all([talking(ada, "Bo"), talking(bo, "Ada")]);
const crossed = await Promise.all([ada, bo].map((page) => received(page)));
await endCall(ada, bo);

// An appointment, so soon that the call can begin.
await Promise.all([partners(ada), partners(bo)]);
await ada.getByRole("button", { name: "Propose a time to Bo" }).click();
const soon = await ada.evaluate(() => {
  const two = (number) => String(number).padStart(2, "0");
  const time = new Date(Date.now() + 8 * 60_000);
  return [`${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`, `${two(time.getHours())}:${two(time.getMinutes())}`];
});
const dialog = ada.getByRole("dialog");
await dialog.getByLabel("Day").fill(soon[0]);
await dialog.getByLabel("Time", { exact: true }).fill(soon[1]);
await dialog.getByLabel("Note (optional)").fill("Job interviews?");
await view(ada, "propose");
await dialog.getByRole("button", { name: "Propose" }).click();
await ada.getByText("Waiting for Bo to answer").waitFor();
await bo.getByText("Ada proposes this time").waitFor();
await view(bo, "proposed");
await bo.getByRole("button", { name: /^Accept the call with Ada/ }).click();
await bo.getByText("Agreed").waitFor();
await ada.getByText("Agreed").waitFor();
await view(ada, "agreed");
await ada.getByRole("button", { name: "Call Bo now" }).click();
await button(bo, "Accept").click();
await Promise.all([talking(ada, "Bo"), talking(bo, "Ada")]);
await endCall(bo, ada);

// Another is declined, and a partner removed.
await Promise.all([partners(ada), partners(bo)]);
await bo.getByRole("button", { name: "Propose a time to Ada" }).click();
await bo.getByRole("dialog").getByRole("button", { name: "Propose" }).click();
await ada.getByRole("button", { name: /^Decline the call with Bo/ }).click();
await ada.getByText("Bo proposes this time").waitFor({ state: "detached" });
await bo.getByText("Waiting for Ada to answer").waitFor({ state: "detached" });
await ada.getByRole("button", { name: "Remove Bo from your partners" }).click();
await view(ada, "remove");
await ada.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
await ada.getByText("You have no partners yet.").waitFor();

// Where strangers are not met, the page stands on its own.
await signIn(cy, third, given.emails[2], "Cy");
const choices = await cy.getByLabel("Whom to meet").locator("option").allInnerTexts();
await view(cy, "without strangers");

await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at, within, received: receivedFirst, crossed, stillTalking, afterDecline, beforeBoth, choices }));
