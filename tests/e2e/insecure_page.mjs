// Opens the practice page over http at a host that is not loopback; prints its heading and text as JSON.
import { browse, heading } from "./browsing.mjs";

const [base, pictures, executable, ...args] = process.argv.slice(2);
const url = new URL(base);
url.hostname = "parlance.lan";
const { browser, complaints, violations, person, look } = await browse(executable, [...args, "--host-resolver-rules=MAP parlance.lan 127.0.0.1"], [url.origin]);
const page = await person({ width: 390, height: 844 });
await page.goto(url.href);
await heading(page, "This page needs https");
await look(page, "without https");
await page.screenshot({ path: `${pictures}/page-without-https.png` });
console.log(JSON.stringify({ text: await page.locator("main").innerText(), complaints, violations }));
await browser.close();
