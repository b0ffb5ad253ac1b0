/** Accounts of the programs in this folder, and what they have seen, printed as JSON at the end.
 * Arguments of each program: <URL of the API> <client address for X-Forwarded-For> */
import { randomUUID } from "node:crypto";
import { ParlanceClient, ParlanceError, type RealtimeClient, unwrap } from "@parlance/client";

const [url = "", address = ""] = process.argv.slice(2);
export const api = { url, headers: { "X-Forwarded-For": address } };
export const PASSWORD = "correct horse battery";
export const seen: Record<string, unknown> = {};
const stuck = () => {
  console.error("stuck, having seen", JSON.stringify(seen));
  process.exit(1);
};
setTimeout(stuck, 45_000).unref();

export const refusal = (reason: unknown) => (reason instanceof ParlanceError ? reason.code : String(reason));

const phone = () => new ParlanceClient({ ...api, platform: "android", deviceId: "phone" });

export async function register(): Promise<ParlanceClient> {
  const client = phone();
  const username = `u${randomUUID().replaceAll("-", "").slice(0, 20)}`;
  await client.register(`${username}@example.com`, PASSWORD);
  unwrap(await client.rest.PATCH("/users/me", { body: { username, englishLevel: "intermediate" } }));
  return client;
}

export async function login(email: string): Promise<ParlanceClient> {
  const client = phone();
  await client.login(email, PASSWORD);
  return client;
}

/** The next event of that name; listened for from now on. */
export const next = <T>(realtime: RealtimeClient, event: string) =>
  new Promise<T>((resolve) => realtime.socket.once(event as never, resolve as never));
