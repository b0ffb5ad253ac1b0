"""Messages between web processes: over Unix sockets within a host (mesh.py), over Redis between hosts (streams.py).

The first message to a process decides which of the two is used, for good, so messages from one process to another keep
their order. Deaths are detected by heartbeats in Redis (web_processes.py), within a host by the end of a connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket as sockets
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

import errors
from adapters import tasks
from adapters.counting import Traffic
from adapters.deliveries import Delivery, Handlers, Message
from adapters.mesh import Mesh
from adapters.ports import Handler
from adapters.redis_pipeline import RedisPipeline
from adapters.streams import Streams
from adapters.web_processes import DEAD_AFTER_SECONDS, HEARTBEAT_SECONDS, WebProcesses
from digests import compute_digest
from settings import Settings

log = logging.getLogger("parlance.bus")

LUA = Path(__file__).parent / "lua"


def directory(settings: Settings) -> Path | None:
    """Return the directory of the Unix sockets of this host's web processes; None on systems without Unix sockets."""
    if not hasattr(sockets, "AF_UNIX"):
        return None
    if settings.bus_directory is not None:
        return settings.bus_directory
    return Path(tempfile.gettempdir()) / f"parlance-{os.getuid()}-{compute_digest(settings.redis_address)[:8]}"


class ProcessBus:
    def __init__(
        self,
        commands: RedisPipeline,
        reader: RedisPipeline,
        *,
        directory: Path | None = None,
        required: bool = False,
        heartbeat: float = HEARTBEAT_SECONDS,
        dead_after: int = DEAD_AFTER_SECONDS,
    ) -> None:
        """Both have the scripts of LUA; `reader` is for blocking reads.

        Without a `directory`, or with an unusable one that is not `required`, all messages go over Redis.
        """
        self.process_id = secrets.token_hex(4)
        self._handlers = Handlers()
        self._streams = Streams(commands, reader, self.process_id, self._handlers)
        self._processes = WebProcesses(
            commands,
            self.process_id,
            on_lost=self._report_lost,
            on_data_lost=self._report_data_lost,
            heartbeat=heartbeat,
            dead_after=dead_after,
        )
        self._mesh = Mesh(directory, self.process_id, self._handlers, self._died) if directory else None
        self._mesh_is_required = required
        self._own: deque[Message] = deque()
        self._own_delivery = Delivery(self._handlers, lambda: self._own.popleft() if self._own else None)
        self._lost_listeners: list[Callable[[str], Awaitable[None]]] = []
        self._data_lost_listeners: list[Callable[[], Awaitable[None]]] = []
        self._tasks = tasks.BackgroundTasks()

    def on(self, kind: str, handler: Handler) -> None:
        self._handlers.set(kind, handler)

    def on_process_lost(self, listener: Callable[[str], Awaitable[None]]) -> None:
        self._lost_listeners.append(listener)

    def on_data_lost(self, listener: Callable[[], Awaitable[None]]) -> None:
        self._data_lost_listeners.append(listener)

    def post(self, socket_id: str, kind: str, *arguments: object) -> None:
        process_id = socket_id.partition(".")[0]
        if process_id == self.process_id:
            self._own.append([kind, socket_id, *arguments])
            self._own_delivery.proceed()
            return
        message = orjson.dumps((kind, socket_id, *arguments))
        if process_id in self._processes.lost:
            raise errors.Unavailable()
        link = self._mesh.link_to(process_id) if self._mesh else None
        if link is not None:
            link.post(message)
        elif self._streams.is_unavailable:
            raise errors.Unavailable()
        else:
            self._streams.post(process_id, message)

    async def send(self, socket_id: str, kind: str, *arguments: object) -> None:
        process_id = socket_id.partition(".")[0]
        if process_id == self.process_id:
            unfinished = self._handlers.call(kind, socket_id, *arguments)
            if unfinished is not None:
                await unfinished
            return
        if process_id in self._processes.lost:
            raise errors.Unavailable()
        message = orjson.dumps((kind, socket_id, *arguments))
        link = self._mesh.link_to(process_id) if self._mesh else None
        if link is not None:
            link.post(message)
            await link.drained()
        else:
            await asyncio.shield(self._streams.post(process_id, message))

    def neighbours(self) -> list[str]:
        return self._mesh.neighbours() if self._mesh else []

    def traffic(self) -> dict[str, Traffic]:
        return {"redis": self._streams.traffic, **({"mesh": self._mesh.traffic} if self._mesh else {})}

    def _died(self, process_id: str) -> None:
        log.warning("web_process_died process_id=%s", process_id)
        self._spawn(self._processes.declare_dead(process_id))
        self._report_lost(process_id)

    def _report_lost(self, process_id: str) -> None:
        for listener in self._lost_listeners:
            self._spawn(listener(process_id))

    def _report_data_lost(self) -> None:
        log.warning("redis_data_lost")
        self._streams.begin_again()
        for listener in self._data_lost_listeners:
            self._spawn(listener())

    def _spawn(self, work: Awaitable[None]) -> None:
        async def finish() -> None:
            try:
                await work
            except Exception:
                log.exception("bus_listener_failed")

        self._tasks.start(finish())

    async def start(self) -> None:
        if self._mesh is not None:
            try:
                await self._mesh.start()
            except OSError as error:
                if self._mesh_is_required:
                    raise
                log.warning("mesh_unavailable error=%s", error)
        # After the mesh, so that other processes that find this one can connect.
        try:
            await self._processes.start()
        except BaseException:
            if self._mesh is not None:
                await self._mesh.stop()
            raise
        self._streams.start()

    async def stop(self) -> None:
        await self._tasks.stop()
        await self._processes.stop()
        if self._mesh is not None:
            await self._mesh.stop()
        await self._streams.stop()
        await self._own_delivery.stop()
