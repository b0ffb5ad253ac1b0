"""Liveness of workers, by heartbeats in Redis.

    workers        every worker, scored by its last heartbeat (ms of Redis's clock)
    workers:lost   those declared dead in the last minute, by when
    worker:{id}    a worker's heartbeat, which expires

A worker that stops removes its entries. One that finds the last heartbeat of another too old declares it dead, and all
learn of it at their next heartbeat; one that was only asleep finds its entry missing, as it does when Redis has lost
data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from adapters import tasks
from adapters.redis import UNAVAILABLE
from adapters.redis_pipeline import RedisPipeline

log = logging.getLogger("parlance.bus")

#: Seconds between two heartbeats, and without one until a worker is declared dead.
HEARTBEAT_SECONDS, DEAD_AFTER_SECONDS = 2, 6
_LOST_KEPT_SECONDS = 60
#: Seconds between attempts while Redis does not answer, and that its reply may take while others are judged by it.
_RETRY_SECONDS, _PROMPT_REPLY_SECONDS = 0.5, 1.0

_ALL = ("workers", "workers:lost")


class Workers:
    def __init__(
        self,
        pipeline: RedisPipeline,
        worker_id: str,
        *,
        on_lost: Callable[[str], None],
        on_data_lost: Callable[[], None],
        heartbeat: float = HEARTBEAT_SECONDS,
        dead_after: int = DEAD_AFTER_SECONDS,
    ) -> None:
        """`heartbeat` and `dead_after` are seconds."""
        self._heartbeat_seconds = heartbeat
        self._dead_after = dead_after
        self._pipeline = pipeline
        self._worker_id = worker_id
        self._on_lost = on_lost
        self._on_data_lost = on_data_lost
        self._healthy_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        #: Workers that Redis says are dead.
        self.lost: frozenset[str] = frozenset()

    async def start(self) -> None:
        await self._heartbeat(joins=True)
        self._task = asyncio.create_task(self._run())

    async def _heartbeat(self, *, joins: bool) -> int | None:
        """Send a heartbeat; return Redis's time (ms), or None where this worker's entry is missing."""
        keys = ["workers", "workers:lost", f"worker:{self._worker_id}"]
        args: list[str | int] = [self._worker_id, self._dead_after, _LOST_KEPT_SECONDS, int(joins)]
        is_known, now, lost = await self._pipeline.call("heartbeat", keys, args, idempotent=True)
        # That this worker itself was declared dead shows in its missing entry.
        before, self.lost = self.lost, frozenset(lost) - {self._worker_id}
        for lost_id in self.lost - before:
            self._on_lost(lost_id)
        return int(now) if is_known else None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._heartbeat_seconds
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            try:
                now = await self._heartbeat(joins=False)
                if now is None:
                    await self._heartbeat(joins=True)
                    self._on_data_lost()
                    self._healthy_since = None
                elif loop.time() - began > _PROMPT_REPLY_SECONDS:
                    self._healthy_since = None
                elif self._healthy_since is None:
                    self._healthy_since = began
                elif began - self._healthy_since > self._dead_after:
                    # Redis has been well for long enough to have every living worker's heartbeat. Counted from the time
                    # of ours: were Redis to halt before this command, the others' heartbeats would wait behind it.
                    await self._declare_silent_dead(now - self._dead_after * 1000)
                pause = self._heartbeat_seconds
            except UNAVAILABLE as error:
                self._healthy_since = None
                pause = _RETRY_SECONDS
                log.warning("heartbeat_failed worker_id=%s error=%s", self._worker_id, error)

    async def _declare_silent_dead(self, since: int) -> None:
        for worker_id in await self._pipeline.call("declare_dead", _ALL, [since, ""]):
            self.lost |= {worker_id}
            self._on_lost(worker_id)

    async def declare_dead(self, worker_id: str) -> None:
        """Declare a worker dead whose process has certainly ended."""
        with suppress(*UNAVAILABLE):  # the others find its heartbeat too old
            await self._pipeline.call("declare_dead", _ALL, ["+inf", worker_id], idempotent=True)

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)
        with suppress(*UNAVAILABLE):
            await asyncio.gather(
                self._pipeline.execute("ZREM", "workers", self._worker_id),
                self._pipeline.execute("DEL", f"worker:{self._worker_id}"),
            )
