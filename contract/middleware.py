"""Middleware around the whole app: request ids, security headers, CORS, and one line of log for each request."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from random import getrandbits
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import errors
from adapters import budgets, logs
from contract.operations import OPERATION, WHOLE

if TYPE_CHECKING:
    from settings import Settings

log = logging.getLogger("parlance.startup")
_http_log = logging.getLogger("parlance.http")

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
#: Takes an operation's id, a status and seconds.
Count = Callable[[str, int, float], None]
#: Further headers of each response of an operation, by its id.
OperationHeaders = Mapping[str, Sequence[tuple[bytes, bytes]]]

#: Headers of resumable uploads that go both ways; those of requests alone, also of extensions that are refused, so that
#: a page reads why; and those of answers alone.
_TUS = ("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata")
_TUS_REQUEST = ("X-HTTP-Method-Override", "Upload-Concat", "Upload-Defer-Length", "Upload-Checksum")
_TUS_ANSWER = ("Tus-Version", "Tus-Extension", "Tus-Max-Size", "Upload-Expires")
#: Headers of responses that pages of other origins may read.
_EXPOSED = (
    *("X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy", "Deprecation", "Sunset", "Link"),
    *("Location", "Idempotent-Replayed", "Content-Disposition", "WWW-Authenticate", "ETag"),
)
#: The name in uvicorn's state of `RequestMiddleware.record_refusal`, for `http_server.py`, and the name in a request's
#: scope of the status with which it was refused while its app was running.
RECORD_REFUSAL, REFUSED = "parlance.record_refusal", "parlance.refused"
#: The name in uvicorn's state of the event that is set when the process is about to stop.
STOPPING = "parlance.stopping"
#: Logged characters of an address that is refused for its length.
_LOGGED_PATH_BYTES = 200
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMiddleware:
    """Request id, log line, count and security headers; a header of the answer itself has precedence."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        count: Count,
        deprecated: OperationHeaders | None = None,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._stopping = stopping
        self._app = app
        self._deprecated = deprecated or {}
        self._cors = app if isinstance(app, Cors) else None
        self._count = count
        headers = dict(_SECURITY_HEADERS)
        if settings.app_url.startswith("https://"):
            headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._names = {b"x-request-id", *(name for name, _ in self._headers)}
        self._lines = b"".join([b"%b: %b\r\n" % header for header in self._headers])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                scope.setdefault("state", {}).update({RECORD_REFUSAL: self.record_refusal, STOPPING: self._stopping})
                await _run_lifespan(self._app, scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        name = request_id(scope)
        token = logs.request_id.set(name)
        budget = budgets.begin_request()
        logs.user_id.set(None)  # of the request before on this connection
        operation = scope[OPERATION] = [""]
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == WHOLE:
                status = message["status"]
                message["head"] = b"x-request-id: %b\r\n%b" % (name.encode(), self._lines)
                if operation[0] in self._deprecated:
                    message["head"] += b"".join([b"%b: %b\r\n" % each for each in self._deprecated[operation[0]]])
            elif message["type"] == "http.response.start":
                status = message["status"]
                given = [*message.get("headers", ()), *self._deprecated.get(operation[0], ())]
                message["headers"] = [*given, (b"x-request-id", name.encode()), *self._headers]
                for header, _ in given:
                    if header in self._names:
                        message["headers"] = self._without_doubles(message["headers"])
                        break
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            if REFUSED in scope:
                status = scope[REFUSED]  # a later answer of the app is not sent
            logs.request(scope["method"], _raw_path(scope), status, seconds)
            self._count(operation[0], status, seconds)
            logs.request_id.reset(token)
            budgets.end_request(budget)

    def record_refusal(self, scope: Scope, url: bytes, error: errors.ProductError) -> list[tuple[bytes, bytes]]:
        """Log and count a request that is refused by the HTTP server; return the headers that its answer gets here."""
        name = request_id(scope)
        token = logs.request_id.set(name)
        if REFUSED not in scope:  # else its app has been started, and logs and counts it at its end
            path = url.partition(b"?")[0][:_LOGGED_PATH_BYTES].decode("latin-1")
            logs.request(scope.get("method", "-"), path, error.status, 0.0)
            self._count("", error.status, 0.0)
        _http_log.info("http_request_refused status=%d code=%s detail=%r", error.status, error.code, error.detail)
        logs.request_id.reset(token)
        cors = self._cors.build_headers(scope) if self._cors is not None else []
        return [(b"x-request-id", name.encode()), *self._headers, *cors]

    def _without_doubles(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Drop our headers that the answer has set itself, which come first."""
        seen: set[bytes] = set()
        kept = []
        for name, value in headers:
            if name not in seen:
                kept.append((name, value))
            if name in self._names:
                seen.add(name)
        return kept


async def _run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the app from startup to shutdown; log in one line why one of them fails, and have the server end.

    Starlette reports a traceback to the server, and nothing of what fails while Connexion builds its stack.
    """
    phase, is_reported = "startup", False

    async def send_without_reason(message: Message) -> None:
        nonlocal phase, is_reported
        if message["type"] == "lifespan.startup.complete":
            phase = "shutdown"
        is_reported = message["type"].endswith(".failed")
        await send({"type": message["type"]})

    try:
        await app(scope, receive, send_without_reason)
    except Exception as error:
        is_mistake = isinstance(error, errors.Refused)
        log.error("%s_failed reason=%s", phase, error, exc_info=None if is_mistake else error)
        if not is_reported:
            await send({"type": f"lifespan.{phase}.failed"})
        raise


def _raw_path(scope: Scope) -> str:
    """Return the path as it was sent: decoded, a line break in it would begin a log line of its own."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    if b"?" in raw:
        raw = raw.partition(b"?")[0]
    return raw.decode("latin-1")


def request_id(scope: Scope) -> str:
    """Return the X-Request-Id of the request, where it may stand in a log; else a new one."""
    return _given_id(scope) or f"{getrandbits(64):016x}"  # unique, not secret


def _given_id(scope: Scope) -> str | None:
    for header, value in scope["headers"]:
        if header == b"x-request-id":
            given = value.decode("latin-1")
            return given if _REQUEST_ID.fullmatch(given) else None
    return None


class Cors(CORSMiddleware):
    """starlette's CORS middleware, which needs answers in ASGI's standard messages."""

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        scope["extensions"] = {}
        await super().simple_response(scope, receive, send, request_headers)

    def build_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of an answer that no ASGI app makes."""
        headers = MutableHeaders()
        origin = Headers(scope=scope).get("Origin")
        if origin is not None:
            headers.update(self.simple_headers)
        if origin is not None and self.is_allowed_origin(origin):
            self.allow_explicit_origin(headers, origin)
        else:
            headers["Vary"] = "Origin"
        return headers.raw


def wrap(
    app: ASGIApp,
    settings: Settings,
    count: Count,
    deprecated: OperationHeaders | None = None,
    stopping: asyncio.Event | None = None,
) -> ASGIApp:
    """Put the middleware, and CORS where origins are configured, around the whole app.

    `count` is called for every request with its operation's id or nothing, the status, and the seconds it took. Once
    `stopping` is set, each answer closes its connection.
    """
    if settings.cors_origins:
        app = Cors(
            app,
            allow_origins=settings.cors_origins,
            allow_credentials=True,
            allow_methods=["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id", *_TUS, *_TUS_REQUEST],
            expose_headers=[*_EXPOSED, *_TUS, *_TUS_ANSWER],
        )
    return RequestMiddleware(app, settings, count, deprecated, stopping)
