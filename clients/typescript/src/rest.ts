/** A login and the REST operations, typed by openapi.yaml; the access token is refreshed before it expires. */
import createClient, { type Client } from "openapi-fetch";
import { ParlanceError } from "./errors.js";
import type {
  Account,
  AuthTokens,
  EmailChallenge,
  EmailCodeLoginRequest,
  IdTokenLoginRequest,
  PasskeyLoginRequest,
  PlatformInput,
  Problem,
  RegisterRequest,
  paths,
} from "./openapi.js";

export type * from "./openapi.js";
export { ParlanceError };

/** What an installation stores between two runs. */
export interface Credentials {
  /** Undefined after a logout, and on `web`, where it is a cookie. */
  refreshToken: string | undefined;
  /** Shows that this installation has logged in before: failed logins elsewhere then cannot lock it out. */
  deviceProof: string | undefined;
}

export interface ClientOptions {
  /** Where the API is: scheme, host and port. */
  url: string;
  /** On `web` the refresh token is a cookie that no script reads. */
  platform: PlatformInput;
  /** Identifies this installation; a login with the same one ends the earlier login. */
  deviceId: string;
  /** The refresh token of an earlier run. */
  refreshToken?: string | undefined;
  /** The device proof of an earlier run. */
  deviceProof?: string | undefined;
  /** Called after each login, refresh and logout; store both values, each in place of the last. */
  onCredentials?: (credentials: Credentials) => void;
  /** Sent with every request, such as a User-Agent. */
  headers?: Record<string, string>;
}

/** Fields of a login that the client adds by itself. */
type DeviceField = "deviceId" | "platform" | "deviceProof";

/** Access tokens are refreshed this many milliseconds before they expire. */
const REFRESH_MARGIN_MS = 30_000;

export class ParlanceClient {
  readonly url: string;
  /** Every operation of openapi.yaml: `rest.GET("/users/me")` resolves with `{data, error, response}`. */
  readonly rest: Client<paths>;
  account: Account | undefined;
  #refreshToken: string | undefined;
  #deviceProof: string | undefined;
  #accessToken: string | undefined;
  #expiresAt = 0;
  #refreshing: Promise<string> | undefined;
  readonly #device: { platform: PlatformInput; deviceId: string };
  readonly #onCredentials: (credentials: Credentials) => void;

  constructor({ url, platform, deviceId, refreshToken, deviceProof, onCredentials = () => {}, headers = {} }: ClientOptions) {
    this.url = url;
    this.#refreshToken = refreshToken;
    this.#deviceProof = deviceProof;
    this.#onCredentials = onCredentials;
    this.#device = { platform, deviceId };
    this.rest = createClient<paths>({
      baseUrl: url,
      headers,
      fetch: (request) => this.#fetch(request),
      ...(platform === "web" && { credentials: "include" }),
    });
  }

  get #proof(): { deviceProof?: string } {
    return this.#deviceProof === undefined ? {} : { deviceProof: this.#deviceProof };
  }

  get credentials(): Credentials {
    return { refreshToken: this.#refreshToken, deviceProof: this.#deviceProof };
  }

  /** `more`: a birth date and consents, which may also be sent later. */
  async register(email: string, password: string, more: Pick<RegisterRequest, "birthDate" | "consents"> = {}): Promise<Account> {
    return this.#keep(unwrap(await this.rest.POST("/auth/register", { body: { email, password, ...more, ...this.#device } })));
  }

  async login(email: string, password: string): Promise<Account> {
    return this.#keep(unwrap(await this.rest.POST("/auth/login", { body: { email, password, ...this.#device, ...this.#proof } })));
  }

  /** Send a code by e-mail, which logs in, signs up, or is a proof. Keep the challenge: the code works with it alone. */
  async requestEmailCode(email: string): Promise<EmailChallenge> {
    const { deviceId } = this.#device;
    return unwrap(await this.rest.POST("/auth/email-code", { body: { email, deviceId, ...this.#proof } }));
  }

  /** Log in, or sign up, with the code of such an e-mail. */
  async loginWithEmailCode(login: Omit<EmailCodeLoginRequest, DeviceField>): Promise<Account> {
    return this.#keep(unwrap(await this.rest.POST("/auth/email-code/login", { body: { ...login, ...this.#device, ...this.#proof } })));
  }

  /** Log in, or sign up, with the ID token of Google, Apple or another provider. */
  async loginWithIdToken(login: Omit<IdTokenLoginRequest, DeviceField>): Promise<Account> {
    return this.#keep(unwrap(await this.rest.POST("/auth/id-token", { body: { ...login, ...this.#device } })));
  }

  /** Log in with a passkey's answer to the options of `POST /auth/passkeys/challenge`. */
  async loginWithPasskey(login: Omit<PasskeyLoginRequest, DeviceField>): Promise<Account> {
    return this.#keep(unwrap(await this.rest.POST("/auth/passkeys/login", { body: { ...login, ...this.#device } })));
  }

  async logout(): Promise<void> {
    const answer = await this.rest.POST("/auth/logout");
    // A login that has ended already needs no logout.
    if (answer.response.status !== 401) unwrap(answer);
    this.#accessToken = this.#refreshToken = this.account = undefined;
    this.#onCredentials(this.credentials);
  }

  /** An access token that is valid for at least half a minute. */
  async accessToken(): Promise<string> {
    const isFresh = Date.now() < this.#expiresAt - REFRESH_MARGIN_MS;
    return this.#accessToken !== undefined && isFresh ? this.#accessToken : this.refresh();
  }

  /** Get a new access token for the refresh token. That one works once, so simultaneous calls share one exchange. */
  refresh(): Promise<string> {
    this.#refreshing ??= this.#exchange().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #exchange(): Promise<string> {
    // Without a body a browser sends its cookie.
    const body = this.#refreshToken === undefined ? {} : { body: { refreshToken: this.#refreshToken } };
    const tokens = unwrap(await this.rest.POST("/auth/refresh", body));
    this.#keep(tokens);
    return tokens.accessToken;
  }

  #keep(tokens: AuthTokens): Account {
    this.#accessToken = tokens.accessToken;
    this.#expiresAt = Date.now() + tokens.expiresInSeconds * 1000;
    this.#refreshToken = tokens.refreshToken;
    this.#deviceProof = tokens.deviceProof ?? this.#deviceProof;
    this.account = tokens.user;
    this.#onCredentials(this.credentials);
    return tokens.user;
  }

  async #fetch(request: Request): Promise<Response> {
    const token = this.#accessToken;
    const again = request.clone();
    if (token !== undefined) request.headers.set("Authorization", `Bearer ${token}`);
    const response = await fetch(request);
    // Other refusals with 401 are of a password or a code, which must not be tried a second time.
    if (response.status !== 401 || (await codeOf(response)) !== "unauthenticated") return response;
    try {
      // Another request may have refreshed it meanwhile.
      const renewed = token === this.#accessToken ? await this.refresh() : this.#accessToken;
      again.headers.set("Authorization", `Bearer ${renewed}`);
    } catch (error) {
      // The login has ended, which the first response says.
      if (error instanceof ParlanceError && error.status === 401) return response;
      throw error;
    }
    return fetch(again);
  }
}

/** The code of a problem, whose body stays readable. */
async function codeOf(response: Response): Promise<unknown> {
  const problem: unknown = await response.clone().json().catch(() => undefined);
  return typeof problem === "object" && problem !== null && "code" in problem ? problem.code : undefined;
}

/** The body of a success; throw ParlanceError with the problem's code otherwise. */
export function unwrap<T>({ data, error, response }: { data?: T; error?: Problem | undefined; response: Response }): T {
  if (error !== undefined || !response.ok) {
    throw new ParlanceError(error?.code ?? "internal", error?.detail ?? response.statusText, response, error?.sanction);
  }
  return data as T;
}
