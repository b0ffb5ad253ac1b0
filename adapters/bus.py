"""Messages between workers: over Unix sockets within a host (mesh.py), over Redis between hosts (streams.py).

Which of the two leads to a worker is settled with the first message to it, and never changes: so messages from one
worker to another keep their order. Who lives is Redis's word (workers.py); within a host, the end of a connection's.
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
from adapters.workers import DEAD_AFTER_SECONDS, HEARTBEAT_SECONDS, Workers
from digests import compute_digest
from settings import Settings

log = logging.getLogger("parlance.bus")

LUA = Path(__file__).parent / "lua"


def directory(settings: Settings) -> Path | None:
    """Return where the workers of this host that share one Redis meet; None where there are no Unix sockets."""
    if not hasattr(sockets, "AF_UNIX"):
        return None
    if settings.bus_directory is not None:
        return settings.bus_directory
    redis_address = f"{settings.redis_host}:{settings.redis_port}"
    return Path(tempfile.gettempdir()) / f"parlance-{os.getuid()}-{compute_digest(redis_address)[:8]}"


class WorkerBus:
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
        """Both hold the scripts of LUA; `reader` is for waiting only.

        Without a `directory`, or with one that won't do and is not `required`, everything goes over Redis.
        """
        self.worker_id = secrets.token_hex(4)
        self._handlers = Handlers()
        self._streams = Streams(commands, reader, self.worker_id, self._handlers)
        self._workers = Workers(
            commands,
            self.worker_id,
            on_lost=self._report_lost,
            on_data_lost=self._report_data_lost,
            heartbeat=heartbeat,
            dead_after=dead_after,
        )
        self._mesh = Mesh(directory, self.worker_id, self._handlers, self._died) if directory else None
        self._mesh_is_required = required
        self._own: deque[Message] = deque()
        self._own_delivery = Delivery(self._handlers, lambda: self._own.popleft() if self._own else None)
        self._lost_listeners: list[Callable[[str], Awaitable[None]]] = []
        self._data_lost_listeners: list[Callable[[], Awaitable[None]]] = []
        self._tasks = tasks.BackgroundTasks()

    def on(self, kind: str, handler: Handler) -> None:
        self._handlers.set(kind, handler)

    def on_worker_lost(self, listener: Callable[[str], Awaitable[None]]) -> None:
        self._lost_listeners.append(listener)

    def on_data_lost(self, listener: Callable[[], Awaitable[None]]) -> None:
        self._data_lost_listeners.append(listener)

    def post(self, socket: str, kind: str, *arguments: object) -> None:
        worker_id = socket.partition(".")[0]
        if worker_id == self.worker_id:
            self._own.append([kind, socket, *arguments])
            self._own_delivery.proceed()
            return
        message = orjson.dumps((kind, socket, *arguments))
        if worker_id in self._workers.lost:
            raise errors.Unavailable()
        link = self._mesh.link_to(worker_id) if self._mesh else None
        if link is not None:
            link.post(message)
        elif self._streams.is_away:
            raise errors.Unavailable()
        else:
            self._streams.post(worker_id, message)

    async def send(self, socket: str, kind: str, *arguments: object) -> None:
        worker_id = socket.partition(".")[0]
        if worker_id == self.worker_id:
            unfinished = self._handlers.call(kind, socket, *arguments)
            if unfinished is not None:
                await unfinished
            return
        if worker_id in self._workers.lost:
            raise errors.Unavailable()
        message = orjson.dumps((kind, socket, *arguments))
        link = self._mesh.link_to(worker_id) if self._mesh else None
        if link is not None:
            link.post(message)
            await link.drained()
        else:
            await asyncio.shield(self._streams.post(worker_id, message))

    def neighbours(self) -> list[str]:
        return self._mesh.neighbours() if self._mesh else []

    def traffic(self) -> dict[str, Traffic]:
        return {"redis": self._streams.traffic, **({"mesh": self._mesh.traffic} if self._mesh else {})}

    def _died(self, worker_id: str) -> None:
        log.warning("worker_died worker_id=%s", worker_id)
        self._spawn(self._workers.declare_dead(worker_id))
        self._report_lost(worker_id)

    def _report_lost(self, worker_id: str) -> None:
        for listener in self._lost_listeners:
            self._spawn(listener(worker_id))

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
        # Only now, so that the workers that learn of this one find it listening.
        try:
            await self._workers.start()
        except BaseException:
            if self._mesh is not None:
                await self._mesh.stop()
            raise
        self._streams.start()

    async def stop(self) -> None:
        await self._tasks.stop()
        await self._workers.stop()
        if self._mesh is not None:
            await self._mesh.stop()
        await self._streams.stop()
        await self._own_delivery.stop()
