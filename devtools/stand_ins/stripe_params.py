"""Parameters of Stripe's API as Stripe reads them, and the errors that it answers."""

from __future__ import annotations

from typing import Any

from devtools.stand_ins.store import Json


class StripeError(Exception):
    """An error as the API answers it. One of `validation` is not kept for a repeated idempotency key."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        validation: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.validation = validation

    def body(self, request_id: str) -> Json:
        error = {"message": self.message, "type": self.kind, "code": self.code, "param": self.param}
        shown = {name: value for name, value in error.items() if value is not None}
        return {"error": {**shown, "request_log_url": f"https://dashboard.stripe.com/test/logs/{request_id}"}}


def build_fault(status: int) -> Json:
    """The body of an error that is Stripe's own fault, or of a limit."""
    if status == 429:
        limited = "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits."
        return StripeError(429, limited, code="rate_limit").body("req_limited")
    if status == 409:
        busy = "There is currently another in-progress request using this Idempotent Key."
        return StripeError(409, busy, kind="idempotency_error", code="idempotency_key_in_use").body("req_busy")
    sorry = "An unknown error occurred. Please try again."
    return StripeError(status, sorry, kind="api_error").body("req_failed")


def invalid(message: str, param: str | None) -> StripeError:
    return StripeError(400, message, param=param, validation=True)


def check_known(params: Json, names: set[str]) -> None:
    for name in params:
        if name not in names:
            raise StripeError(
                400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name, validation=True
            )


def read_required(params: Json, name: str, where: str = "") -> Any:
    param = f"{where}[{name}]" if where else name
    if not params.get(name):
        message = f"Missing required param: {param}."
        raise StripeError(400, message, code="parameter_missing", param=param, validation=True)
    return params[name]


def read_integer(params: Json, name: str, where: str = "") -> int:
    value = read_required(params, name, where)
    try:
        return int(value)
    except (TypeError, ValueError):
        param = f"{where}[{name}]" if where else name
        raise StripeError(
            400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=param, validation=True
        ) from None


def read_metadata(params: Json, name: str) -> dict[str, str]:
    found = params.get(name) or {}
    if not isinstance(found, dict) or len(found) > 50:
        raise invalid("Metadata can have up to 50 keys.", name)
    for key, value in found.items():
        if len(key) > 40 or len(value) > 500:
            raise invalid("Metadata keys have up to 40 characters and values up to 500.", f"{name}[{key}]")
    return dict(found)
