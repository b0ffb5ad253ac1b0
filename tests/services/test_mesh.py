"""The bus between web processes of one host: ordered delivery, once each, and detection of real processes that died."""

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
from adapters.bus import LUA, ProcessBus, directory
from adapters.redis_pipeline import RedisPipeline
from devtools.embedded import EmbeddedServices
from settings import Settings
from testing.polling import eventually
from testing.time_limits import SLOWNESS, limit

ROOT = Path(__file__).resolve().parents[2]
#: Seconds without a heartbeat after which a process counts as dead, and between two heartbeats: three times the usual
#: pace, for these tests wait for both.
DEAD_AFTER_SECONDS = min(6, round(2 * SLOWNESS))
HEARTBEAT_SECONDS = DEAD_AFTER_SECONDS / 4


@dataclass
class Worker:
    """A bus in this process, with the messages and deaths that it has reported."""

    bus: ProcessBus
    connections: list[RedisPipeline]
    received: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    data_losses: int = 0

    @property
    def socket(self) -> str:
        return f"{self.bus.process_id}.socket"

    @property
    def redis(self) -> RedisPipeline:
        return self.connections[0]

    def note(self, _socket: str, number: int, *_ballast: str) -> None:
        self.received.append(number)

    async def note_lost(self, process_id: str) -> None:
        self.lost.append(process_id)

    async def note_data_lost(self) -> None:
        self.data_losses += 1

    async def wait_for_messages(self, count: int) -> None:
        await eventually(lambda: len(self.received) == count)

    async def wait_for_loss(self, child: Child, within: float) -> None:
        await eventually(lambda: self.lost == [child.process_id], within=within)

    async def wait_for_heartbeats(self, count: int) -> None:
        """Wait until the bus has sent this many more heartbeats."""
        scores: list[Any] = []

        async def have_come() -> bool:
            score = await self.redis.execute("ZSCORE", "workers:{match}", self.bus.process_id)
            if score not in scores:
                scores.append(score)
            return len(scores) > count

        await eventually(have_come, f"{count} heartbeats")

    async def stop(self) -> None:
        await self.bus.stop()
        for connection in self.connections:
            await connection.close()


@dataclass
class Child:
    """A bus in a process of its own."""

    process_id: str
    process: asyncio.subprocess.Process

    @property
    def socket(self) -> str:
        return f"{self.process_id}.socket"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait_for_line(self, line: str, within: float = 20) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(limit(within)):
            while (printed := (await self.process.stdout.readline()).decode().strip()) != line:
                assert printed, f"ended before it printed {line!r}"
                assert printed != f"lost {self.process_id}", "it reported its own death"


Valkey = tuple[EmbeddedServices, dict[str, str]]
MakeWorker = Callable[..., Awaitable[Worker]]
MakeChild = Callable[..., Awaitable[Child]]


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
        worker = Worker(
            ProcessBus(
                *connections,
                directory=place,
                required=place is not None,
                heartbeat=HEARTBEAT_SECONDS,
                dead_after=DEAD_AFTER_SECONDS,
            ),
            connections,
        )
        worker.bus.on("note", worker.note)
        worker.bus.on_process_lost(worker.note_lost)
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
        pace = (str(HEARTBEAT_SECONDS), str(DEAD_AFTER_SECONDS))
        arguments = [str(own.redis_host), str(own.redis_port), *pace, *([str(place)] if place else [])]
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


async def test_messages_arrive_once_and_in_order(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()

    async def send(sender: Worker, receiver: Worker) -> None:
        for number in range(0, 100_000, 2):
            sender.bus.post(receiver.socket, "note", number)
            await sender.bus.send(receiver.socket, "note", number + 1)
            if number % 100 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(send(one, other), send(other, one))
    for worker in (one, other):
        await worker.wait_for_messages(100_000)
        assert worker.received == list(range(100_000))
    assert await streams(one) == []


async def test_messages_of_another_process_keep_their_order(make_worker: MakeWorker, make_child: MakeChild) -> None:
    one, child = await make_worker(), await make_child()
    for number in range(20_000):
        one.bus.post(child.socket, "echo", one.socket, number)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await eventually(lambda: len(one.received) == 20_000)
    assert one.received == list(range(20_000))
    assert await streams(one) == []


async def test_messages_sent_while_connecting_come_first(make_worker: MakeWorker) -> None:
    for _ in range(20):
        one = await make_worker()
        other = await make_worker()
        for number in range(10):
            one.bus.post(other.socket, "note", number)
            other.bus.post(one.socket, "note", number)
            await asyncio.sleep(0)
        await one.wait_for_messages(10)
        await other.wait_for_messages(10)
        assert one.received == other.received == list(range(10))


async def test_processes_without_a_shared_directory_use_redis(make_worker: MakeWorker, tmp_path: Path) -> None:
    workers = [await make_worker(tmp_path / name) for name in "ab"] + [await make_worker(None)]
    for number in range(300):
        for sender in workers:
            for receiver in workers:
                sender.bus.post(receiver.socket, "note", number)
        await asyncio.sleep(0)
    for worker in workers:
        await worker.wait_for_messages(900)
        assert sorted(worker.received) == sorted(3 * list(range(300)))
    assert len(await streams(workers[0])) == 3


async def test_slow_handlers_hold_their_sender_back(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker()
    handled: list[int] = []
    go_on = asyncio.Event()

    async def slow(_socket: str, number: int, _ballast: str) -> None:
        await go_on.wait()
        handled.append(number)

    other.bus.on("slow", slow)
    taken = 0
    with pytest.raises(errors.Unavailable):
        while taken < 10_000:
            one.bus.post(other.socket, "slow", taken, "x" * 10_000)
            taken += 1
            await asyncio.sleep(0)
    assert 10_000 * taken < 3 * mesh.MAX_PEER_BYTES
    go_on.set()
    await eventually(lambda: len(handled) == taken)
    one.bus.post(other.socket, "slow", taken, "")
    await eventually(lambda: handled == list(range(taken + 1)))


async def test_messages_to_itself_keep_their_order(make_worker: MakeWorker) -> None:
    one = await make_worker()

    async def slow(socket: str, number: int) -> None:
        await asyncio.sleep(0.001)
        one.note(socket, number)

    one.bus.on("slow", slow)
    for number in range(20):
        one.bus.post(one.socket, "slow" if number % 3 else "note", number)
    await eventually(lambda: one.received == list(range(20)))


# --- Deaths -------------------------------------------------------------------------------------


async def test_killed_process_is_noticed_at_once(make_worker: MakeWorker, make_child: MakeChild) -> None:
    before, child, after = await make_worker(), await make_child(), await make_worker()
    elsewhere = await make_worker(None)
    await eventually(lambda: child.process_id in before.bus.neighbours() and child.process_id in after.bus.neighbours())
    child.send(signal.SIGKILL)
    await eventually(lambda: before.lost[:1] == after.lost[:1] == [child.process_id], within=1)
    for worker in (before, after):
        with pytest.raises(errors.Unavailable):
            worker.bus.post(child.socket, "note", 1)
    # Processes of other hosts learn of it at their next heartbeat, long before the last one is too old.
    await eventually(lambda: elsewhere.lost == [child.process_id], within=HEARTBEAT_SECONDS + 1)
    assert not await before.redis.execute("EXISTS", f"worker:{{match}}:{child.process_id}")
    # One that starts later learns from what is left in the directory, or from Redis.
    late = await make_worker()
    await eventually(lambda: child.process_id in late.lost, within=1)


async def test_killed_process_received_a_prefix_once(make_worker: MakeWorker, make_child: MakeChild) -> None:
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
    await eventually(lambda: len(one.received) > 2000)
    child.send(signal.SIGKILL)
    async with asyncio.timeout(limit(5)):
        posted = await sending
    assert len(one.received) <= posted
    assert one.received == list(range(len(one.received)))
    await eventually(lambda: child.process_id in one.lost, within=1)


async def test_stopped_process_is_not_declared_dead(make_worker: MakeWorker, make_child: MakeChild) -> None:
    one, child, elsewhere = await make_worker(), await make_child(), await make_worker(None)
    one.bus.post(child.socket, "echo", one.socket, 1)
    await eventually(lambda: one.received == [1])
    child.send(signal.SIGTERM)
    assert await child.process.wait() == 0
    killed = await make_child()
    killed.send(signal.SIGKILL)
    for watcher in (one, elsewhere):
        await eventually(lambda watcher=watcher: killed.process_id in watcher.lost)  # type: ignore[misc]
        assert watcher.lost == [killed.process_id], "a process that was stopped is reported as dead"
    with pytest.raises(errors.Unavailable):
        one.bus.post(child.socket, "note", 1)


async def test_remote_process_without_heartbeats_is_declared_dead(
    make_worker: MakeWorker, make_child: MakeChild
) -> None:
    watchers = [await make_worker(), await make_worker(None)]
    child = await make_child(None)
    for watcher in watchers:  # until they trust their own connections
        await watcher.wait_for_heartbeats(round(DEAD_AFTER_SECONDS / HEARTBEAT_SECONDS) + 2)
        assert watcher.lost == []
    child.send(signal.SIGKILL)
    for watcher in watchers:
        await watcher.wait_for_loss(child, within=DEAD_AFTER_SECONDS + 3 * HEARTBEAT_SECONDS)
    with pytest.raises(errors.Unavailable):
        watchers[0].bus.post(child.socket, "note", 1)


async def test_suspended_process_is_declared_dead_and_rejoins(make_worker: MakeWorker, make_child: MakeChild) -> None:
    """Its messages take bounded memory meanwhile, and those that were accepted arrive when it continues."""
    one, child = await make_worker(), await make_child()
    one.bus.post(child.socket, "echo", one.socket, 0)
    await eventually(lambda: one.received == [0])
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
    assert time.monotonic() - started < 5 + limit(1)
    await eventually(lambda: one.lost == [child.process_id], within=DEAD_AFTER_SECONDS + 4 * HEARTBEAT_SECONDS)
    child.send(signal.SIGCONT)
    await child.wait_for_line("data lost", within=HEARTBEAT_SECONDS + 3)
    await eventually(lambda: len(one.received) == taken)
    assert one.received == list(range(taken))

    def is_back() -> bool:
        try:
            one.bus.post(child.socket, "echo", one.socket, taken)
        except errors.Unavailable:
            return False
        return True

    await eventually(is_back, within=HEARTBEAT_SECONDS + 2)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- Redis --------------------------------------------------------------------------------------


async def test_flushed_redis_is_a_loss_of_data(make_worker: MakeWorker) -> None:
    one, other = await make_worker(), await make_worker(None)
    await one.redis.execute("FLUSHALL")
    await eventually(lambda: one.data_losses == other.data_losses == 1, within=HEARTBEAT_SECONDS + 1)
    assert await one.redis.execute("ZCARD", "workers:{match}") == 2
    other.bus.post(one.socket, "note", 1)
    one.bus.post(other.socket, "note", 2)
    await eventually(lambda: one.received == [1] and other.received == [2])
    for worker in (one, other):
        await worker.wait_for_heartbeats(2)
        assert worker.data_losses == 1


async def test_restarted_redis_declares_no_process_dead(
    valkey: Valkey, make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    services, _ = valkey
    one, other, elsewhere = await make_worker(), await make_worker(), await make_worker(None)
    services.stop()
    one.bus.post(other.socket, "note", 1)  # within a host nothing depends on Redis
    await eventually(lambda: other.received == [1], within=1)
    with pytest.raises(errors.Unavailable):
        await one.bus.send(elsewhere.socket, "note", 1)
    with pytest.raises(errors.Unavailable):
        one.bus.post(elsewhere.socket, "note", 1)
    stopped = time.monotonic()
    failures = len(caplog.records)
    # Each process tries again twice a second: so often that it would be declared dead, could it be.
    await eventually(
        lambda: (
            len(caplog.records) - failures > 3 * 2 * DEAD_AFTER_SECONDS
            and time.monotonic() - stopped > DEAD_AFTER_SECONDS
        ),
        "processes try for longer than it takes to be declared dead",
        within=DEAD_AFTER_SECONDS + 5,
    )
    services.start()
    workers = (one, other, elsewhere)
    await eventually(lambda: all(worker.data_losses == 1 for worker in workers), within=HEARTBEAT_SECONDS + 3)
    await one.bus.send(elsewhere.socket, "note", 2)
    one.bus.post(elsewhere.socket, "note", 3)
    await eventually(lambda: elsewhere.received == [2, 3])
    assert [worker.lost for worker in workers] == [[], [], []]


# --- The directory ------------------------------------------------------------------------------


async def test_unsafe_chosen_directory_is_refused(make_worker: MakeWorker, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="0700"):
        await make_worker(tmp_path / "open")


async def test_unsafe_default_directory_falls_back_to_redis(
    own: Settings, make_worker: MakeWorker, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    connections = [RedisPipeline(own, LUA), RedisPipeline(own, LUA)]
    one, other = Worker(ProcessBus(*connections, directory=tmp_path / "open"), connections), await make_worker(None)
    one.bus.on("note", one.note)
    await one.bus.start()
    try:
        other.bus.post(one.socket, "note", 1)
        one.bus.post(other.socket, "note", 2)
        await eventually(lambda: one.received == [1] and other.received == [2])
        assert list((tmp_path / "open").iterdir()) == [] and one.bus.neighbours() == []
        assert one.bus.traffic()["redis"].messages >= 1
        assert sorted(await streams(one)) == sorted(f"bus:{each.bus.process_id}" for each in (one, other))
    finally:
        await one.stop()


def test_default_directory_is_one_per_redis(settings: Settings) -> None:
    assert directory(settings) == directory(settings.model_copy())
    assert directory(settings) != directory(settings.model_copy(update={"redis_port": 1}))
    chosen = Path("/run/parlance")
    assert directory(settings.model_copy(update={"bus_directory": chosen})) == chosen
