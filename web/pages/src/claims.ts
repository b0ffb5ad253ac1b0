/** What an access token says of itself; the server alone checks it. */
export interface Claims {
  email: string | undefined;
  /** Milliseconds since 1970; infinite where the token does not say. */
  expiresAt: number;
}

export function decodeClaims(token: string): Claims {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
    const { email, exp } = JSON.parse(new TextDecoder().decode(bytes));
    return { email, expiresAt: typeof exp === "number" ? exp * 1000 : Infinity };
  } catch {
    return { email: undefined, expiresAt: Infinity };
  }
}
