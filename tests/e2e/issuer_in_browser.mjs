// The pages of the stand-in issuers, as people see them: on a phone in the dark, and on a desktop.
// Arguments: a JSON list of issuers {id, url}, the origin of the callback, a folder for pictures, Chromium and its arguments.
import { browse, button, heading } from "./browsing.mjs";

const [issuersJson, callbackOrigin, pictures, executablePath, ...args] = process.argv.slice(2);
const issuers = JSON.parse(issuersJson);
const { browser, complaints, violations, looked_at, person, look } = await browse(executablePath, args, [
  callbackOrigin,
  ...issuers.map(({ url }) => new URL(url).origin),
]);

for (const [size, viewport] of Object.entries({ phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 800 } })) {
  for (const { id, url } of issuers) {
    const page = await person(viewport);
    await page.emulateMedia({ colorScheme: size === "phone" ? "dark" : "light" });
    const see = async (view) => {
      await look(page, `${id} ${view} ${size}`);
      await page.screenshot({ path: `${pictures}/issuer-${id}-${view}-${size}.png`, fullPage: true });
    };
    await page.goto(url);
    await heading(page, "Choose an account");
    await see("first");
    await button(page, "Cancel").click();
    await page.getByText(/access_denied|user_cancelled_authorize/).waitFor();

    await page.goto(url);
    const address = page.getByLabel("E-mail address");
    await address.fill(`a-rather-long-address-of-a-learner-on-a-${size}@${id}.example.com`);
    await address.press("Enter");
    await page.getByText("code=").waitFor();

    await page.goto(url);
    await see("again");
    await page.getByRole("button", { name: new RegExp(`on-a-${size}@`) }).click();
    await page.getByText("code=").waitFor();

    await page.goto(url.replace("response_type=code", "response_type=token"));
    await heading(page, "Access blocked");
    await see("error");
    await page.context().close();
  }
}
await browser.close();
console.log(JSON.stringify({ complaints, violations, looked_at }));
