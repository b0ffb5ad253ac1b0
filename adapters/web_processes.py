"""Liveness of web processes, by heartbeats in Redis.

    workers:{match}        every process, scored by its last heartbeat (ms of Redis's clock)
    workers:{match}:lost   processes declared dead in the last minute, scored by that time
    worker:{match}:{id}    a process's heartbeat, which expires
    last_heartbeat:{match}:{id}  the last one of a process declared dead (ms), for two hours

`{match}` is written as it stands: scripts of rooms (services/calls/rooms.py) read the heartbeats too.

A process that stops removes its entries. A process that finds the last heartbeat of another too old declares it dead,
which all others read with their next heartbeat. A process that was only suspended finds its entry missing, as after a
loss of Redis's data. A Redis that has started again, or another server in its place, may lack data that it had.
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

#: Seconds between two heartbeats, and without one until a process is declared dead.
HEARTBEAT_SECONDS, DEAD_AFTER_SECONDS = 2, 6
_LOST_KEPT_SECONDS = 60
#: Seconds between attempts while Redis is unavailable, and the slowest reply after which others may be declared dead.
_RETRY_SECONDS, _PROMPT_REPLY_SECONDS = 0.5, 1.0

_ALL = ("workers:{match}", "workers:{match}:lost")


class WebProcesses:
    def __init__(
        self,
        pipeline: RedisPipeline,
        process_id: str,
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
        self._process_id = process_id
        self._on_lost = on_lost
        self._on_data_lost = on_data_lost
        self._healthy_since: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        #: One at a time, so that one loss of data, which both loops may notice, is reported once.
        self._lock = asyncio.Lock()
        #: Processes declared dead.
        self.lost: frozenset[str] = frozenset()

    async def start(self) -> None:
        await self._heartbeat(joins=True)
        watch = self._pipeline.link.watch(self._handle_data_lost)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(watch)]

    async def _handle_data_lost(self) -> None:
        """Report that Redis may have lost data: it started again, or a replica has become the primary."""
        async with self._lock:
            try:
                await self._heartbeat(joins=True)
            finally:  # without Redis the next heartbeat finds the entry missing, or not
                self._on_data_lost()
                self._healthy_since = None

    async def _heartbeat(self, *, joins: bool) -> int | None:
        """Send a heartbeat; return Redis's time (ms), or None if this process's entry is missing."""
        keys = ["workers:{match}", "workers:{match}:lost", f"worker:{{match}}:{self._process_id}"]
        args: list[str | int] = [self._process_id, self._dead_after, _LOST_KEPT_SECONDS, int(joins)]
        is_known, now, lost = await self._pipeline.call("heartbeat", keys, args, idempotent=True)
        # If this process itself was declared dead, its entry is missing.
        before, self.lost = self.lost, frozenset(lost) - {self._process_id}
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
                async with self._lock:
                    now = await self._heartbeat(joins=False)
                    if now is None:
                        await self._heartbeat(joins=True)
                        self._pipeline.link.forget_identity()
                        self._on_data_lost()
                if now is None or loop.time() - began > _PROMPT_REPLY_SECONDS:
                    self._healthy_since = None
                elif self._healthy_since is None:
                    self._healthy_since = began
                elif began - self._healthy_since > self._dead_after:
                    # Redis has been healthy for long enough to have the heartbeat of every live process. Counted from
                    # the time of ours: if Redis stalls before this command, other heartbeats wait behind it.
                    await self._declare_silent_dead(now - self._dead_after * 1000)
                pause = self._heartbeat_seconds
            except UNAVAILABLE as error:
                self._healthy_since = None
                pause = _RETRY_SECONDS
                log.warning("heartbeat_failed process_id=%s error=%s", self._process_id, error)

    async def _declare_silent_dead(self, since: int) -> None:
        for process_id in await self._pipeline.call("declare_dead", _ALL, [since, ""]):
            self.lost |= {process_id}
            self._on_lost(process_id)

    async def declare_dead(self, process_id: str) -> None:
        """Declare a process dead that has certainly ended."""
        with suppress(*UNAVAILABLE):  # others find its heartbeat too old
            await self._pipeline.call("declare_dead", _ALL, ["+inf", process_id], idempotent=True)

    async def stop(self) -> None:
        await tasks.end(*self._tasks)
        with suppress(*UNAVAILABLE):
            await asyncio.gather(
                self._pipeline.execute("ZREM", "workers:{match}", self._process_id),
                self._pipeline.execute("DEL", f"worker:{{match}}:{self._process_id}"),
            )
