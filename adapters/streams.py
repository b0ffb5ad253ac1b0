"""Messages to web processes of other hosts: a Redis stream for each process (`bus:{id}`), which only it reads.

A stream, unlike publish and subscribe, keeps messages while its reader reconnects. The messages of one turn of the
event loop are one entry. Entries are numbered by their sender, so that a command which is repeated after a broken
connection is not delivered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

import errors
from adapters import tasks
from adapters.counting import Traffic
from adapters.deliveries import Handlers
from adapters.redis import UNAVAILABLE
from adapters.redis_pipeline import RedisPipeline

log = logging.getLogger("parlance.bus")

_STREAM_TTL_SECONDS = 60
#: Seconds between two trims of read entries, and between attempts while Redis is unavailable.
_TRIM_SECONDS, _RETRY_SECONDS = 2.0, 0.5
_MAX_ENTRIES = 20_000
#: Maximum of bytes that wait to be sent to Redis.
_MAX_OUTBOX_BYTES = 32 * 2**20


class Streams:
    def __init__(self, commands: RedisPipeline, reader: RedisPipeline, process_id: str, handlers: Handlers) -> None:
        """`commands` is shared; `reader` is not, because reads on it block."""
        self._commands = commands
        self._reader = reader
        self._process_id = process_id
        self._handlers = handlers
        self._outbox: dict[str, list[bytes]] = defaultdict(list)
        self._outbox_bytes = 0
        self._flushed: asyncio.Future[None] | None = None
        self._flush_task: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.traffic = Traffic()
        self._sequence = 0
        self._delivered_numbers: dict[str, int] = {}
        self._last_id = "0"
        #: Whether the last write or read failed.
        self.is_unavailable = False

    def post(self, process_id: str, message: bytes) -> asyncio.Future[None]:
        """Send a message at the end of this turn; return a future that ends when Redis has it. Raises Unavailable."""
        if self._outbox_bytes + len(message) > _MAX_OUTBOX_BYTES:
            raise errors.Unavailable()
        self._outbox[process_id].append(message)
        self._outbox_bytes += len(message)
        if self._flushed is None:
            self._flushed = asyncio.get_running_loop().create_future()
            self._flush_task = asyncio.create_task(self._flush())
        # Shared by all messages of one flush.
        return self._flushed

    async def _flush(self) -> None:
        """Send until nothing is left; one flush runs at a time, so entries keep their order."""
        while self._outbox:
            outbox, flushed = self._outbox, self._flushed
            assert flushed is not None
            self._outbox, self._outbox_bytes = defaultdict(list), 0
            self._flushed = asyncio.get_running_loop().create_future()
            try:
                await asyncio.gather(*self._add(outbox))
            except UNAVAILABLE as error:
                self.is_unavailable = True
                log.warning("stream_write_failed processes=%d error=%s", len(outbox), error)
                flushed.set_exception(errors.Unavailable())
                flushed.exception()  # a sender may have been cancelled; the others raise it
            else:
                self.is_unavailable = False
                flushed.set_result(None)
        self._flushed = None

    def _add(self, outbox: dict[str, list[bytes]]) -> Iterator[asyncio.Future[Any]]:
        for process_id, messages in outbox.items():
            stream = f"bus:{process_id}"
            self._sequence += 1
            self.traffic.messages += len(messages)
            self.traffic.bytes += sum(map(len, messages))
            entry = ("from", self._process_id, "number", self._sequence, "messages", b"[%b]" % b",".join(messages))
            yield self._commands.execute("XADD", stream, "MAXLEN", "~", _MAX_ENTRIES, "*", *entry, idempotent=True)
            yield self._commands.execute("EXPIRE", stream, _STREAM_TTL_SECONDS, idempotent=True)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._trim())]

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS if self.is_unavailable else _TRIM_SECONDS)
            try:
                await self._commands.execute(
                    "XTRIM", f"bus:{self._process_id}", "MINID", "~", self._last_id, idempotent=True
                )
            except UNAVAILABLE:
                self.is_unavailable = True
            else:
                self.is_unavailable = False

    def begin_again(self) -> None:
        """Read a stream that Redis has lost from its beginning; numbers identify delivered entries."""
        self._last_id = "0"

    async def _read(self) -> None:
        stream = f"bus:{self._process_id}"
        while True:
            try:
                answer = await self._reader.execute(
                    "XREAD", "COUNT", 256, "BLOCK", 2000, "STREAMS", stream, self._last_id
                )
            except UNAVAILABLE as error:
                log.warning("stream_read_failed process_id=%s error=%s", self._process_id, error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for _, entries in answer or ():
                for entry_id, entry in entries:
                    self._last_id = entry_id
                    await self._deliver(dict(zip(entry[::2], entry[1::2], strict=True)))

    async def _deliver(self, entry: dict[str, str]) -> None:
        sender, number = entry["from"], int(entry["number"])
        if number <= self._delivered_numbers.get(sender, 0):
            return
        self._delivered_numbers[sender] = number
        for message in orjson.loads(entry["messages"]):
            unfinished = self._handlers.deliver(message)
            if unfinished is not None:
                await unfinished

    async def stop(self) -> None:
        """Send pending messages, and remove the stream."""
        if self._flush_task is not None and not self._flush_task.done():
            await asyncio.wait([self._flush_task], timeout=1)
        await tasks.end(*self._tasks, *([self._flush_task] if self._flush_task else []))
        with suppress(*UNAVAILABLE):  # it expires by itself
            await self._commands.execute("DEL", f"bus:{self._process_id}")
