"""Redis whose primary changes: by name, by Sentinel, with a demoted, silent or loading server in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions

import settings as configuration
from adapters.bus import LUA, ProcessBus
from adapters.redis import connect
from adapters.redis_connection import CONNECT_TIMEOUT_SECONDS, UNAVAILABLE, Endpoint, NotPrimary, NotWritable
from adapters.redis_link import Identity, RedisLink
from adapters.redis_pipeline import RedisPipeline
from container import Container
from services.operations import startup
from services.operations.doctor import DoctorService
from services.operations.health import HealthService
from settings import Settings
from testing.polling import eventually
from testing.redis_servers import (
    RedisServer,
    TcpName,
    nodes,
    running_sentinels,
    running_servers,
    silent_port,
    tcp_name,
)
from testing.time_limits import limit
from tests.services.test_bus import Worker


def at(port: int) -> Settings:
    return configuration.load(None, redis_host="127.0.0.1", redis_port=port)


def by_url(url: str, **others: Any) -> Settings:
    return configuration.load(None, redis_url=url, **others)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A primary, and a replica of it."""
    with running_servers(tmp_path / "pair", 2, "--repl-diskless-sync-delay", "0") as (primary, replica):
        replica.follow(primary)
        yield [primary, replica]


@pytest.fixture
async def name(pair: list[RedisServer]) -> AsyncIterator[TcpName]:
    """A name of the primary, which the tests move to the replica."""
    async with tcp_name(pair[0].port) as made:
        yield made


class Watched:
    """A pipeline whose primary is watched, as in a web process."""

    def __init__(self, settings: Settings, link: RedisLink | None = None) -> None:
        self.pipeline = RedisPipeline(settings, link=link)
        self.losses = 0
        self._task = asyncio.create_task(self.pipeline.link.watch(self._note))

    async def _note(self) -> None:
        self.losses += 1

    async def is_written_to(self, server: RedisServer) -> bool:
        with suppress(*UNAVAILABLE):
            number = await self.pipeline.execute("INCR", "writes", idempotent=True)
            return bool(str(number) == server.client.get("writes") and server.get_role() == "master")
        return False

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.pipeline.close()
        await self.pipeline.link.close()


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(*arguments: Any) -> Watched:
        made.append(Watched(*arguments))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def switch(pair: list[RedisServer], name: TcpName) -> None:
    """Promote the replica, and let the old primary live on as its replica."""
    primary, replica = pair
    replica.promote()
    name.target = replica.port
    await asyncio.to_thread(primary.follow, replica)


async def test_write_refused_by_a_demoted_primary_is_repeated(pair: list[RedisServer], name: TcpName) -> None:
    """The server says READONLY, nothing has run: the same call succeeds on the new primary, idempotent or not."""
    pipeline = RedisPipeline(at(name.port))
    assert await pipeline.execute("INCR", "count") == 1
    await switch(pair, name)
    assert await asyncio.gather(*(pipeline.execute("INCR", "count") for _ in range(20))) == list(range(2, 22))
    assert pair[1].client.get("count") == "21"
    await pipeline.close()


async def test_reads_leave_a_demoted_primary(
    pair: list[RedisServer], name: TcpName, watch: Callable[..., Watched]
) -> None:
    """A replica answers reads: only the watch finds that they come from one."""
    watched = watch(at(name.port))
    port = str(pair[0].port)
    assert port in await watched.pipeline.execute("INFO", "server")
    await switch(pair, name)

    async def reads_elsewhere() -> bool:
        with suppress(*UNAVAILABLE):
            return f"tcp_port:{pair[1].port}" in await watched.pipeline.execute("INFO", "server")
        return False

    await eventually(reads_elsewhere, within=20)


async def test_bus_goes_on_after_a_planned_switch(pair: list[RedisServer], name: TcpName) -> None:
    """Blocking readers of two processes leave the demoted server too, and a switch ends no process."""
    workers: list[Worker] = []
    lost: list[str] = []
    for _ in range(2):
        connections = [RedisPipeline(at(name.port), LUA) for _ in range(2)]
        worker = Worker(ProcessBus(*connections), connections)
        worker.bus.on("note", worker.note)

        async def note_lost(process_id: str) -> None:
            lost.append(process_id)

        async def note_data_lost() -> None:
            lost.append("data")

        worker.bus.on_process_lost(note_lost)
        worker.bus.on_data_lost(note_data_lost)
        await worker.bus.start()
        workers.append(worker)
    one, other = workers
    try:
        await one.bus.send(other.socket, "note", 0)
        await other.wait_for_messages(1)
        await eventually(lambda: all(worker.connections[0].link.is_watched for worker in workers))
        await switch(pair, name)

        async def is_sent() -> bool:
            try:
                await one.bus.send(other.socket, "note", 1)
            except Exception:
                return False
            return True

        await eventually(is_sent, within=20)
        await eventually(lambda: 1 in other.numbers, within=20)
        # The new primary may lack what the old one had: both are to look.
        await eventually(lambda: lost.count("data") == 2, lambda: str(lost), within=20)
        assert set(lost) == {"data"}
    finally:
        for worker in workers:
            await worker.bus.stop()
            for connection in worker.connections:
                await connection.close()


class NamedLink(RedisLink):
    """A link whose name resolves to what the test says."""

    def __init__(self, settings: Settings, *ports: int) -> None:
        super().__init__(settings)
        self.ports = ports

    async def find(self) -> list[Endpoint]:
        return [Endpoint("127.0.0.1", port, "primary.test") for port in self.ports]


async def test_name_that_moves_is_followed(pair: list[RedisServer], watch: Callable[..., Watched]) -> None:
    """The old primary answers on, and is still one: nothing but the name says that it was left."""
    primary, replica = pair
    link = NamedLink(at(1), primary.port)
    watched = watch(at(1), link)
    await eventually(lambda: watched.is_written_to(primary))
    await link.look()
    link.ports = (replica.port,)  # not promoted yet: the primary goes on
    for _ in range(3):
        await link.look()
    assert await watched.is_written_to(primary)
    replica.promote()
    await eventually(lambda: watched.is_written_to(replica), within=20)
    await eventually(lambda: watched.losses == 1, within=20)


async def test_primary_among_several_addresses_is_used(pair: list[RedisServer]) -> None:
    """A name of Kubernetes, for one, may have the addresses of all servers."""
    primary, replica = pair
    for ports in ((replica.port, primary.port), (primary.port, replica.port)):
        pipeline = RedisPipeline(at(1), link=NamedLink(at(1), *ports))
        assert f"tcp_port:{primary.port}" in await pipeline.execute("INFO", "server")
        await pipeline.close()
    only_replicas = RedisPipeline(at(1), link=NamedLink(at(1), replica.port))
    with pytest.raises(NotPrimary, match="is a replica"):
        await only_replicas.execute("GET", "x")
    await only_replicas.close()


async def test_silent_address_leaves_time_for_the_others(pair: list[RedisServer]) -> None:
    with silent_port() as silent:
        pipeline = RedisPipeline(at(1), link=NamedLink(at(1), silent, pair[1].port, silent, pair[0].port))
        began = time.monotonic()
        assert f"tcp_port:{pair[0].port}" in await pipeline.execute("INFO", "server")
        assert time.monotonic() - began < CONNECT_TIMEOUT_SECONDS
        await pipeline.close()


async def test_silent_addresses_are_waited_for_once(pair: list[RedisServer]) -> None:
    """All pipelines of the process know at once; one that answers again is used after a look at it."""
    with silent_port() as silent:
        # A replica refuses, which would be tried three times.
        link = NamedLink(at(1), pair[1].port, silent, silent)
        pipelines = [RedisPipeline(at(1), link=link) for _ in range(2)]
        began = time.monotonic()
        with pytest.raises(redis.exceptions.ConnectionError):
            await pipelines[0].execute("PING")
        assert CONNECT_TIMEOUT_SECONDS - 1 < time.monotonic() - began < CONNECT_TIMEOUT_SECONDS + limit(1)
        for pipeline in (*pipelines, *pipelines):
            began = time.monotonic()
            with pytest.raises(redis.exceptions.ConnectionError, match="has just not answered"):
                await pipeline.execute("PING")
            assert time.monotonic() - began < limit(0.5)
        link.ports = (silent, pair[0].port)
        await link.look()
        for pipeline in pipelines:
            assert await pipeline.execute("PING") == "PONG"
            await pipeline.close()
        await link.close()


async def test_silent_primary_is_left(pair: list[RedisServer], name: TcpName, watch: Callable[..., Watched]) -> None:
    """A host that vanishes answers nothing and closes nothing."""
    primary, replica = pair
    watched = watch(at(name.port))
    await eventually(lambda: watched.is_written_to(primary))
    await eventually(lambda: watched.pipeline.link.is_watched)
    name.silence()
    replica.promote()
    name.target = replica.port
    await eventually(lambda: watched.is_written_to(replica), within=30)
    await eventually(lambda: watched.losses == 1, within=20)


async def test_restart_is_a_loss_of_data_and_a_new_replica_none(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    with running_servers(tmp_path, 2, "--appendonly", "yes", "--repl-diskless-sync-delay", "0") as (primary, replica):
        watched = watch(at(primary.port))
        await eventually(lambda: watched.is_written_to(primary))
        await eventually(lambda: watched.pipeline.link.is_watched)
        before = primary.client.info("replication")["master_replid"]
        await asyncio.to_thread(replica.follow, primary)
        assert primary.client.info("replication")["master_replid"] != before, "the case that is not to count"
        await watched.pipeline.link.look()
        assert watched.losses == 0
        primary.kill()
        await asyncio.to_thread(primary.start)
        await eventually(lambda: watched.losses == 1, within=20)
        await eventually(lambda: watched.is_written_to(primary), within=20)
        assert watched.losses == 1


def test_which_changes_of_identity_may_lose_data() -> None:
    none = "0" * 40
    before = Identity("run", "a", none)
    assert not Identity("run", "b", none).may_have_lost(before), "its first replica came"
    assert not Identity("run", "b", "a").may_have_lost(before), "it was a replica of none for a moment"
    assert Identity("run", "c", "b").may_have_lost(before), "it was a replica of another server"
    assert Identity("other", "b", "a").may_have_lost(before), "its replica may have lacked the last writes"
    assert not Identity("", "", "").may_have_lost(Identity("", "", "")), "the user may not ask"


async def test_primary_with_too_few_replicas_is_unavailable(tmp_path: Path) -> None:
    """One that is cut off from its replicas and from Sentinels is not written to; nothing has run."""
    with running_servers(tmp_path, 1, "--min-replicas-to-write", "1") as (server,):
        pipeline = RedisPipeline(at(server.port), LUA)
        for answer in (
            pipeline.execute("INCR", "writes"),
            pipeline.call("heartbeat", ["a", "b", "c"], ["me", 6, 60, 1], idempotent=True),
        ):
            with pytest.raises(NotWritable, match="NOREPLICAS"):
                await answer
        await pipeline.close()


async def test_loading_server_is_waited_for(tmp_path: Path) -> None:
    with running_servers(tmp_path, 1) as (server,):
        server.client.mset({f"key:{number}": "x" * 100 for number in range(3000)})
        server.client.save()
        server.kill()
        await asyncio.to_thread(
            server.start, "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"
        )
        pipeline = RedisPipeline(at(server.port))
        with pytest.raises(redis.exceptions.ConnectionError, match=r"(?i)loading"):
            await pipeline.execute("GET", "key:1")
        with pytest.raises(startup.Unreachable, match="is loading its data"):
            await startup.check_redis(at(server.port))

        async def is_there() -> bool:
            with suppress(*UNAVAILABLE):
                return bool(await pipeline.execute("GET", "key:1") == "x" * 100)
            return False

        await eventually(is_there, within=60)
        await pipeline.close()


async def test_replica_is_not_ready_and_doctor_names_it(
    pair: list[RedisServer], container: Container, settings: Settings
) -> None:
    there = settings.model_copy(update={"redis_host": "127.0.0.1", "redis_port": pair[1].port})
    client = connect(there)
    ready = HealthService(container.database, client, container.storage, asyncio.Event())
    with pytest.raises(Exception, match="redis is a replica"):
        await ready.check_ready()
    findings = {each.check: each for each in await DoctorService(there, []).examine()}
    assert findings["redis"].verdict == "fault" and "is a replica" in findings["redis"].summary
    pair[1].promote()
    assert (await ready.check_ready())["redis"] >= 0
    # Demoted while it is connected, before anything is written.
    pair[1].client.replicaof("127.0.0.1", pair[0].port)
    with pytest.raises(Exception, match="redis is a replica"):
        await ready.check_ready()
    await client.aclose()


async def test_sentinels_lead_to_the_new_primary(
    pair: list[RedisServer], tmp_path: Path, watch: Callable[..., Watched]
) -> None:
    """Once by their choice, with the old primary living on, and once because it was killed."""
    with running_sentinels(tmp_path, pair[0], "parlance") as sentinels:
        watched = watch(by_url(f"redis+sentinel://{nodes(sentinels)}/parlance"))
        await startup.check_redis(by_url(f"redis+sentinel://{nodes(sentinels)}/parlance"))
        await eventually(lambda: watched.is_written_to(pair[0]))
        await eventually(lambda: watched.pipeline.link.is_watched)
        sentinels[0].client.execute_command("SENTINEL", "FAILOVER", "parlance")
        await eventually(lambda: watched.is_written_to(pair[1]), within=60)
        await eventually(lambda: pair[0].get_role() == "slave", within=60)
        await eventually(lambda: pair[0].client.info("replication")["master_link_status"] == "up", within=60)
        sentinels[0].kill()  # one of three may be gone
        pair[1].kill()
        await eventually(lambda: watched.is_written_to(pair[0]), within=60)
        await eventually(lambda: watched.losses == 2, lambda: str(watched.losses), within=20)


async def test_silent_sentinels_do_not_delay_the_others(pair: list[RedisServer], tmp_path: Path) -> None:
    """Hosts that are gone are asked at the same time as those that answer, once each."""
    with running_sentinels(tmp_path, pair[0], "parlance", 2) as sentinels, silent_port() as one, silent_port() as other:
        where = f"127.0.0.1:{one},127.0.0.1:{other},{nodes(sentinels)}"
        pipeline = RedisPipeline(by_url(f"redis+sentinel://{where}/parlance"))
        for _ in range(2):
            began = time.monotonic()
            assert [each.port for each in await pipeline.link.find()] == [pair[0].port]
            assert time.monotonic() - began < 1 + limit(1)
        assert await pipeline.execute("PING") == "PONG"
        await pipeline.close()


async def test_unknown_name_of_a_primary_is_named(pair: list[RedisServer], tmp_path: Path) -> None:
    with (
        running_sentinels(tmp_path, pair[0], "parlance") as sentinels,
        pytest.raises(startup.Unreachable, match="no Sentinel knows a primary other"),
    ):
        await startup.check_redis(by_url(f"redis+sentinel://{nodes(sentinels)}/other"))
