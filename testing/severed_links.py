"""Connections that a test cuts: a proxy before a server's TCP port, or before a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """A proxy: it passes bytes on, swallows them, and cuts its connections."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallows = False
        self.swallowed_bytes = 0

    async def listen(self, at: Path | None = None) -> int:
        """Listen on a Unix socket, or on a free port of this machine, which is returned."""
        if at is not None:
            self._server = await asyncio.start_unix_server(self._serve, str(at))
            return 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream_writer}
        for source, target in ((reader, upstream_writer), (upstream_reader, writer)):
            task = asyncio.create_task(self._pass(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self.swallows:
                    self.swallowed_bytes += len(data)
                else:
                    target.write(data)
        target.close()

    def cut(self) -> None:
        """Break all connections, and pass on those that are opened from now on."""
        self.swallows = False
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def link_to_port(port: int) -> Link:
    return Link(lambda: asyncio.open_connection("127.0.0.1", port))


def link_to_unix_socket(path: Path) -> Link:
    return Link(lambda: asyncio.open_unix_connection(str(path)))
