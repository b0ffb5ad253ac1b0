"""What HTTP writes without ASGI: an answer that is known whole, and the refusal of a request that reaches no app."""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

import errors
from contract import problems
from contract.operations import WHOLE


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


def refusal(error: errors.ProductError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Render an error as the last answer of a connection, with `headers` of the server's own."""
    body, named = problems.problem_response(error)
    lines = [*headers, *((name.lower().encode(), value.encode()) for name, value in named.items())]
    lines += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    return b"%b%b\r\n%b" % (STATUS_LINE[error.status], b"".join([b"%b: %b\r\n" % line for line in lines]), body)


def unreadable(error: httptools.HttpParserError) -> errors.RequestInvalid:
    """Name what the parser says of bytes that it cannot read; its words never repeat them."""
    reason = "its address cannot be read" if isinstance(error, httptools.HttpParserCallbackError) else error
    return errors.RequestInvalid(f"This is not a valid HTTP/1.1 request: {reason}.")
