"""Owns what workers of one host promise each other: order, once, and that a death, of real processes, is noticed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import errors
from adapters import mesh
from adapters.bus import LUA, WorkerBus, directory
from adapters.redis_pipeline import RedisPipeline
from adapters.workers import DEAD_AFTER_SECONDS, HEARTBEAT_SECONDS
from devtools.embedded import EmbeddedServices
from settings import Settings
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Worker:
    """A bus in this process, and what it was told."""

    bus: WorkerBus
    connections: list[RedisPipeline]
    heard: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    data_losses: int = 0

    @property
    def socket(self) -> str:
        return f"{self.bus.worker_id}.socket"

    @property
    def redis(self) -> RedisPipeline:
        return self.connections[0]

    def note(self, _socket: str, number: int, *_ballast: str) -> None:
        self.heard.append(number)

    async def note_lost(self, worker_id: str) -> None:
        self.lost.append(worker_id)

    async def note_data_lost(self) -> None:
        self.data_losses += 1

    async def has_heard(self, count: int) -> None:
        await becomes(lambda: len(self.heard) == count)

    async def has_lost(self, child: Child, within: float) -> None:
        await becomes(lambda: self.lost == [child.worker_id], within)

    async def stop(self) -> None:
        await self.bus.stop()
        for connection in self.connections:
            await connection.close()


@dataclass
class Child:
    """A bus in a process of its own."""

    worker_id: str
    process: asyncio.subprocess.Process

    @property
    def socket(self) -> str:
        return f"{self.worker_id}.socket"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def says(self, line: str, within: float = 20) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(limit(within)):
            while (said := (await self.process.stdout.readline()).decode().strip()) != line:
                assert said, f"ended before it said {line!r}"
                assert said != f"lost {self.worker_id}", "it heard of its own death"


Valkey = tuple[EmbeddedServices, dict[str, str]]
MakeWorker = Callable[..., Awaitable[Worker]]
MakeChild = Callable[..., Awaitable[Child]]


async def becomes(condition: Callable[[], Any], within: float = 20) -> None:
    deadline = time.monotonic() + limit(within)
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Services with a Valkey that keeps nothing on disk: these tests empty it, and stop it."""
    services = EmbeddedServices(tmp_path_factory.mktemp("valkey"), durable=False, only={"valkey"})
    # It comes back under the same port each time.
    yield services, services.start()
    services.stop()


@pytest.fixture
async def own(valkey: Valkey, settings: Settings) -> Settings:
    """Settings that lead to that Valkey, empty."""
    _, variables = valkey
    found = settings.model_copy(
        update={"redis_host": variables["REDIS_HOST"], "redis_port": int(variables["REDIS_PORT"])}
    )
    connection = RedisPipeline(found, LUA)
    await connection.execute("FLUSHALL")
    await connection.close()
    return found


@pytest.fixture
async def make_worker(own: Settings, tmp_path: Path) -> AsyncIterator[MakeWorker]:
    workers: list[Worker] = []

    async def make(place: Path | None = tmp_path / "mesh") -> Worker:
        connections = [RedisPipeline(own, LUA), RedisPipeline(own, LUA)]
        worker = Worker(WorkerBus(*connections, directory=place, required=place is not None), connections)
        worker.bus.on("note", worker.note)
        worker.bus.on_worker_lost(worker.note_lost)
        worker.bus.on_data_lost(worker.note_data_lost)
        workers.append(worker)
        await worker.bus.start()
        return worker

    yield make
    for worker in workers:
        await worker.stop()


@pytest.fixture
async def make_child(own: Settings, tmp_path: Path) -> AsyncIterator[MakeChild]:
    children: list[Child] = []

    async def make(place: Path | None = tmp_path / "mesh") -> Child:
        arguments = [str(own.redis_host), str(own.redis_port), *([str(place)] if place else [])]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "testing.bus_worker", *arguments), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        child = Child((await process.stdout.readline()).decode().strip(), process)
        children.append(child)
        return child

    yield make
    for child in children:
        if child.process.returncode is None:
            child.process.kill()
        await child.process.wait()


async def streams(worker: Worker) -> list[str]:
    return list(await worker.redis.execute("KEYS", "bus:*"))


# --- Messages -----------------------------------------------------------------------------------


async def test_a_hundred_thousand_messages_each_way_arrive_once_and_in_order(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()

    async def send(sender: Worker, receiver: Worker) -> None:
        for number in range(0, 100_000, 2):
            sender.bus.post(receiver.socket, "note", number)
            await sender.bus.send(receiver.socket, "note", number + 1)
            if number % 100 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(send(one, other), send(other, one))
    for worker in (one, other):
        await worker.has_heard(100_000)
        assert worker.heard == list(range(100_000))
    assert await streams(one) == []


async def test_another_process_hears_and_answers_in_order(make_worker: MakeWorker, make_child: MakeChild) -> None:
    one, child = await make_worker(), await make_child()
    for number in range(20_000):
        one.bus.post(child.socket, "echo", one.socket, number)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await becomes(lambda: len(one.heard) == 20_000)
    assert one.heard == list(range(20_000))
    assert await streams(one) == []


async def test_what_is_sent_while_the_connection_is_made_comes_first(make_worker: MakeWorker) -> None:
    for _ in range(20):
        one = await make_worker()
        other = await make_worker()
        for number in range(10):
            one.bus.post(other.socket, "note", number)
            other.bus.post(one.socket, "note", number)
            await asyncio.sleep(0)
        await one.has_heard(10)
        await other.has_heard(10)
        assert one.heard == other.heard == list(range(10))


async def test_workers_that_share_no_directory_speak_over_redis(make_worker: MakeWorker, tmp_path: Path) -> None:
    workers = [await make_worker(tmp_path / name) for name in "ab"] + [await make_worker(None)]
    for number in range(300):
        for sender in workers:
            for receiver in workers:
                sender.bus.post(receiver.socket, "note", number)
        await asyncio.sleep(0)
    for worker in workers:
        await worker.has_heard(900)
        assert sorted(worker.heard) == sorted(3 * list(range(300)))
    assert len(await streams(workers[0])) == 3


async def test_slow_handlers_hear_in_order_and_hold_their_sender_back(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()
    heard: list[int] = []
    go_on = asyncio.Event()

    async def slow(_socket: str, number: int, _ballast: str) -> None:
        await go_on.wait()
        heard.append(number)

    other.bus.on("slow", slow)
    taken = 0
    with pytest.raises(errors.Unavailable):
        while taken < 10_000:
            one.bus.post(other.socket, "slow", taken, "x" * 10_000)
            taken += 1
            await asyncio.sleep(0)
    assert 10_000 * taken < 3 * mesh.MAX_PEER_BYTES
    go_on.set()
    await becomes(lambda: len(heard) == taken)
    one.bus.post(other.socket, "slow", taken, "")
    await becomes(lambda: heard == list(range(taken + 1)))


async def test_what_a_worker_posts_to_itself_keeps_its_order(make_worker: MakeWorker) -> None:
    one = await make_worker()

    async def slow(socket: str, number: int) -> None:
        await asyncio.sleep(0.001)
        one.note(socket, number)

    one.bus.on("slow", slow)
    for number in range(20):
        one.bus.post(one.socket, "slow" if number % 3 else "note", number)
    await becomes(lambda: one.heard == list(range(20)))


# --- Deaths -------------------------------------------------------------------------------------


async def test_a_killed_worker_is_noticed_at_once_though_nothing_was_sent(
    make_worker: MakeWorker, make_child: MakeChild
) -> None:
    before, child, after = await make_worker(), await make_child(), await make_worker()
    elsewhere = await make_worker(None)
    await asyncio.sleep(0.1)
    child.send(signal.SIGKILL)
    await becomes(lambda: before.lost[:1] == after.lost[:1] == [child.worker_id], within=1)
    for worker in (before, after):
        with pytest.raises(errors.Unavailable):
            worker.bus.post(child.socket, "note", 1)
    # The other hosts' workers learn of it at their next heartbeat, long before its heartbeat is too old.
    await becomes(lambda: elsewhere.lost == [child.worker_id], within=HEARTBEAT_SECONDS + 1)
    assert not await before.redis.execute("EXISTS", f"worker:{child.worker_id}")
    # One that starts later learns from what is left in the directory, or from Redis.
    late = await make_worker()
    await becomes(lambda: child.worker_id in late.lost, within=1)


async def test_killed_in_the_middle_a_worker_has_heard_a_beginning_and_nothing_twice(
    make_worker: MakeWorker, make_child: MakeChild
) -> None:
    one, child = await make_worker(), await make_child()

    async def send() -> int:
        number = 0
        while True:
            try:
                one.bus.post(child.socket, "echo", one.socket, number)
            except errors.Unavailable:
                return number
            number += 1
            if number % 20 == 0:
                await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    await becomes(lambda: len(one.heard) > 2000)
    child.send(signal.SIGKILL)
    async with asyncio.timeout(5):
        posted = await sending
    assert len(one.heard) <= posted
    assert one.heard == list(range(len(one.heard)))
    await becomes(lambda: child.worker_id in one.lost, within=1)


async def test_a_worker_that_stops_by_itself_is_not_reported(make_worker: MakeWorker, make_child: MakeChild) -> None:
    one, child, elsewhere = await make_worker(), await make_child(), await make_worker(None)
    one.bus.post(child.socket, "echo", one.socket, 1)
    await becomes(lambda: one.heard == [1])
    child.send(signal.SIGTERM)
    assert await child.process.wait() == 0
    await asyncio.sleep(HEARTBEAT_SECONDS + 1)
    assert one.lost == elsewhere.lost == []
    with pytest.raises(errors.Unavailable):
        one.bus.post(child.socket, "note", 1)


async def test_a_worker_of_another_host_is_lost_when_its_signs_of_life_end(
    make_worker: MakeWorker, make_child: MakeChild
) -> None:
    watchers = [await make_worker(), await make_worker(None)]
    child = await make_child(None)
    await asyncio.sleep(
        DEAD_AFTER_SECONDS + 2 * HEARTBEAT_SECONDS
    )  # long enough for them to trust their own connections
    assert watchers[0].lost == []
    child.send(signal.SIGKILL)
    for watcher in watchers:
        await watcher.has_lost(child, within=DEAD_AFTER_SECONDS + 3 * HEARTBEAT_SECONDS)
    with pytest.raises(errors.Unavailable):
        watchers[0].bus.post(child.socket, "note", 1)


async def test_a_worker_that_stands_still_takes_no_memory_and_learns_of_it_when_it_goes_on(
    make_worker: MakeWorker, make_child: MakeChild
) -> None:
    one, child = await make_worker(), await make_child()
    one.bus.post(child.socket, "echo", one.socket, 0)
    await becomes(lambda: one.heard == [0])
    child.send(signal.SIGSTOP)
    before, taken = _resident(), 1
    for _ in range(100_000):
        try:
            one.bus.post(child.socket, "echo", one.socket, taken, "x" * 1000)
            taken += 1
        except errors.Unavailable:
            pass
        if _ % 100 == 0:
            await asyncio.sleep(0)
    assert taken * 1000 < 2 * mesh.MAX_PEER_BYTES
    assert _resident() - before < 4 * mesh.MAX_PEER_BYTES
    started = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await one.bus.send(child.socket, "echo", one.socket, taken)
    assert time.monotonic() - started < 6
    await becomes(lambda: one.lost == [child.worker_id], within=DEAD_AFTER_SECONDS + 4 * HEARTBEAT_SECONDS)
    child.send(signal.SIGCONT)
    await child.says("data lost", within=HEARTBEAT_SECONDS + 3)
    await becomes(lambda: len(one.heard) == taken)
    assert one.heard == list(range(taken))

    def is_back() -> bool:
        try:
            one.bus.post(child.socket, "echo", one.socket, taken)
        except errors.Unavailable:
            return False
        return True

    await becomes(is_back, within=HEARTBEAT_SECONDS + 2)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- Redis --------------------------------------------------------------------------------------


async def test_whoever_redis_has_forgotten_is_told_and_joins_again(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker(None)
    await one.redis.execute("FLUSHALL")
    await becomes(lambda: one.data_losses == other.data_losses == 1, within=HEARTBEAT_SECONDS + 1)
    assert await one.redis.execute("ZCARD", "workers") == 2
    other.bus.post(one.socket, "note", 1)
    one.bus.post(other.socket, "note", 2)
    await becomes(lambda: one.heard == [1] and other.heard == [2])
    await asyncio.sleep(2 * HEARTBEAT_SECONDS)
    assert one.data_losses == other.data_losses == 1


async def test_redis_starting_again_empty_is_a_loss_of_data_and_nobody_is_lost(
    valkey: Valkey, make_worker: MakeWorker
) -> None:
    services, _ = valkey
    one, other, elsewhere = await make_worker(), await make_worker(), await make_worker(None)
    services.stop()
    one.bus.post(other.socket, "note", 1)  # within a host nothing depends on Redis
    await becomes(lambda: other.heard == [1], within=1)
    with pytest.raises(errors.Unavailable):
        await one.bus.send(elsewhere.socket, "note", 1)
    with pytest.raises(errors.Unavailable):
        one.bus.post(elsewhere.socket, "note", 1)
    await asyncio.sleep(DEAD_AFTER_SECONDS + 1)
    services.start()
    workers = (one, other, elsewhere)
    await becomes(lambda: all(worker.data_losses == 1 for worker in workers), within=HEARTBEAT_SECONDS + 3)
    await one.bus.send(elsewhere.socket, "note", 2)
    one.bus.post(elsewhere.socket, "note", 3)
    await becomes(lambda: elsewhere.heard == [2, 3])
    assert [worker.lost for worker in workers] == [[], [], []]


# --- The directory ------------------------------------------------------------------------------


async def test_a_directory_open_to_others_is_refused(make_worker: MakeWorker, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="0700"):
        await make_worker(tmp_path / "open")


async def test_where_none_was_asked_for_an_unfit_directory_means_redis(own: Settings, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    connections = [RedisPipeline(own, LUA), RedisPipeline(own, LUA)]
    bus = WorkerBus(*connections, directory=tmp_path / "open")
    worker = Worker(bus, connections)
    await bus.start()
    await worker.stop()


def test_the_directory_is_one_for_each_redis(settings: Settings) -> None:
    assert directory(settings) == directory(settings.model_copy())
    assert directory(settings) != directory(settings.model_copy(update={"redis_port": 1}))
    chosen = Path("/run/parlance")
    assert directory(settings.model_copy(update={"bus_directory": chosen})) == chosen
