/** Google, Apple and other providers: the way to their page and back to this one. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { AuthorizationTokens, LoginMethods } from "../../../clients/typescript/src/openapi.js";
import { parlance } from "./session.ts";

/** What the learner was doing when the page was left for the provider's. */
export type Intent = "login" | "link";

const INTENT = "intent";

let methods: Promise<LoginMethods> | undefined;

/** Read once what this installation offers; without an answer a password is always possible. */
export function loginMethods(): Promise<LoginMethods> {
  methods ??= parlance.rest.GET("/auth/methods").then(unwrap);
  methods.catch(() => (methods = undefined));
  return methods;
}

/** Leave the page for a provider's; it returns to `/oauth/callback`. */
export async function goToProvider(provider: string, intent: Intent): Promise<void> {
  const { authorizationUrl } = unwrap(await parlance.rest.POST("/auth/authorization", { body: { provider } }));
  sessionStorage.setItem(INTENT, intent);
  location.assign(authorizationUrl);
}

/** What providers answer where the learner has cancelled; Apple has a word of its own. */
const CANCELLED = ["access_denied", "user_cancelled_authorize", "interaction_required", "login_required"];

/** Exchange what a provider has added to the address for an ID token; undefined where the learner has cancelled there. */
export async function returnFromProvider(query: URLSearchParams): Promise<AuthorizationTokens | undefined> {
  const error = query.get("error");
  if (error !== null && !CANCELLED.includes(error)) throw new ParlanceError("authorization_failed", error);
  const code = query.get("code");
  const state = query.get("state");
  if (!code || !state) return undefined;
  return unwrap(await parlance.rest.POST("/auth/authorization/token", { body: { code, state } }));
}

/** What the learner was doing, once. */
export function takeIntent(): Intent {
  const intent = sessionStorage.getItem(INTENT) === "link" ? "link" : "login";
  sessionStorage.removeItem(INTENT);
  return intent;
}
