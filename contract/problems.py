"""Failures on the wire: any exception -> a ProductError -> problem+json (REST) or {code, message} (socket)."""

from __future__ import annotations

import asyncio
import logging

import orjson
import redis.exceptions
from starlette.exceptions import HTTPException

import errors
from adapters import database

log = logging.getLogger("parlance.contract")

#: Errors that pass. Fewer than `adapters.redis.UNAVAILABLE`: a command that Redis refuses is a mistake of ours here.
_TRANSIENT_ERRORS = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    *database.UNAVAILABLE,
    asyncio.TimeoutError,
    ConnectionError,
)

#: Path of the pages about codes. `type` has no host, so that it is the same in each deployment and clients can compare
#: it; a client that opens it resolves it against the request (RFC 9457, 3.1.1).
PAGES = "/problems"

_BY_STATUS: dict[int, type[errors.ProductError]] = {
    400: errors.RequestInvalid,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimited,
    503: errors.Unavailable,
}


def as_product_error(exception: BaseException) -> errors.ProductError:
    """Return the error of any exception; an unknown one is logged with its traceback and becomes `internal`."""
    if isinstance(exception, errors.ProductError):
        return exception
    if isinstance(exception, _TRANSIENT_ERRORS):
        log.warning("dependency_unavailable error=%s detail=%r", type(exception).__name__, str(exception))
        return errors.Unavailable()
    if isinstance(exception, HTTPException) and exception.status_code == errors.Unauthenticated.status:
        return errors.Unauthenticated(exception.detail[:200], is_token_sent=False)
    if isinstance(exception, HTTPException) and exception.status_code in _BY_STATUS:
        # The framework's details of these two repeat their titles.
        detail = None if exception.status_code in (404, 405) else exception.detail
        # The framework's text may repeat a header or a name of the request, of any length.
        return _BY_STATUS[exception.status_code](detail and detail[:200])
    log.error("unexpected_error type=%s", type(exception).__name__, exc_info=exception)
    return errors.Internal()


def problem_response(error: errors.ProductError) -> tuple[bytes, dict[str, str]]:
    """Render an error as the body and headers of an RFC 9457 answer."""
    body = {
        "type": f"{PAGES}/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **error.members,
    }
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **error.headers}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == errors.Unauthenticated.status:  # RFC 9110, 15.5.2
        is_token_invalid = isinstance(error, errors.Unauthenticated) and error.is_token_sent
        headers["WWW-Authenticate"] = 'Bearer realm="parlance"' + (
            ', error="invalid_token"' if is_token_invalid else ""
        )
    return orjson.dumps(body), headers


def socket_problem(exception: BaseException) -> dict[str, str]:
    """Render any exception as the `{code, message}` of the socket's `error` event and acks."""
    error = as_product_error(exception)
    if error.code not in errors.SOCKET_CODES:
        error = errors.BadPayload(error.detail) if error.status == 400 else errors.Internal()
    return {"code": error.code, "message": error.detail}
