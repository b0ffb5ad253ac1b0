/** Errors of the client. */
import type { SanctionInForce } from "./openapi.js";

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

  constructor(code: string, message: string, response?: Response, sanction?: SanctionInForce) {
    super(message);
    this.code = code;
    this.status = response?.status;
    this.retryAfterSeconds = Number(response?.headers.get("Retry-After")) || undefined;
    this.sanction = sanction;
  }
}
