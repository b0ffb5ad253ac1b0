"""A TCP proxy that a test points elsewhere, freezes and cuts: what a network, a name and a failover do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from testing.time_limits import limit

T = TypeVar("T")


class TcpProxy:
    """Forwards connections to `target`, in a thread of its own: it also works while a test blocks."""

    def __init__(self, host: str, port: int) -> None:
        #: Where new connections go.
        self.target = host, port
        self.port = 0
        #: Connections that were accepted so far.
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._flows = _flowing()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        """Forward nothing more, old and new connections alike; none is closed, and the kernel acknowledges all."""
        self._do(self._flows.clear)

    def thaw(self) -> None:
        """Forward again, also what arrived meanwhile."""
        self._do(self._flows.set)

    def let_new_pass(self) -> None:
        """Forward new connections, and leave those from before frozen for ever."""

        def replace() -> None:
            self._flows = _flowing()

        self._do(replace)

    def cut(self) -> None:
        """Close all connections with a reset."""

        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._do(abort)

    def _do(self, function: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(function)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(limit(5))

    async def _start(self) -> None:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        flows = self._flows
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await flows.wait()
            from_server, to_server = await asyncio.open_connection(*self.target)
            self._writers.add(to_server)
            await asyncio.gather(self._carry(flows, reader, to_server), self._carry(flows, from_server, writer))
            self._writers.discard(to_server)
        except (OSError, asyncio.CancelledError):
            pass  # asyncio logs what its callback raises
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _carry(self, flows: asyncio.Event, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while True:
                data = await source.read(65536)
                await flows.wait()  # a close is not forwarded either
                if not data:
                    break
                target.write(data)
        finally:
            target.close()

    async def _stop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _flowing() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """Run a proxy on a port of 127.0.0.1, `port` of the result."""
    proxy = TcpProxy(host, port)
    proxy._thread.start()
    asyncio.run_coroutine_threadsafe(proxy._start(), proxy._loop).result(limit(5))
    try:
        yield proxy
    finally:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(proxy._stop(), proxy._loop).result(limit(5))
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        proxy._thread.join(limit(5))
