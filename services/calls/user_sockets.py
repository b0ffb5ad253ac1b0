"""Sockets of each user over all web processes: the `user:{match}:{id}:sockets` keys of Redis.

Writes are in the background: a handshake ends before Redis has recorded it, and without Redis it is not recorded.
The changes of one turn of the event loop are one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

from adapters import redis, tasks
from adapters.ports import Bus
from adapters.redis_pipeline import RedisPipeline
from services.bus_messages import Message

log = logging.getLogger("parlance.sockets")

#: The user's newer socket has replaced this one.
REPLACE: Message[[]] = Message("replace")
SOCKETS_TTL_SECONDS = 7 * 24 * 60 * 60
#: Removals that are kept while Redis is unavailable.
MAX_PENDING_REMOVALS = 10_000


class _Change(NamedTuple):
    """A socket that came, or went where `added_ms` is None."""

    user_id: str
    socket_id: str
    added_ms: int | None


class UserSocketsService:
    def __init__(self, pipeline: RedisPipeline, bus: Bus, limit: int) -> None:
        """`limit` sockets a user may have; one more replaces the oldest."""
        self._pipeline = pipeline
        self._bus = bus
        self._limit = limit
        #: What is to be written to Redis, in order.
        self._changes: list[_Change] = []
        self._flush_task: asyncio.Task[None] | None = None

    def add(self, user_id: str, socket_id: str) -> None:
        """Add a socket; beyond the limit the user's oldest is disconnected as replaced."""
        self._append(_Change(user_id, socket_id, time.time_ns() // 1_000_000))

    def remove(self, user_id: str, socket_id: str) -> None:
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
                    replaced = await self._write(changes)
                except redis.UNAVAILABLE as error:
                    log.warning("user_sockets_not_written changes=%d error=%r", len(changes), error)
                    removals = [change for change in changes if change.added_ms is None]
                    self._changes = [*removals, *self._changes][-MAX_PENDING_REMOVALS:]
                    return
                for socket_id in replaced:
                    await REPLACE.send_if_there(self._bus, socket_id)
        finally:
            self._flush_task = None

    async def _write(self, changes: list[_Change]) -> list[str]:
        """Write changes to Redis; return the sockets that are replaced."""
        answers = await asyncio.gather(
            *(
                self._pipeline.execute("ZREM", f"user:{{match}}:{user_id}:sockets", socket_id, idempotent=True)
                if added_ms is None
                else self._pipeline.call(
                    "add_socket",
                    [f"user:{{match}}:{user_id}:sockets"],
                    [socket_id, added_ms, self._limit, SOCKETS_TTL_SECONDS],
                    idempotent=True,
                )
                for user_id, socket_id, added_ms in changes
            )
        )
        return [socket_id for answer in answers if isinstance(answer, list) for socket_id in answer]

    async def stop(self) -> None:
        """Write the last changes."""
        if self._flush_task is not None:
            try:
                async with asyncio.timeout(2):
                    await self._flush_task
            except TimeoutError:
                await tasks.end(self._flush_task)
