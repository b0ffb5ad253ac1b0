"""Owns messages between workers: a Redis stream for each worker, read by that worker alone.

A stream, unlike publish and subscribe, keeps what comes while a worker's connection is being made again. What is sent
in one turn of the event loop goes out as one entry. Entries are numbered by their sender, so that a command which
redis-py repeats after a broken connection is not delivered twice.

Keys: `worker:{id}` says that the worker lives; `bus:{id}` is its stream.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from contextlib import suppress
from typing import Any

import orjson
import redis.exceptions
from redis.asyncio import Redis

import errors
from adapters import tasks
from adapters.ports import Handler

log = logging.getLogger("parlance.bus")

#: Seconds between two signs of life, and after how many without one a worker counts as dead.
HEARTBEAT, DEAD_AFTER = 2, 6
_STREAM_SECONDS = 60
_MAX_ENTRIES = 20_000


class RedisBus:
    def __init__(self, commands: Redis, reader: Redis) -> None:
        """`commands` is shared; `reader` is this bus's own, for it waits on it."""
        self.worker_id = secrets.token_hex(4)
        self._redis = commands
        self._reader = reader
        self._handlers: dict[str, Handler] = {}
        self._outbox: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._flushed: asyncio.Future[None] | None = None
        self._sequence = 0
        self._heard: dict[str, int] = {}
        self._last_id = "0"
        self._tasks: list[asyncio.Task[None]] = []
        self._lost: list[Any] = []
        self._data_lost: list[Any] = []

    def on_worker_lost(self, listener: Any) -> None:
        self._lost.append(listener)

    def on_data_lost(self, listener: Any) -> None:
        self._data_lost.append(listener)

    def on(self, kind: str, handler: Handler) -> None:
        self._handlers[kind] = handler

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        worker = socket.partition(".")[0]
        if worker == self.worker_id:
            await self._handlers[kind](socket, *arguments)
            return
        # The future is shared by everything sent until the flush takes the outbox.
        await asyncio.shield(self._queue(worker, (kind, socket, *arguments)))

    def post(self, socket: str, kind: str, *arguments: Any) -> None:
        self._queue(socket.partition(".")[0], (kind, socket, *arguments))

    def _queue(self, worker: str, message: tuple[Any, ...]) -> asyncio.Future[None]:
        self._outbox[worker].append(message)
        if self._flushed is None:
            self._flushed = asyncio.get_running_loop().create_future()
            self._tasks.append(asyncio.create_task(self._flush()))
        return self._flushed

    async def _flush(self) -> None:
        """Send until nothing is left; one flush runs at a time, so entries keep their order."""
        while self._outbox:
            outbox, flushed = self._outbox, self._flushed
            assert flushed is not None
            self._outbox = defaultdict(list)
            self._flushed = asyncio.get_running_loop().create_future()
            try:
                pipeline = self._redis.pipeline(transaction=False)
                for worker, messages in outbox.items():
                    self._sequence += 1
                    entry: dict[Any, Any] = {
                        "from": self.worker_id,
                        "number": self._sequence,
                        "messages": orjson.dumps(messages),
                    }
                    pipeline.xadd(f"bus:{worker}", entry, maxlen=_MAX_ENTRIES, approximate=True)
                    pipeline.expire(f"bus:{worker}", _STREAM_SECONDS)
                await pipeline.execute()
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("messages to %d workers could not be sent: %s", len(outbox), error)
                flushed.set_exception(errors.Unavailable())
                flushed.exception()  # a sender may have gone away; the others still raise it
            else:
                flushed.set_result(None)
        self._flushed = None
        self._tasks = [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]

    async def start(self) -> None:
        await self._live()
        self._tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    async def _live(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        import time

        pipeline.set(f"worker:{self.worker_id}", "1", ex=DEAD_AFTER)
        pipeline.xtrim(f"bus:{self.worker_id}", minid=self._last_id)
        pipeline.zadd("workers", {self.worker_id: time.time()})
        pipeline.zrangebyscore("workers", "-inf", time.time() - DEAD_AFTER)
        *_, added, dead = await pipeline.execute()
        if added and getattr(self, "_started", False):
            for listener in self._data_lost:
                await listener()
        self._started = True
        for worker in dead:
            for listener in self._lost:
                await listener(worker)
            await self._redis.zrem("workers", worker)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                await self._live()
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("Redis does not take this worker's sign of life: %s", error)

    async def _read(self) -> None:
        stream = f"bus:{self.worker_id}"
        while True:
            try:
                answer: Any = await self._reader.xread({stream: self._last_id}, count=256, block=2000)
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("Redis does not answer this worker's reader: %s", error)
                await asyncio.sleep(0.5)
                continue
            for _, entries in answer:
                for entry_id, entry in entries:
                    self._last_id = entry_id
                    await self._deliver(entry)

    async def _deliver(self, entry: dict[str, str]) -> None:
        sender, number = entry["from"], int(entry["number"])
        if number <= self._heard.get(sender, 0):
            return
        self._heard[sender] = number
        for kind, socket, *arguments in orjson.loads(entry["messages"]):
            try:
                await self._handlers[kind](socket, *arguments)
            except Exception:
                log.exception("a '%s' message could not be delivered", kind)

    async def stop(self) -> None:
        await tasks.end(*self._tasks)
        with suppress(redis.exceptions.RedisError, OSError):  # both keys expire by themselves
            await self._redis.zrem("workers", self.worker_id)
            await self._redis.delete(f"worker:{self.worker_id}", f"bus:{self.worker_id}")
