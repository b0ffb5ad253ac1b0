/** The access token of this tab: the dialog of the header that gets it, and its storage. */
import { decodeClaims } from "./claims.ts";

const TOKEN = "parlance.docs.token";
/** The installation that logs in here; a tab of its own, so that it ends no login elsewhere. */
const DEVICE = "parlance.docs.device";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

/** Emits `change` with each new token and when there is none any more. */
class Login extends EventTarget {
  /** The token, unless it has expired. */
  get token(): string | undefined {
    const token = sessionStorage.getItem(TOKEN) ?? undefined;
    return token === undefined || decodeClaims(token).expiresAt <= Date.now() ? undefined : token;
  }

  set token(token: string | undefined) {
    if (token === undefined) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
    this.dispatchEvent(new Event("change"));
  }
}

export const login = new Login();

/** A refused login; `code` is that of the problem. */
class LoginRefused extends Error {
  readonly code: string | undefined;
  constructor(message: string, code: string | undefined) {
    super(message);
    this.code = code;
  }
}

/** Log in by e-mail address, password and, of staff, a code of the second factor; throw LoginRefused. */
async function requestToken(email: string, password: string, secondFactorCode: string): Promise<string> {
  const deviceId = sessionStorage.getItem(DEVICE) ?? crypto.randomUUID();
  sessionStorage.setItem(DEVICE, deviceId);
  const response = await fetch("/auth/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password, platform: "web", deviceId, ...(secondFactorCode && { secondFactorCode }) }),
    // The refresh token's cookie belongs to the practice page.
    credentials: "omit",
  });
  const answer = await response.json();
  if (!response.ok) throw new LoginRefused(answer.detail ?? `The server answered ${response.status}.`, answer.code);
  return answer.accessToken;
}

/** Connect the dialog and the button of the header. */
export function connectLogin(): void {
  const dialog = element<HTMLDialogElement>("login");
  const opener = element("open-login");
  const message = element("login-message");

  const show = () => {
    const { token } = login;
    const claims = token === undefined ? undefined : decodeClaims(token);
    opener.textContent = claims?.email ?? (token ? "Logged in" : "Log in");
    opener.title = claims ? `The token expires at ${new Date(claims.expiresAt).toLocaleTimeString()}.` : "";
    element("log-out").hidden = token === undefined;
    const expiry = claims && Number.isFinite(claims.expiresAt) ? claims.expiresAt - Date.now() : undefined;
    if (expiry !== undefined) setTimeout(() => login.dispatchEvent(new Event("change")), Math.min(expiry + 1000, 2 ** 31 - 1));
  };
  login.addEventListener("change", show);
  show();

  opener.addEventListener("click", () => {
    message.textContent = "";
    dialog.showModal();
  });
  element("log-out").addEventListener("click", () => {
    login.token = undefined;
    dialog.close();
  });
  element<HTMLFormElement>("by-password").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const data = new FormData(form);
    message.textContent = "";
    try {
      login.token = await requestToken(String(data.get("email")), String(data.get("password")), String(data.get("code")));
    } catch (error) {
      message.textContent = (error as Error).message;
      if (error instanceof LoginRefused && error.code?.startsWith("second_factor")) {
        element("login-code-field").hidden = false;
        element("login-code").focus();
      }
      return;
    }
    form.reset();
    element("login-code-field").hidden = true;
    dialog.close();
  });
  element<HTMLFormElement>("by-token").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const token = String(new FormData(form).get("token")).trim().replace(/^Bearer /i, "");
    if (decodeClaims(token).expiresAt <= Date.now()) {
      message.textContent = "This token has expired; log in again.";
      return;
    }
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      message.textContent = "This is no access token: three parts, separated by dots.";
      return;
    }
    login.token = token;
    form.reset();
    dialog.close();
  });
}
