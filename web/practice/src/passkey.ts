/** Passkeys: the browser's part. Options and answers travel as WebAuthn's JSON texts. */
import { unwrap } from "../../../clients/typescript/src/rest.js";
import type { PasskeyProof } from "../../../clients/typescript/src/openapi.js";
import { parlance } from "./session.ts";

/** Return whether this browser reads and writes those texts; older ones do not. */
export function canUsePasskeys(): boolean {
  return typeof PublicKeyCredential === "function" && "parseRequestOptionsFromJSON" in PublicKeyCredential && "parseCreationOptionsFromJSON" in PublicKeyCredential;
}

/** Ask for a passkey and return its answer; undefined where the learner has cancelled. */
export async function askPasskey(): Promise<PasskeyProof | undefined> {
  const { challengeToken, optionsJson } = unwrap(await parlance.rest.POST("/auth/passkeys/challenge"));
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(optionsJson) as PublicKeyCredentialRequestOptionsJSON);
  const credential = await orCancelled(navigator.credentials.get({ publicKey }));
  return credential ? { challengeToken, credentialJson: JSON.stringify(credential) } : undefined;
}

/** Make a passkey for options of the server; undefined where the learner has cancelled. */
export async function makePasskey(optionsJson: string): Promise<string | undefined> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(optionsJson) as PublicKeyCredentialCreationOptionsJSON);
  const credential = await orCancelled(navigator.credentials.create({ publicKey }));
  return credential ? JSON.stringify(credential) : undefined;
}

/** Browsers raise NotAllowedError for a cancelled prompt, and for one that nobody has answered in time. */
async function orCancelled(prompt: Promise<Credential | null>): Promise<Credential | null> {
  try {
    return await prompt;
  } catch (reason) {
    if (reason instanceof DOMException && reason.name === "NotAllowedError") return null;
    throw reason;
  }
}

/** A name for a new passkey, by the device on which it is made. */
export function suggestPasskeyName(): string {
  const { userAgent } = navigator;
  const device = [/iPhone/, /iPad/, /Android/, /Windows/, /Mac/, /CrOS/, /Linux/].map((each) => each.exec(userAgent)?.[0]).find(Boolean);
  return device ? `${device === "CrOS" ? "Chromebook" : device} passkey` : "Passkey";
}
