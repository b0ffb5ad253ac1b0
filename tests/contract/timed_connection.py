"""An HTTP connection without a network, on a clock that a test sets forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from contract.http_server import HttpProtocol

_SEGMENT_BYTES = 64 * 1024


class Timer:
    """What a loop returns for a callback that is to come."""

    def __init__(self, when: float, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._when, self.callback, self.args = when, callback, args
        self.is_cancelled = False

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The running loop with a time of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: list[Timer] = []
        self.now = 1000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Timer:
        self._timers.append(Timer(when, callback, args))
        return self._timers[-1]

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, with each timer at its time."""
        end = self.now + seconds
        while True:
            await settle()
            self._timers = [timer for timer in self._timers if not timer.is_cancelled]
            timer = min(self._timers, key=Timer.when, default=None)
            if timer is None or timer.when() > end:
                break
            self._timers.remove(timer)
            self.now = max(self.now, timer.when())
            timer.callback(*timer.args)
        self.now = end
        await settle()


async def settle() -> None:
    """Let tasks that wait for nothing but each other come to their ends."""
    for _ in range(20):
        await asyncio.sleep(0)


class TimedConnection(asyncio.Transport):
    """The client of a connection, and the transport that the server sees."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__()
        self.clock = Clock()
        config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", log_config=None, **options)
        config.load()
        self._protocol = HttpProtocol(config, ServerState(), {}, _loop=self.clock)  # type: ignore[arg-type]
        self._unread = b""
        self._is_paused = False
        #: What the server has sent and `answers` has not returned, and how it has ended the connection.
        self._received = b""
        self.is_closed = self.is_aborted = self.is_half_closed = False
        self._protocol.connection_made(self)

    async def send(self, data: bytes) -> None:
        self._unread += data
        await self._deliver()

    async def _deliver(self) -> None:
        while self._unread and not self._is_paused and not self.is_closed:
            segment, self._unread = self._unread[:_SEGMENT_BYTES], self._unread[_SEGMENT_BYTES:]
            self._protocol.data_received(segment)
            await settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self._deliver()

    def answers(self) -> bytes:
        """Return what has come since the last time."""
        received, self._received = self._received, b""
        return received

    # What the server calls.

    def write(self, data: Any) -> None:
        if not self.is_closed:
            self._received += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_half_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.clock.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.is_aborted = True
        self.close()

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
