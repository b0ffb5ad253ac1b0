"""Spans of REST requests, where tracing is on. A reader may skip this module: it changes no request and no answer."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import spans
from contract.middleware import REFUSED
from contract.operations import METHODS, OPERATION, PEER, WHOLE

if TYPE_CHECKING:
    from settings import Settings


def wrap(app: ASGIApp, settings: Settings, openapi: Mapping[str, Any]) -> ASGIApp:
    """Put the middleware around the whole app; while tracing is off return the app itself."""
    return RequestTraces(app, settings.trusted_proxies, openapi) if spans.recorder is not None else app


class RequestTraces:
    """A span for each request, named by its operation: paths, queries and headers may contain ids and tokens."""

    def __init__(self, app: ASGIApp, trusted_proxies: list[str], openapi: Mapping[str, Any]) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(each) for each in trusted_proxies]
        #: Method and path of each operation, by its id.
        self._routes = {
            operation["operationId"]: (method.upper(), path)
            for path, item in openapi["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }
        # Most peers are a few proxies.
        self._is_proxy = functools.lru_cache(maxsize=256)(self._read_is_proxy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] in (WHOLE, "http.response.start"):
                status = message["status"]
            await send(message)

        with spans.span(scope["method"], "server", parent=self._parent(scope)) as span:
            try:
                await self._app(scope, receive, send_and_note)
            finally:
                self._describe(span, scope, scope.get(REFUSED, status))

    def _describe(self, span: spans.Span, scope: Scope, status: int) -> None:
        span.set("http.request.method", scope["method"])
        span.set("http.response.status_code", status)
        (operation_id,) = scope.get(OPERATION, [""])
        if operation_id:
            method, path = self._routes.get(operation_id, (scope["method"], ""))
            span.rename(f"{method} {path}".rstrip())
            span.set("http.route", path)
        if status >= 500:
            span.fail(str(status))

    def _parent(self, scope: Scope) -> str | None:
        """Return the `traceparent` of a request that a trusted proxy forwards; clients cannot choose a trace."""
        peer = scope.get("state", {}).get(PEER)
        if peer is None or not self._is_proxy(peer[0]):
            return None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                given: str = value.decode("latin-1")
                return given
        return None

    def _read_is_proxy(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
