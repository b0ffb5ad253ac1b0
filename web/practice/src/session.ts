/** The API client of this page. */
import { ParlanceClient, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me, Partnership, WayToMeet } from "../../../clients/typescript/src/openapi.js";

/** Get this browser's device id, the same for each login. */
function device(): string {
  const known = localStorage.getItem("device");
  if (known) return known;
  // `crypto.randomUUID` is missing where the page is not secure, which main.ts reports.
  const made = `web-${Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  localStorage.setItem("device", made);
  return made;
}

export const parlance = new ParlanceClient({
  url: location.origin,
  platform: "web",
  deviceId: device(),
  deviceProof: localStorage.getItem("deviceProof") ?? undefined,
  onCredentials: ({ deviceProof }) => deviceProof && localStorage.setItem("deviceProof", deviceProof),
});

export async function me(): Promise<Me> {
  return unwrap(await parlance.rest.GET("/users/me"));
}

/** The same key for each attempt with one content, so that one whose answer was lost has no second effect. */
export function idempotencyKey(keys: Map<string, string>, content: unknown): string {
  const text = JSON.stringify(content);
  const key = keys.get(text) ?? crypto.randomUUID();
  keys.set(text, key);
  return key;
}

/** How learners meet on the web here; the browser keeps the answer for as long as the server says. */
export async function waysToMeet(): Promise<WayToMeet[]> {
  return unwrap(await parlance.rest.GET("/policy")).pairing.web;
}

/** All partners; an account has at most 200. */
export async function partners(): Promise<Partnership[]> {
  const found: Partnership[] = [];
  let cursor: string | null = null;
  do {
    const query: { limit: number; cursor?: string } = cursor === null ? { limit: 100 } : { limit: 100, cursor };
    const page = unwrap(await parlance.rest.GET("/partners", { params: { query } }));
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return found;
}
