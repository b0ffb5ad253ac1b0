"""Requests and answers of HTTP: their start, checks of a head, whole answers in one write, and refusals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

import errors
from contract import problems
from contract.middleware import STOPPING
from contract.operations import WHOLE

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def is_stopping(app_state: dict[str, Any]) -> bool:
    """Return whether the process is about to stop."""
    stopping = app_state.get(STOPPING)
    return stopping is not None and stopping.is_set()


class Exchange(RequestResponseCycle):
    """uvicorn's request and response, which also sends an answer whose head is known beforehand."""

    #: uvicorn's state of the process.
    app_state: dict[str, Any]

    @classmethod
    def start(cls, protocol: HttpToolsProtocol) -> Exchange:
        """Make the exchange of the request whose head the protocol has read."""
        is_kept = protocol.scope["http_version"] != "1.0" and protocol.parser.should_keep_alive()
        exchange = cls(
            scope=protocol.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=is_kept,
            on_response=protocol.on_response_complete,
        )
        exchange.app_state = protocol.app_state
        return exchange

    async def send(self, message: Any) -> None:
        if not self.response_started and is_stopping(self.app_state):
            self.keep_alive = False
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


def check_head(version: str, target: bytes, hosts: int) -> None:
    """Raise RequestInvalid unless version, target and the number of Host headers are those of a request to us."""
    if hosts != 1 and (hosts or version != "1.0"):  # RFC 9112, 3.2
        raise errors.RequestInvalid("An HTTP/1.1 request has one Host header.")
    if version not in ("1.1", "1.0"):
        raise errors.RequestInvalid("This server supports only HTTP/1.1; send the request as HTTP/1.1.")
    if b"#" in target:
        raise errors.RequestInvalid("The address has a fragment; send it without '#'.")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request target; raise HttpParserInvalidURLError."""
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query
    parsed = httptools.parse_url(target)
    return parsed.path, parsed.query or b""


def refusal(error: errors.ProductError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Render an error as the last answer of a connection, with `headers` of the server's own."""
    body, named = problems.problem_response(error)
    lines = [*headers, *((name.lower().encode(), value.encode()) for name, value in named.items())]
    lines += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    return b"%b%b\r\n%b" % (STATUS_LINE[error.status], b"".join([b"%b: %b\r\n" % line for line in lines]), body)


def unreadable(error: httptools.HttpParserError) -> errors.ProductError:
    """Describe why the parser cannot read a request; its messages never repeat what was sent."""
    if isinstance(error.__context__, errors.ProductError):  # raised by a callback of ours
        return error.__context__
    reason = "its address cannot be read" if isinstance(error, httptools.HttpParserCallbackError) else error
    return errors.RequestInvalid(f"This is not a valid HTTP/1.1 request: {reason}.")
