/** The login of an account: every REST operation typed, with an access token that is renewed before it expires. */
import createClient, { type Client } from "openapi-fetch";
import type { Account, AuthTokens, PlatformInput, Problem, paths } from "./openapi.ts";
import { Practice } from "./practice.ts";

/** A refusal of the API or of an event; branch on `code`, show the message. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Options {
  /** Where the API is: scheme, host and port. */
  url: string;
  /** On `web` the refresh token is a cookie that no script reads; elsewhere keep `refreshToken` where secrets are kept. */
  platform: PlatformInput;
  /** Identifies this installation; a login with the same one replaces the earlier login. */
  deviceId: string;
  /** The refresh token of an earlier run, outside of browsers. */
  refreshToken?: string;
  /** The device proof of an earlier run: this installation has logged in before, so failed logins elsewhere cannot lock it out. */
  deviceProof?: string;
  /** Called with each new `deviceProof`; keep it, also after a logout. */
  keepDeviceProof?: (proof: string) => void;
  /** Sent with every request, such as a User-Agent. */
  headers?: Record<string, string>;
}

/** Access tokens are renewed this many milliseconds before they expire. */
const RENEWAL_MARGIN_MS = 30_000;
/** Operations whose 401 does not mean an expired access token. */
const LOGIN_PATHS = /\/auth\/(login|register|refresh)$/;

export class Parlance {
  readonly url: string;
  /** Every operation of openapi.yaml: `rest.GET("/users/me")` answers `{data, error, response}`. */
  readonly rest: Client<paths>;
  refreshToken: string | undefined;
  deviceProof: string | undefined;
  account: Account | undefined;
  readonly #keepDeviceProof: (proof: string) => void;
  readonly #device: { platform: PlatformInput; deviceId: string };
  #accessToken: string | undefined;
  #expiresAt = 0;
  #refreshing: Promise<string> | undefined;

  constructor({ url, platform, deviceId, refreshToken, deviceProof, keepDeviceProof, headers = {} }: Options) {
    this.url = url;
    this.refreshToken = refreshToken;
    this.deviceProof = deviceProof;
    this.#keepDeviceProof = keepDeviceProof ?? (() => {});
    this.#device = { platform, deviceId };
    this.rest = createClient<paths>({
      baseUrl: url,
      headers,
      fetch: (request) => this.#fetch(request),
      ...(platform === "web" && { credentials: "include" }),
    });
  }

  async register(email: string, password: string): Promise<Account> {
    return this.#keep(value(await this.rest.POST("/auth/register", { body: { email, password, ...this.#device } })));
  }

  async signIn(email: string, password: string): Promise<Account> {
    const proof = this.deviceProof === undefined ? {} : { deviceProof: this.deviceProof };
    const body = { email, password, ...this.#device, ...proof };
    return this.#keep(value(await this.rest.POST("/auth/login", { body })));
  }

  async signOut(): Promise<void> {
    value(await this.rest.POST("/auth/logout"));
    this.#accessToken = this.refreshToken = this.account = undefined;
  }

  /** An access token that is valid for at least half a minute. */
  async accessToken(): Promise<string> {
    return this.#accessToken !== undefined && Date.now() < this.#expiresAt - RENEWAL_MARGIN_MS ? this.#accessToken : this.refresh();
  }

  /** Exchange the refresh token. It works once, so simultaneous calls share one exchange. */
  refresh(): Promise<string> {
    this.#refreshing ??= this.#exchange().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Open the Socket.IO connection for matchmaking and signaling. */
  practise(): Practice {
    return new Practice(this.url, {
      current: () => this.accessToken(),
      renewed: () => this.refresh(),
    });
  }

  async #exchange(): Promise<string> {
    // Without a body a browser sends its cookie.
    const body = this.refreshToken === undefined ? {} : { body: { refreshToken: this.refreshToken } };
    const tokens = value(await this.rest.POST("/auth/refresh", body));
    this.#keep(tokens);
    return tokens.accessToken;
  }

  #keep(tokens: AuthTokens): Account {
    this.#accessToken = tokens.accessToken;
    this.#expiresAt = Date.now() + tokens.expiresInSeconds * 1000;
    this.refreshToken = tokens.refreshToken;
    if (tokens.deviceProof !== undefined) {
      this.deviceProof = tokens.deviceProof;
      this.#keepDeviceProof(tokens.deviceProof);
    }
    this.account = tokens.user;
    return tokens.user;
  }

  async #fetch(request: Request): Promise<Response> {
    const token = this.#accessToken;
    if (LOGIN_PATHS.test(new URL(request.url).pathname)) return fetch(request);
    const again = request.clone();
    if (token !== undefined) request.headers.set("Authorization", `Bearer ${token}`);
    const response = await fetch(request);
    if (response.status !== 401) return response;
    // Another request may have renewed it meanwhile.
    const renewed = token === this.#accessToken ? await this.refresh() : this.#accessToken;
    again.headers.set("Authorization", `Bearer ${renewed}`);
    return fetch(again);
  }
}

/** The body of a success; raise Refused with the problem's code otherwise. */
export function value<T>(answer: { data?: T; error?: Problem | undefined; response: Response }): T {
  if (answer.error !== undefined || !answer.response.ok) {
    throw new Refused(answer.error?.code ?? "internal", answer.error?.detail ?? answer.response.statusText);
  }
  return answer.data as T;
}
