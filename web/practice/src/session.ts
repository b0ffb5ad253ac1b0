/** The API client of this page. */
import { ParlanceClient, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Me } from "../../../clients/typescript/src/openapi.js";

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
