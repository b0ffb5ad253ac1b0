/** Errors of the client. */
import type { SanctionGround, SanctionInForce } from "./openapi.js";

/** What a refused connection says of the sanction in force; `until` is null for a ban. A refused login says more. */
export interface Restriction {
  ground: SanctionGround;
  until: string | null;
}

/** A refusal by the API or of an event: branch on `code`, show the message, handle an unknown code by `status`. */
export class ParlanceError extends Error {
  override readonly name = "ParlanceError";
  readonly code: string;
  /** The HTTP status; undefined for events. */
  readonly status: number | undefined;
  /** Seconds to wait before the same request is sent again, where the API says so. */
  readonly retryAfterSeconds: number | undefined;
  /** The sanction that a login was refused for: `account_banned`, `account_suspended`. */
  readonly sanction: SanctionInForce | undefined;

  /** The sanction that a connection was refused for: `banned`, `account_suspended`. */
  readonly restriction: Restriction | undefined;

  constructor(code: string, message: string, response?: Response, sanction?: SanctionInForce, restriction?: Restriction) {
    super(message);
    this.code = code;
    this.status = response?.status;
    this.retryAfterSeconds = Number(response?.headers.get("Retry-After")) || undefined;
    this.sanction = sanction;
    this.restriction = restriction;
  }
}
