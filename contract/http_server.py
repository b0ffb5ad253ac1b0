"""Owns uvicorn's HTTP as Parlance runs it: a plain request for a session is opened, a whole answer written, in one go.

uvicorn reads the request for a WebSocket a second time and looks at every header of an answer. A session that asks for
nothing unusual is handed to `transport.py` at once; an answer whose head is known beforehand is one write.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from contract.operations import WHOLE
from contract.transport import ENGINE, Connection

if TYPE_CHECKING:
    from contract.transport import Engine

#: Seconds in which a connection has to send its first request.
REQUEST_SECONDS = 10

#: Parameters that only a session which polls has, and headers of a request that is not plain: a page, whose origin
#: counts, one with a body, one that wishes for more.
_ODD = {"sid", "j"}
_ODD_HEADERS = {b"origin", b"content-length", b"transfer-encoding", b"sec-websocket-protocol"}
#: What answers a request's key (RFC 6455, 1.3).
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Exchange(RequestResponseCycle):
    """uvicorn's request and response, which can also send an answer that is known whole."""

    async def send(self, message: Any) -> None:
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
        body = message["body"]
        self.transport.write(
            b"%b%bcontent-type: application/json\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                STATUS_LINE[message["status"]],
                defaults,
                len(body),
                message["head"],
                b"" if self.keep_alive else b"connection: close\r\n",
                body,
            )
        )
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, which opens a plain session by itself, and hangs up on whoever does not ask for anything."""

    #: Since when there is nothing to answer, on the loop's clock.
    _idle_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._deadline.cancel()
        super().on_headers_complete()

    # One timer as long as the connection lives, in place of uvicorn's for each request.

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._expect_request(self.timeout_keep_alive)

    def _expect_request(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._expect_request(left)
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Exchange  # uvicorn makes its own, and asks nobody of which class
        if cycle.scope["method"] != "HEAD":
            cycle.scope["extensions"] = {WHOLE: {}}  # connexion notes there which operation a request is for
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        engine: Engine | None = self.app_state.get(ENGINE)
        key = self._plain_key() if engine is not None else None
        if engine is None or key is None:
            super().handle_websocket_upgrade()
            return
        connection = Connection.upgraded(self)
        self.connections.discard(self)
        self.connections.add(connection)
        self.transport.set_protocol(connection)
        accepted = base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest())
        headers = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accepted, headers)
        )
        engine.open(connection)

    def _plain_key(self) -> bytes | None:
        """The key of a request that asks for a session and nothing else; None leaves it to uvicorn."""
        if self.scope["method"] != "GET" or self.scope["http_version"] != "1.1" or not _asks_for_session(self.url):
            return None
        keys, versions = [], []
        for name, value in self.scope["headers"]:
            if name in _ODD_HEADERS:
                return None
            if name == b"sec-websocket-key":
                keys.append(value)
            elif name == b"sec-websocket-version":
                versions.append(value)
        if len(keys) != 1 or versions != [b"13"]:
            return None
        try:
            is_key = len(binascii.a2b_base64(keys[0], strict_mode=True)) == 16
        except binascii.Error:
            return None
        return keys[0] if is_key else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)


@functools.lru_cache(maxsize=64)
def _asks_for_session(url: bytes) -> bool:
    path, _, query = url.decode("latin-1").partition("?")
    asked = parse_qs(query)
    is_plain = asked.get("EIO") == ["4"] and asked.get("transport") == ["websocket"]
    return path == "/socket.io/" and is_plain and asked.keys().isdisjoint(_ODD)
