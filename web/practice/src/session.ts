/** The one client of this page, and the account that is signed in. */
import { Parlance, value } from "../../../clients/typescript/src/client.ts";
import type { Me } from "../../../clients/typescript/src/openapi.ts";

/** Names this browser, so that signing in again is the same device. */
function device(): string {
  const known = localStorage.getItem("device");
  if (known) return known;
  const made = `web-${crypto.randomUUID()}`;
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
