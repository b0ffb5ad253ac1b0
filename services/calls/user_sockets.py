"""Owns how many sockets a user has, over all workers: the `user:{id}:sockets` keys of Redis.

Nobody waits for this count: a handshake is over before Redis has heard of it, and without Redis it is not kept. What
happens in one turn of the loop goes out as one write.
"""

from __future__ import annotations

import asyncio
import logging
import time

import errors
from adapters import tasks
from adapters.ports import Bus
from adapters.redis import REDIS_UNAVAILABLE
from adapters.redis_pipeline import RedisPipeline

log = logging.getLogger("parlance.sockets")

_KEPT_SECONDS = 7 * 24 * 60 * 60
#: Farewells that are remembered while Redis is away.
_MOST_OWED = 10_000


class UserSocketsService:
    def __init__(self, scripts: RedisPipeline, bus: Bus, most: int) -> None:
        """`most` sockets a user may have; one more takes the place of the oldest."""
        self._scripts = scripts
        self._bus = bus
        self._most = most
        #: What Redis is to hear, in order: the user, the socket, when it came (ms) or None where it went.
        self._changes: list[tuple[str, str, int | None]] = []
        self._counting: asyncio.Task[None] | None = None

    def enter(self, user_id: str, socket: str) -> None:
        """Count a socket; the user's oldest is told to make room where that is one too many."""
        self._change(user_id, socket, time.time_ns() // 1_000_000)

    def leave(self, user_id: str, socket: str) -> None:
        self._change(user_id, socket, None)

    async def of(self, user_id: str) -> list[str]:
        """The sockets of a user on all workers, as far as Redis knows: it may still name those of one that died."""
        found: list[str] = await self._scripts.execute("ZRANGE", f"user:{user_id}:sockets", 0, -1, idempotent=True)
        return found

    def _change(self, user_id: str, socket: str, at: int | None) -> None:
        self._changes.append((user_id, socket, at))
        if self._counting is None:
            self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        try:
            while self._changes:
                changes, self._changes = self._changes, []
                try:
                    replaced = await self._tell(changes)
                except REDIS_UNAVAILABLE as error:
                    log.warning("sockets could not be counted: %s", error)
                    owed = [change for change in changes if change[2] is None]
                    self._changes = [*owed, *self._changes][-_MOST_OWED:]
                    return
                for socket in replaced:
                    try:
                        await self._bus.send(socket, "replace")
                    except errors.Unavailable:
                        log.warning("a socket that was replaced could not be told")
        finally:
            self._counting = None

    async def _tell(self, changes: list[tuple[str, str, int | None]]) -> list[str]:
        answers = await asyncio.gather(
            *(
                self._scripts.execute("ZREM", f"user:{user_id}:sockets", socket, idempotent=True)
                if at is None
                else self._scripts.call(
                    "enter_socket",
                    [f"user:{user_id}:sockets"],
                    [socket, at, self._most, _KEPT_SECONDS],
                    idempotent=True,
                )
                for user_id, socket, at in changes
            )
        )
        return [socket for answer in answers if isinstance(answer, list) for socket in answer]

    async def stop(self) -> None:
        """Let the last farewells out."""
        if self._counting is not None:
            try:
                async with asyncio.timeout(2):
                    await self._counting
            except TimeoutError:
                await tasks.end(self._counting)
