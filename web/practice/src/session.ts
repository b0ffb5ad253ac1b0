/** The API client of this page. */
import { Parlance, value } from "../../../clients/typescript/src/client.ts";
import type { Me } from "../../../clients/typescript/src/openapi.ts";

/** Get this browser's device id, the same for each login. */
function device(): string {
  const known = localStorage.getItem("device");
  if (known) return known;
  // `crypto.randomUUID` is missing where the page is not secure, which main.ts reports.
  const made = `web-${Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  localStorage.setItem("device", made);
  return made;
}

const proof = localStorage.getItem("deviceProof");

export const parlance = new Parlance({
  url: location.origin,
  platform: "web",
  deviceId: device(),
  ...(proof !== null && { deviceProof: proof }),
  keepDeviceProof: (made) => localStorage.setItem("deviceProof", made),
});

export async function me(): Promise<Me> {
  return value(await parlance.rest.GET("/users/me"));
}
