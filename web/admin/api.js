// Requests to the REST API (/docs). The access token stays in memory, the refresh token in its HttpOnly cookie.

const SIGNED_IN = "parlance.admin.signedIn";
const DEVICE = "parlance.admin.device";
const STAFF = ["admin", "moderator"];
let token = null;
let role = null;
let userId = null;
let onEnd = () => {};
let onFactor = async () => false;

/** An error of the API: a problem of RFC 9457. */
export class Problem extends Error {
  constructor(status, { code, detail }) {
    super(detail ?? `The server answered ${status}.`);
    this.status = status;
    this.code = code;
  }
}

export class NotStaff extends Error {}

/** Send a request whose body is JSON, a form or a part of a file; return the response. */
async function ask(method, path, body, headers = {}) {
  const sent = { method, headers: { ...headers }, credentials: "same-origin" };
  if (token) sent.headers.Authorization = `Bearer ${token}`;
  if (body instanceof FormData || body instanceof Blob) sent.body = body;
  else if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch {
    throw new Problem(0, { code: "unavailable", detail: "The server cannot be reached; is this machine online?" });
  }
  if (answer.ok) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}

const read = (answer) => (answer.status === 204 ? null : answer.json());
const send = async (...request) => read(await ask(...request));

async function renew() {
  token = null;
  // One tab at a time: a refresh token works once.
  const exchange = () => send("POST", "/auth/refresh");
  take(await (navigator.locks ? navigator.locks.request("parlance.refresh", exchange) : exchange()));
}

function take(tokens) {
  if (!STAFF.includes(tokens.user.role)) throw new NotStaff(`${tokens.user.email} is not an administrator or a moderator.`);
  token = tokens.accessToken;
  role = tokens.user.role;
  userId = tokens.user.id;
  localStorage.setItem(SIGNED_IN, tokens.user.email);
}

/** Send a request with the access token; if it has expired, once more with a new one. */
async function authorized(...request) {
  try {
    return await ask(...request);
  } catch (problem) {
    // Other refusals with 401 are of a password or a code, which must not be tried a second time.
    if (problem.code !== "unauthenticated") throw problem;
  }
  try {
    await renew();
  } catch {
    forget();
    onEnd("Your login has expired; sign in again.");
    throw new Problem(401, { code: "unauthenticated", detail: "Your login has expired; sign in again." });
  }
  return ask(...request);
}

/** Send a request; if it needs a newer proof of the second factor, ask for one and send it once more. */
async function call(...request) {
  try {
    return await read(await authorized(...request));
  } catch (problem) {
    if (problem.code !== "second_factor_required" || !(await onFactor())) throw problem;
  }
  return read(await authorized(...request));
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
/** `listener` asks for a code, and returns whether one was proven. */
export const whenItNeedsFactor = (listener) => (onFactor = listener);
export const isAdmin = () => role === "admin";
export const ownId = () => userId;
export const signedInAs = () => localStorage.getItem(SIGNED_IN);

/** Resume the login of an earlier visit; return whether there is one. */
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

/** Log in with the password and, where it is asked for, a second factor: `{ secondFactorCode }` or `{ secondFactorPasskey }`. */
export const signIn = (email, password, factor) => logIn("/auth/login", { email, password, ...factor });
export const signInWithPasskey = (proof) => logIn("/auth/passkeys/login", proof);

async function logIn(path, proof) {
  let deviceId = localStorage.getItem(DEVICE);
  if (!deviceId) localStorage.setItem(DEVICE, (deviceId = `admin-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`));
  const tokens = await send("POST", path, { ...proof, deviceId, platform: "web" });
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

function keep(issued) {
  token = issued.accessToken;
  return issued;
}

export const factor = () => call("GET", "/auth/second-factor");
// Without `call`: a code that is missing here is entered in the same form.
export const startFactor = async (password, code) => read(await authorized("POST", "/auth/second-factor", { password, code }));
/** The same beside a passkey, of which a newer proof may be needed. */
export const startFirstApp = (password) => call("POST", "/auth/second-factor", { password });
export const confirmFactor = async (code) => keep(await call("POST", "/auth/second-factor/confirmation", { code }));
/** `factor` is `{ code }` or `{ passkey }`. */
export const proveFactor = async (factor) => keep(await call("POST", "/auth/second-factor/proof", factor));
export const newRecoveryCodes = () => call("POST", "/auth/second-factor/recovery-codes");
export const removeFactor = () => call("DELETE", "/auth/second-factor");
export const loginOffer = () => send("GET", "/auth/methods");
export const loginMethods = () => call("GET", "/users/me/login-methods");
export const passkeyChallenge = () => send("POST", "/auth/passkeys/challenge");
export const passkeyRegistration = (password) => call("POST", "/users/me/passkeys/challenge", { proof: { password } });
export const removePasskey = (id) => call("DELETE", `/users/me/passkeys/${id}`);

/** Add a passkey; as the first second factor, it is proven with the next access token. */
export async function addPasskey(made) {
  await call("POST", "/users/me/passkeys", made);
  await renew();
}

export const devices = () => call("GET", "/auth/devices");
export const endDevice = (id) => call("DELETE", `/auth/devices/${encodeURIComponent(id)}`);
export const staff = (which) => call("GET", `/admin/staff${query(which)}`);
export const staffLogins = (id) => call("GET", `/admin/staff/${id}/logins`);
export const endStaffLogin = (id, loginId) => call("DELETE", `/admin/staff/${id}/logins/${loginId}`);

export const stats = () => call("GET", "/admin/stats");
export const users = (which) => call("GET", `/admin/users${query(which)}`);
export const user = (id) => call("GET", `/admin/users/${id}`);
export const sanctions = (id) => call("GET", `/admin/users/${id}/sanctions?limit=100`);
export const issueSanction = (id, body, key) => call("POST", `/admin/users/${id}/sanctions`, body, { "Idempotency-Key": key });
export const liftSanction = (id, reason) => call("POST", `/admin/sanctions/${id}/lift`, { reason });
export const appeals = (which) => call("GET", `/admin/appeals${query(which)}`);
export const decideAppeal = (id, decision) => call("POST", `/admin/appeals/${id}/decision`, decision);
export const reports = (which) => call("GET", `/admin/reports${query(which)}`);
export const review = (id, verdict) => call("PATCH", `/admin/reports/${id}`, verdict);
export const pictures = (which) => call("GET", `/admin/pictures${query(which)}`);
export const decidePicture = (id, decision) => call("POST", `/admin/pictures/${id}/decision`, decision);
export const orders = (which) => call("GET", `/admin/orders${query(which)}`);
export const refund = (id, body, key) => call("POST", `/admin/orders/${id}/refund`, body, { "Idempotency-Key": key });
export const audit = (which) => call("GET", `/admin/audit${query(which)}`);

export const courses = (which) => call("GET", `/courses${query(which)}`);
export const course = (id) => call("GET", `/courses/${id}`);
export const makeCourse = (draft) => call("POST", "/courses", draft);
export const changeCourse = (id, changes) => call("PATCH", `/courses/${id}`, changes);
export const removeCourse = (id) => call("DELETE", `/courses/${id}`);
export const lessons = (courseId) => call("GET", `/courses/${courseId}/lessons`);
export const addLesson = (courseId, draft) => call("POST", `/courses/${courseId}/lessons`, draft);
export const orderLessons = (courseId, lessonIds) => call("PUT", `/courses/${courseId}/lessons/order`, { lessonIds });
export const lesson = (id) => call("GET", `/lessons/${id}`);
export const changeLesson = (id, changes) => call("PATCH", `/lessons/${id}`, changes);
export const removeLesson = (id) => call("DELETE", `/lessons/${id}`);

export function setThumbnail(courseId, file) {
  const form = new FormData();
  form.append("file", file);
  return call("PUT", `/courses/${courseId}/thumbnail`, form);
}

const TUS = { "Tus-Resumable": "1.0.0" };
const CHUNK_BYTES = 8 * 1024 * 1024;
/** Seconds before each attempt to resume after the connection was lost. */
const RETRY_DELAYS = [1, 2, 5, 10, 20];

/** Upload a video in chunks (tus 1.0), resuming after a lost connection; `sent` is called with the bytes so far. */
export async function uploadVideo(lessonId, file, sent) {
  const begun = await authorized("POST", `/lessons/${lessonId}/video/uploads`, undefined, { ...TUS, "Upload-Length": `${file.size}` });
  const place = new URL(begun.headers.get("Location"), location.href).pathname;
  let offset = 0;
  let failures = 0;
  while (offset < file.size) {
    try {
      const headers = { ...TUS, "Upload-Offset": `${offset}`, "Content-Type": "application/offset+octet-stream" };
      const answer = await authorized("PATCH", place, file.slice(offset, offset + CHUNK_BYTES), headers);
      offset = Number(answer.headers.get("Upload-Offset"));
      failures = 0;
    } catch (problem) {
      if ((problem.status !== 0 && problem.status !== 503) || failures === RETRY_DELAYS.length) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * RETRY_DELAYS[failures++]));
      // The server keeps what arrived before; a failed HEAD counts as one more failure.
      const stored = await authorized("HEAD", place, undefined, TUS).catch(() => null);
      if (stored) offset = Number(stored.headers.get("Upload-Offset"));
    }
    sent(offset);
  }
}
