// Speaks the REST contract (/docs). The access token stays in memory, the refresh token in its HttpOnly cookie.

const SIGNED_IN = "parlance.admin.signedIn";
const DEVICE = "parlance.admin.device";
let token = null;
let onEnd = () => {};

/** What the API answered instead: a problem of RFC 9457. */
export class Problem extends Error {
  constructor(status, { code, detail }) {
    super(detail ?? `The server answered ${status}.`);
    this.status = status;
    this.code = code;
  }
}

export class NotAnAdministrator extends Error {}

async function send(method, path, body, headers = {}) {
  const sent = { method, headers: { ...headers }, credentials: "same-origin" };
  if (token) sent.headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch {
    throw new Problem(0, { code: "unavailable", detail: "The server cannot be reached; is this machine online?" });
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}

async function renew() {
  token = null;
  // One tab at a time: a refresh token works once.
  const ask = () => send("POST", "/auth/refresh");
  take(await (navigator.locks ? navigator.locks.request("parlance.refresh", ask) : ask()));
}

function take(tokens) {
  if (tokens.user.role !== "admin") throw new NotAnAdministrator(`${tokens.user.email} is not an administrator.`);
  token = tokens.accessToken;
  localStorage.setItem(SIGNED_IN, tokens.user.email);
}

async function call(method, path, body, headers) {
  try {
    return await send(method, path, body, headers);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
  }
  try {
    await renew();
  } catch {
    forget();
    onEnd("Your sign-in has ended; sign in again.");
    throw new Problem(401, { code: "unauthenticated", detail: "Your sign-in has ended; sign in again." });
  }
  return send(method, path, body, headers);
}

function forget() {
  token = null;
  localStorage.removeItem(SIGNED_IN);
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const whenItEnds = (listener) => (onEnd = listener);
export const signedInAs = () => localStorage.getItem(SIGNED_IN);

/** Go on with the sign-in of an earlier visit; answer whether there is one. */
export async function resume() {
  if (!signedInAs()) return false;
  try {
    await renew();
    return true;
  } catch {
    forget();
    return false;
  }
}

export async function signIn(email, password) {
  let deviceId = localStorage.getItem(DEVICE);
  if (!deviceId) localStorage.setItem(DEVICE, (deviceId = `admin-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`));
  const tokens = await send("POST", "/auth/login", { email, password, deviceId, platform: "web" });
  try {
    take(tokens);
  } catch (refusal) {
    token = tokens.accessToken;
    await send("POST", "/auth/logout").catch(() => {});
    forget();
    throw refusal;
  }
}

export async function signOut() {
  await send("POST", "/auth/logout").catch(() => {});
  forget();
}

export const stats = () => call("GET", "/admin/stats");
export const users = (which) => call("GET", `/admin/users${query(which)}`);
export const user = (id) => call("GET", `/admin/users/${id}`);
export const ban = (id, reason) => call("PATCH", `/admin/users/${id}/ban`, { reason });
export const unban = (id) => call("PATCH", `/admin/users/${id}/unban`);
export const reports = (which) => call("GET", `/admin/reports${query(which)}`);
export const review = (id, verdict) => call("PATCH", `/admin/reports/${id}`, verdict);
export const orders = (which) => call("GET", `/admin/orders${query(which)}`);
export const refund = (id, body, key) => call("POST", `/admin/orders/${id}/refund`, body, { "Idempotency-Key": key });
export const audit = (which) => call("GET", `/admin/audit${query(which)}`);
