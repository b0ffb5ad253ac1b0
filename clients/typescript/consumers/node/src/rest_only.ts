/** The REST part alone: a profile is changed, a refusal has its code and status. */
import { randomUUID } from "node:crypto";
import { ParlanceClient, ParlanceError, unwrap } from "@parlance/client/rest";

const [url = "", address = ""] = process.argv.slice(2);
const client = new ParlanceClient({ url, platform: "ios", deviceId: "phone", headers: { "X-Forwarded-For": address } });
const account = await client.register(`${randomUUID()}@example.com`, "correct horse battery");
await client.rest.PATCH("/users/me", { body: { bio: "I like trains.", country: "BR" } });
// Null clears the biography; the country is absent, so it stays.
const { bio, country } = unwrap(await client.rest.PATCH("/users/me", { body: { bio: null } }));
const refusal = await client.rest
  .GET("/courses/{courseId}", { params: { path: { courseId: randomUUID() } } })
  .then(unwrap)
  .catch((error: unknown) => (error instanceof ParlanceError ? [error.code, error.status] : String(error)));
await client.logout();
const { response, error } = await client.rest.GET("/users/me");
console.log(JSON.stringify({ isSame: client.account === undefined && account.id !== "", bio, country, refusal, after: [response.status, error?.code] }));
