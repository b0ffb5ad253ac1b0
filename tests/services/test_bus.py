"""The bus between processes: messages arrive once and in order, or the sender is refused.

Here workers speak over Redis, as those of different hosts do; test_mesh.py has those of one host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

import errors
from adapters.bus import LUA, ProcessBus
from adapters.redis_pipeline import RedisPipeline
from adapters.web_processes import DEAD_AFTER_SECONDS, HEARTBEAT_SECONDS
from container import Container
from settings import Settings
from testing.polling import eventually
from testing.ports import free_port
from testing.time_limits import limit


@dataclass
class Worker:
    """One bus, the sockets it delivered to, and its connections to Redis."""

    bus: ProcessBus
    connections: list[RedisPipeline]
    received: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def socket(self) -> str:
        return f"{self.bus.process_id}.socket"

    async def note(self, socket: str, *arguments: Any) -> None:
        self.received.append((socket, *arguments))

    async def wait_for_messages(self, count: int, within: float = 20) -> None:
        await eventually(
            lambda: len(self.received) >= count, lambda: f"{len(self.received)} of {count} messages", within=within
        )

    @property
    def numbers(self) -> list[int]:
        return [arguments[-1] for arguments in self.received]


MakeWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def make_worker(settings: Settings) -> AsyncIterator[MakeWorker]:
    """Start workers' buses; `port` is where they send to Redis, or to what stands in between, and `reads_from`."""
    workers: list[Worker] = []

    async def make(port: int | None = None, *, reads_from: int | None = None) -> Worker:
        there, reading = (
            settings.model_copy(update={"redis_port": number or settings.redis_port}) for number in (port, reads_from)
        )
        connections = [RedisPipeline(there, LUA), RedisPipeline(reading, LUA)]
        worker = Worker(ProcessBus(*connections), connections)
        worker.bus.on("note", worker.note)
        workers.append(worker)
        await worker.bus.start()
        return worker

    yield make
    for worker in workers:
        await worker.bus.stop()
        for connection in worker.connections:
            await connection.close()


class Line:
    """A TCP line to Redis that can be cut, and can lose what Redis answers first."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = free_port()
        #: Cut before the answer to a command that holds these bytes, so many times.
        self.loses_answer_to = b""
        self.losses = 0
        self.lost = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        pair = (writer, upstream)
        self._pairs.add(pair)
        is_to_be_lost = False

        async def forward() -> None:
            nonlocal is_to_be_lost
            while data := await reader.read(65536):
                if self.losses and self.loses_answer_to and self.loses_answer_to in data:
                    self.losses -= 1
                    is_to_be_lost = True
                upstream.write(data)

        async def back() -> None:
            while data := await upstream_reader.read(65536):
                if is_to_be_lost:
                    self.lost += 1
                    return
                writer.write(data)

        tasks = {asyncio.create_task(self._run(way())) for way in (forward, back)}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._pairs.discard(pair)
        for end in pair:
            end.close()

    @staticmethod
    async def _run(way: Awaitable[None]) -> None:
        with suppress(OSError):
            await way

    async def redis_side(self) -> list[str]:
        """The addresses under which Redis knows the connections of this line."""
        return ["{}:{}".format(*upstream.get_extra_info("sockname")) for _, upstream in self._pairs]

    def cut(self) -> None:
        for pair in tuple(self._pairs):
            for end in pair:
                end.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def line(settings: Settings) -> AsyncIterator[Line]:
    made = Line(settings.redis_port)
    await made.open()
    yield made
    await made.close()


async def test_five_thousand_messages_arrive_once_and_in_order(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()

    async def send(sender: Worker, receiver: Worker) -> None:
        for start in range(0, 5000, 100):
            await asyncio.gather(
                *(sender.bus.send(receiver.socket, "note", number) for number in range(start, start + 100))
            )

    await asyncio.gather(send(one, other), send(other, one))
    for worker in (one, other):
        await worker.wait_for_messages(5000)
        assert worker.received == [(worker.socket, number) for number in range(5000)]


async def test_messages_of_one_loop_turn_are_one_entry(make_worker: MakeWorker, container: Container) -> None:
    one, other = await make_worker(), await make_worker()
    await one.bus.send(other.socket, "note", -1)
    await asyncio.gather(*(one.bus.send(other.socket, "note", number) for number in range(500)))
    await other.wait_for_messages(501)
    assert other.numbers == list(range(-1, 500))
    entries: Any = await container.redis.xrange(f"bus:{other.bus.process_id}")
    assert [len(orjson.loads(entry["messages"])) for _, entry in entries] == [1, 500]


async def test_message_for_an_own_socket_skips_redis(make_worker: MakeWorker) -> None:
    one = await make_worker()
    for connection in one.connections:
        await connection.close()
    await one.bus.send(one.socket, "note", {"any": ["thing"]})
    assert one.received == [(one.socket, {"any": ["thing"]})]


async def test_each_process_receives_only_its_messages(make_worker: MakeWorker) -> None:
    workers = [await make_worker() for _ in range(4)]
    await asyncio.gather(
        *(
            sender.bus.send(receiver.socket, "note", place, number)
            for number in range(50)
            for place, sender in enumerate(workers)
            for receiver in workers
        )
    )
    for worker in workers:
        await worker.wait_for_messages(200)
        for place in range(4):
            assert [number for _, sender, number in worker.received if sender == place] == list(range(50))


async def test_messages_are_kept_while_the_reader_is_away(
    make_worker: MakeWorker, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await make_worker(), await make_worker(reads_from=line.port)
    await one.bus.send(other.socket, "note", 0)
    await other.wait_for_messages(1)
    await line.close()
    for number in range(1, 300):
        await one.bus.send(other.socket, "note", number)
    await eventually(lambda: "stream_read_failed" in caplog.text)
    await line.open()
    await other.wait_for_messages(300)
    assert other.numbers == list(range(300))


async def test_killed_redis_connections_lose_and_repeat_nothing(
    make_worker: MakeWorker, line: Line, container: Container
) -> None:
    one, other = [await make_worker(line.port, reads_from=line.port) for _ in range(2)]

    is_enough = asyncio.Event()

    async def send(sender: Worker, receiver: Worker) -> int:
        number = 0
        while not is_enough.is_set():
            await sender.bus.send(receiver.socket, "note", number)
            number += 1
        return number

    sending = asyncio.gather(send(one, other), send(other, one))
    for _ in range(6):
        await other.wait_for_messages(len(other.received) + 200)

        async def are_connected() -> bool:
            return len(await line.redis_side()) >= 4  # each side's reader and commands

        await eventually(are_connected)
        assert not sending.done()
        killed = [await container.redis.client_kill_filter(addr=address) for address in await line.redis_side()]
        assert sum(killed) >= 4
    is_enough.set()
    for worker, sent in zip((other, one), await sending, strict=True):
        await worker.wait_for_messages(sent)
        assert worker.numbers == list(range(sent))


async def test_command_with_a_lost_answer_is_delivered_once(make_worker: MakeWorker, line: Line) -> None:
    one, other = await make_worker(line.port), await make_worker()
    line.loses_answer_to = f"bus:{other.bus.process_id}".encode()
    for number in range(200):
        if number % 20 == 10:
            line.losses = 1
        await one.bus.send(other.socket, "note", number)
    assert line.lost == 10
    await other.wait_for_messages(200)
    assert other.numbers == list(range(200))


async def test_send_after_unavailable_keeps_the_order(make_worker: MakeWorker, line: Line) -> None:
    one, other = await make_worker(line.port), await make_worker()
    refused: list[int] = []
    for number in range(60):
        if number == 30:
            await line.close()
        try:
            await one.bus.send(other.socket, "note", number)
        except errors.Unavailable:
            refused.append(number)
            await line.open()
    assert refused == [30]
    await other.wait_for_messages(59)
    assert other.numbers == [number for number in range(60) if number != 30]


async def test_send_without_redis_fails_soon(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_port": free_port()})
    connections = [RedisPipeline(nowhere, LUA), RedisPipeline(nowhere, LUA)]
    bus = ProcessBus(*connections)
    started = time.monotonic()
    outcomes = await asyncio.gather(
        *(bus.send("elsewhere.socket", "note", 1) for _ in range(20)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [errors.Unavailable] * 20
    assert time.monotonic() - started < limit(3)
    with pytest.raises(errors.Unavailable):
        await bus.send("elsewhere.socket", "note", 1)
    await bus.stop()
    for connection in connections:
        await connection.close()


async def test_failing_handler_does_not_stop_the_next_messages(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()

    async def trip(socket: str) -> None:
        raise ZeroDivisionError

    async def give_up(socket: str) -> None:
        raise asyncio.CancelledError

    other.bus.on("trip", trip)
    other.bus.on("give up", give_up)
    await one.bus.send(other.socket, "note", 1)
    await one.bus.send(other.socket, "trip")
    await one.bus.send(other.socket, "give up")
    await one.bus.send(other.socket, "a kind that a newer worker knows")
    await one.bus.send(other.socket, "note", 2)
    await other.wait_for_messages(2)
    assert other.numbers == [1, 2]


async def test_cancelled_sender_loses_no_other_message(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()
    sending = [asyncio.create_task(one.bus.send(other.socket, "note", number)) for number in range(3)]
    await asyncio.sleep(0)
    sending[1].cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    await one.bus.send(other.socket, "note", 3)
    await other.wait_for_messages(4)
    assert other.numbers == [0, 1, 2, 3]


async def test_stream_holds_only_unread_messages(make_worker: MakeWorker, container: Container) -> None:
    """And the process counts as alive for as long as its bus runs."""
    one, other = await make_worker(), await make_worker()
    alive, stream = f"worker:{{match}}:{other.bus.process_id}", f"bus:{other.bus.process_id}"
    await one.bus.send(other.socket, "note", 1)
    assert await container.redis.ttl(alive) in range(1, DEAD_AFTER_SECONDS + 1)
    assert await container.redis.ttl(stream) > 0
    await other.wait_for_messages(1)
    for number in range(500):
        await one.bus.send(other.socket, "note", number)
    await other.wait_for_messages(501)

    async def is_trimmed() -> bool:
        return bool(await container.redis.xlen(stream) <= 100)  # Redis trims by the hundred

    await eventually(is_trimmed, within=HEARTBEAT_SECONDS + 2)
    await other.bus.stop()
    assert await container.redis.exists(alive, stream) == 0
