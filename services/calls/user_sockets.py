"""Sockets of each user over all web processes: the `user:{match}:{id}:sockets` keys of Redis.

Those whose app is in the background are in `user:{match}:{id}:background` too.

Writes are in the background: a handshake ends before Redis has recorded it, and without Redis it is not recorded.
The changes of one turn of the event loop are one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from adapters import redis, tasks
from adapters.ports import Bus
from adapters.redis_pipeline import RedisPipeline
from services.bus_messages import Message

log = logging.getLogger("parlance.sockets")

#: The user's newer socket has replaced this one.
REPLACE: Message[[]] = Message("replace")
SOCKETS_TTL_SECONDS = 7 * 24 * 60 * 60
#: Takes a user and the socket that has connected.
InvitedListener = Callable[[str, str], None]
#: Removals that are kept while Redis is unavailable.
MAX_PENDING_REMOVALS = 10_000


class _Change(NamedTuple):
    """A socket that came, or went where `added_ms` is None, or whose app went to the background or came back."""

    user_id: str
    socket_id: str
    added_ms: int | None
    is_background: bool | None = None

    @property
    def is_removal(self) -> bool:
        return self.added_ms is None and self.is_background is None


class UserSocketsService:
    def __init__(self, pipeline: RedisPipeline, bus: Bus, limit: int) -> None:
        """`limit` sockets a user may have; one more replaces the oldest."""
        self._pipeline = pipeline
        self._bus = bus
        self._limit = limit
        #: What is to be written to Redis, in order.
        self._changes: list[_Change] = []
        self._flush_task: asyncio.Task[None] | None = None
        #: Sockets of this web process whose app is in the background.
        self._background_socket_ids: set[str] = set()
        self._listeners: list[InvitedListener] = []

    def on_connected_while_invited(self, listener: InvitedListener) -> None:
        """Call `listener` when a socket of this web process connects whose user may have an open invitation."""
        self._listeners.append(listener)

    def set_background(self, user_id: str, socket_id: str, *, is_background: bool) -> None:
        """Record whether the app of a socket is in the background."""
        (self._background_socket_ids.add if is_background else self._background_socket_ids.discard)(socket_id)
        self._append(_Change(user_id, socket_id, None, is_background))

    def add(self, user_id: str, socket_id: str) -> None:
        """Add a socket; beyond the limit the user's oldest is disconnected as replaced."""
        self._append(_Change(user_id, socket_id, time.time_ns() // 1_000_000))
        if socket_id in self._background_socket_ids:  # again, after Redis has lost its data
            self._append(_Change(user_id, socket_id, None, True))

    def remove(self, user_id: str, socket_id: str) -> None:
        self._background_socket_ids.discard(socket_id)
        self._append(_Change(user_id, socket_id, None))

    async def list_socket_ids(self, user_id: str) -> list[str]:
        """List a user's sockets on all web processes, as recorded in Redis: some may be of a dead process."""
        found: list[str] = await self._pipeline.execute(
            "ZRANGE", f"user:{{match}}:{user_id}:sockets", 0, -1, idempotent=True
        )
        return found

    def _append(self, change: _Change) -> None:
        self._changes.append(change)
        if self._flush_task is None:
            self._flush_task = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._changes:
                changes, self._changes = self._changes, []
                try:
                    replaced, invited = await self._write(changes)
                except redis.UNAVAILABLE as error:
                    log.warning("user_sockets_not_written changes=%d error=%r", len(changes), error)
                    removals = [change for change in changes if change.is_removal]
                    self._changes = [*removals, *self._changes][-MAX_PENDING_REMOVALS:]
                    return
                for socket_id in replaced:
                    await REPLACE.send_if_there(self._bus, socket_id)
                for user_id, socket_id in invited:
                    for listener in self._listeners:
                        listener(user_id, socket_id)
        finally:
            self._flush_task = None

    async def _write(self, changes: list[_Change]) -> tuple[list[str], list[tuple[str, str]]]:
        """Write changes to Redis; return the sockets that are replaced, and those that came to an invited user."""
        answers = await asyncio.gather(*map(self._write_one, changes))
        replaced, invited = [], []
        for change, answer in zip(changes, answers, strict=True):
            if isinstance(answer, list):
                is_invited, *others = answer
                replaced += others
                if is_invited == "1":
                    invited.append((change.user_id, change.socket_id))
        return replaced, invited

    def _write_one(self, change: _Change) -> asyncio.Future[Any]:
        key, socket_id = f"user:{{match}}:{change.user_id}", change.socket_id
        if change.is_background:
            return self._pipeline.call(
                "hide_socket", [f"{key}:background"], [socket_id, SOCKETS_TTL_SECONDS], idempotent=True
            )
        if change.is_background is False:
            return self._pipeline.execute("SREM", f"{key}:background", socket_id, idempotent=True)
        if change.added_ms is None:
            return self._pipeline.call(
                "remove_socket", [f"{key}:sockets", f"{key}:background"], [socket_id], idempotent=True
            )
        return self._pipeline.call(
            "add_socket",
            [f"{key}:sockets", f"{{match}}:invited:{change.user_id}"],
            [socket_id, change.added_ms, self._limit, SOCKETS_TTL_SECONDS],
            idempotent=True,
        )

    async def stop(self) -> None:
        """Write the last changes."""
        if self._flush_task is not None:
            try:
                async with asyncio.timeout(2):
                    await self._flush_task
            except TimeoutError:
                await tasks.end(self._flush_task)
