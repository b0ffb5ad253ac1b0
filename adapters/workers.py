"""Owns who of the workers lives, as Redis knows it.

    workers        every worker, scored by its last sign of life (ms of Redis's clock)
    workers:lost   those declared dead in the last minute, by when
    worker:{id}    that a worker lives, until its sign of life expires

A worker that stops takes itself out. Whoever finds another one's sign of life too old declares it dead, and all hear of
it at their next beat; one that was only asleep finds itself missing, as it does when Redis has lost its data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import redis.exceptions

from adapters import tasks
from adapters.scripts import Scripts

log = logging.getLogger("parlance.bus")

#: Seconds between two signs of life, and after how many without one a worker counts as dead.
HEARTBEAT, DEAD_AFTER = 2, 6
_REMEMBER_LOST = 60
#: Seconds between two tries while Redis does not answer; and an answer that takes longer is none to judge others by.
_TRY_AGAIN, _PROMPT = 0.5, 1.0

_ALL = ("workers", "workers:lost")


class Workers:
    def __init__(
        self,
        scripts: Scripts,
        worker_id: str,
        *,
        on_lost: Callable[[str], None],
        on_data_lost: Callable[[], None],
        heartbeat: float = HEARTBEAT,
        dead_after: int = DEAD_AFTER,
    ) -> None:
        """`heartbeat` and `dead_after` are seconds."""
        self._heartbeat = heartbeat
        self._dead_after = dead_after
        self._scripts = scripts
        self._worker_id = worker_id
        self._on_lost = on_lost
        self._on_data_lost = on_data_lost
        self._healthy_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        #: Workers that Redis says are dead.
        self.lost: frozenset[str] = frozenset()

    async def start(self) -> None:
        await self._live(joins=True)
        self._task = asyncio.create_task(self._go_on())

    async def _live(self, *, joins: bool) -> int | None:
        """Give a sign of life; answer Redis's time (ms), or None where this worker's entry is gone."""
        keys = ["workers", "workers:lost", f"worker:{self._worker_id}"]
        args: list[str | int] = [self._worker_id, self._dead_after, _REMEMBER_LOST, int(joins)]
        is_known, now, lost = await self._scripts.call("beat", keys, args, idempotent=True)
        # Taken for dead itself, this worker learns it by its missing entry.
        before, self.lost = self.lost, frozenset(lost) - {self._worker_id}
        for lost_id in self.lost - before:
            self._on_lost(lost_id)
        return int(now) if is_known else None

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._heartbeat
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            try:
                now = await self._live(joins=False)
                if now is None:
                    await self._live(joins=True)
                    self._on_data_lost()
                    self._healthy_since = None
                elif loop.time() - began > _PROMPT:
                    self._healthy_since = None
                elif self._healthy_since is None:
                    self._healthy_since = began
                elif began - self._healthy_since > self._dead_after:
                    # Redis has been well for so long that who lives has said so. Counted from the beat's time: were
                    # Redis to halt before this command, the others' signs of life would wait behind it.
                    await self._bury_silent(now - self._dead_after * 1000)
                pause = self._heartbeat
            except (redis.exceptions.RedisError, OSError) as error:
                self._healthy_since = None
                pause = _TRY_AGAIN
                log.warning("Redis does not take this worker's sign of life: %s", error)

    async def _bury_silent(self, since: int) -> None:
        for worker_id in await self._scripts.call("bury", _ALL, [since, ""]):
            self.lost |= {worker_id}
            self._on_lost(worker_id)

    async def declare_dead(self, worker_id: str) -> None:
        """Let everybody know of a death that is certain."""
        with suppress(redis.exceptions.RedisError, OSError):  # its sign of life will be too old for whoever looks
            await self._scripts.call("bury", _ALL, ["+inf", worker_id], idempotent=True)

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)
        with suppress(redis.exceptions.RedisError, OSError):
            await asyncio.gather(
                self._scripts.execute("ZREM", "workers", self._worker_id),
                self._scripts.execute("DEL", f"worker:{self._worker_id}"),
            )
