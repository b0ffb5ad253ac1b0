"""Limits of one HTTP connection, their timing, and the flow control that keeps pipelined requests bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl

import errors

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of each request of a connection, in seconds and bytes."""

    #: From the first byte of a head (of the connection, until there is one) to its end.
    head_seconds: float = 10
    #: Request line and header lines together; trailers may have as many again.
    head_bytes: int = 16 * 1024
    head_lines: int = 100
    #: The request target. RFC 9112 (3) recommends a request line of 8000 octets.
    target_bytes: int = 8 * 1024
    #: A body has to bring this many bytes per second, averaged over this many seconds: a phone in a tunnel may be
    #: silent for almost as long, and the slowest GPRS link is four times as fast.
    body_bytes_per_second: float = 240
    body_seconds: float = 30
    #: How long a refused client may continue to send, so that a reset does not overtake the refusal (RFC 9112, 9.6).
    linger_seconds: float = 2
    #: How long a quiet connection of a stopping process may still bring a request, which is then on its way.
    last_request_seconds: int = 1

    def allow(self, headers: list[tuple[bytes, bytes]], target: bytes = b"") -> bool:
        """Return whether a head, or trailers, are within the limits of size and lines."""
        size = len(target) + sum([len(name) + len(value) + 4 for name, value in headers])
        return size <= self.head_bytes and len(headers) <= self.head_lines and len(target) <= self.target_bytes

    def head_too_slow(self) -> errors.RequestTimeout:
        seconds = self.head_seconds
        return errors.RequestTimeout(f"The head of the request did not arrive within {seconds:g} seconds.")

    def body_too_slow(self) -> errors.RequestTimeout:
        rate = self.body_bytes_per_second
        return errors.RequestTimeout(f"The body arrived too slowly: less than {rate:g} bytes per second.")

    def head_too_large(self, target: bytes) -> errors.ProductError:
        if len(target) > self.target_bytes:
            return errors.UriTooLong(f"The address may have {self.target_bytes} bytes at most.")
        return errors.HeadersTooLarge(
            f"The head of a request may have {self.head_bytes} bytes in {self.head_lines} header lines at most."
        )

    def trailers_too_large(self) -> errors.ProductError:
        return errors.HeadersTooLarge(
            f"Trailers and chunk extensions may have {self.head_bytes} bytes in {self.head_lines} lines at most."
        )


class Timer:
    """The timer of one connection: the earliest of the deadlines that it was started with."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_deadline: Callable[[], None]) -> None:
        self._loop, self._on_deadline = loop, on_deadline
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self, deadline: float) -> None:
        """Call back at `deadline`, on the loop's clock, or before."""
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(deadline, self._expire)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        self._on_deadline()


class BodyRate:
    """Timing of a request's body, which is held to a rate over spans of some seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: The request whose body is timed, the beginning of the span, and the connection's body bytes at that time.
        self._request: object = None
        self._since, self._bytes = 0.0, 0

    def deadline(self, request: object, body_bytes: int, now: float, *, is_held: bool) -> float:
        """Return when this span ends; a new one begins where the body came at its rate, or `is_held`."""
        seconds = self._limits.body_seconds
        due = self._since + seconds
        is_enough = body_bytes - self._bytes >= seconds * self._limits.body_bytes_per_second
        if is_held or self._request is not request or (now >= due and is_enough):
            self._request, self._since, self._bytes = request, now, body_bytes
            due = now + seconds
        return due


class Flow(FlowControl):
    """uvicorn's flow control, which also stops reading while complete requests wait."""

    def __init__(self, transport: asyncio.Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()
