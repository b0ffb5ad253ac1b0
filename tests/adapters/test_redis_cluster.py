"""Matching on a cluster of three nodes: every script's keys are in one slot, and nodes may change."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions

import settings as configuration
from adapters.bus import LUA, ProcessBus
from adapters.rate_limiter import RateLimiter
from adapters.redis import connect
from adapters.redis_cluster import make_link
from adapters.redis_connection import CONNECT_TIMEOUT_SECONDS, REPLY_TIMEOUT_SECONDS, UNAVAILABLE
from adapters.redis_link import RedisLink
from adapters.redis_pipeline import RedisPipeline
from services.calls.room_state import Paired, Queued, QueueEntry
from services.calls.rooms import LUA_DIRECTORY, Rooms
from services.calls.user_sockets import UserSocketsService
from services.operations import startup
from services.operations.idempotency import IdempotencyService
from settings import Settings
from testing.calls import LocalBus
from testing.polling import eventually
from testing.redis_servers import RedisServer, nodes, running_cluster, running_servers, silent_port, tcp_name
from testing.time_limits import limit


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


def at(servers: list[RedisServer]) -> Settings:
    return configuration.load(None, redis_url=f"redis+cluster://{nodes(servers)}")


class Process:
    """What one web process has of Redis: its link, its bus and its rooms."""

    def __init__(self, settings: Settings) -> None:
        self.link: RedisLink = make_link(settings)
        self.redis = connect(settings, self.link)
        self.connections = [RedisPipeline(settings, LUA, self.link), RedisPipeline(settings, LUA, self.link)]
        self.bus = ProcessBus(*self.connections)
        self.scripts = RedisPipeline(settings, LUA_DIRECTORY, self.link)
        self.rooms = Rooms(self.scripts)
        self.received: list[tuple[Any, ...]] = []
        self.losses = 0
        self.bus.on("note", self._note)
        self.bus.on_data_lost(self._note_loss)

    async def _note(self, *arguments: Any) -> None:
        self.received.append(arguments)

    async def _note_loss(self) -> None:
        self.losses += 1

    def entry(self, user_id: str) -> QueueEntry:
        return {
            "userId": user_id,
            "socket": f"{self.bus.process_id}.{user_id}",
            "level": "all",
            "topic": "",
            "card": {"displayName": "Ada", "avatarUrl": None, "level": "advanced"},
        }

    async def stop(self) -> None:
        await self.bus.stop()
        for connection in (*self.connections, self.scripts):
            await connection.close()
        await self.redis.aclose()
        await self.link.close()


@pytest.fixture
async def processes(cluster: list[RedisServer]) -> AsyncIterator[list[Process]]:
    made = [Process(at(cluster)) for _ in range(2)]
    for each in made:
        await each.bus.start()
    yield made
    for each in made:
        await each.stop()


async def play(one: Process, other: Process) -> None:
    """Match two learners, let them join, relay both ways, and end the call."""
    ada, bob, room_id = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    ada_entry, bob_entry = one.entry(ada), other.entry(bob)
    assert isinstance(await one.rooms.find_partner(ada_entry, "unused", "unused"), Queued)
    # Before the scan, which a node answers for slots that it no longer has; deadlines are polled as often.
    assert await other.rooms.count_searches() == 1
    assert [each["userId"] async for each in other.rooms.iterate_searches()] == [ada]
    found = await other.rooms.find_partner(bob_entry, room_id, str(uuid.uuid4()))
    assert isinstance(found, Paired) and found.partner_entry["userId"] == ada
    assert await other.rooms.announce(room_id)
    assert (await one.rooms.join(room_id, ada, ada_entry["socket"])).role == "caller"
    joined = await other.rooms.join(room_id, bob, bob_entry["socket"])
    assert joined.peer_socket_id == ada_entry["socket"] and joined.connected_ms
    for sender, receiver, to in ((one, other, bob_entry["socket"]), (other, one, ada_entry["socket"])):
        before = len(receiver.received)
        for number in range(50):
            sender.bus.post(to, "note", number)
        await eventually(lambda: len(receiver.received) == before + 50, within=20)  # noqa: B023
        assert [number for *_, number in receiver.received[before:]] == list(range(50))
    assert {user async for user, _ in one.rooms.iterate_participants()} == {ada, bob}
    closed = await one.rooms.close(room_id, ada)
    assert closed is not None and closed.was_call
    assert await one.rooms.get_room_id(bob) is None
    # The next search is cancelled.
    assert isinstance(await one.rooms.find_partner(ada_entry, "unused", "unused"), Queued)
    assert (await one.rooms.leave_queue(ada)) is not None


async def test_matching_and_relay_on_a_cluster(cluster: list[RedisServer], processes: list[Process]) -> None:
    await startup.check_redis(at(cluster))
    await play(*processes)
    # Each process's stream has a slot of its own.
    keys = [set(server.client.keys("*")) for server in cluster]
    assert sum(map(len, keys)) > 0 and not keys[0] & keys[1]


async def test_finds_of_one_turn_are_matched_together(processes: list[Process]) -> None:
    one = processes[0]
    users = [str(uuid.uuid4()) for _ in range(40)]
    found = await asyncio.gather(
        *(one.rooms.find_partner(one.entry(user), str(uuid.uuid4()), str(uuid.uuid4())) for user in users)
    )
    assert sum(isinstance(each, Paired) for each in found) == 20
    for user in users:
        if room_id := await one.rooms.get_room_id(user):
            await one.rooms.close(room_id, user)


async def test_single_key_features_on_a_cluster(processes: list[Process]) -> None:
    """Rate limits, idempotency keys and the sockets of users: keys in many slots, on all nodes."""
    one = processes[0]
    limiter, keys = RateLimiter(one.redis), [uuid.uuid4().hex for _ in range(20)]
    assert [(await limiter.take(key, 5, 60)).left for key in keys for _ in range(2)] == [4, 3] * 20
    idempotency = IdempotencyService(one.redis)
    for key in keys:
        await idempotency.finish(await idempotency.begin("user", "operation", key, {}), "answer")
        assert (await idempotency.begin("user", "operation", key, {})).answer == "answer"
    bus, replaced = LocalBus(), []

    async def note_replaced(socket_id: str) -> None:
        replaced.append(socket_id)

    bus.on("replace", note_replaced)
    sockets = UserSocketsService(one.scripts, bus, 2)
    for key in keys:
        for number in range(3):
            sockets.add(key, f"{one.bus.process_id}.{number}")
    await sockets.stop()
    assert {len(await sockets.list_socket_ids(key)) for key in keys} == {2} and len(replaced) == len(keys)


async def test_slot_that_moves_is_followed(cluster: list[RedisServer], processes: list[Process]) -> None:
    """ASK while the keys of rooms and queues move from one node to another, MOVED when they have."""
    one = processes[0]
    slot = cluster[0].client.execute_command("CLUSTER", "KEYSLOT", "{match}")
    owners = {server.client.execute_command("CLUSTER", "MYID"): server for server in cluster}
    source_id = next(
        identity
        for identity, server in owners.items()
        if any(low <= slot <= high for low, high in _slots(server, identity))
    )
    target_id = next(identity for identity in owners if identity != source_id)
    source, target = owners[source_id], owners[target_id]
    ada = str(uuid.uuid4())
    await one.rooms.find_partner(one.entry(ada), "unused", "unused")
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    for key in source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    # The keys are at the target, the slot is still the source's.
    assert await one.scripts.execute("EXISTS", f"{{match}}:searching:{ada}") == 1
    for server in (target, source):
        server.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert (await one.rooms.leave_queue(ada)) is not None
    await play(*processes)


def _slots(server: RedisServer, identity: str) -> list[tuple[int, int]]:
    found = server.client.execute_command("CLUSTER", "SLOTS")
    return [(low, high) for low, high, primary, *_ in found if primary[2] == identity]


async def test_killed_node_is_replaced_by_its_replica(tmp_path: Path) -> None:
    """The node that has the rooms: matching goes on on its replica, and every process repairs what was lost."""
    with running_cluster(tmp_path, "--repl-diskless-sync-delay", "0", replicas=True) as servers:
        made = [Process(at(servers[:3])) for _ in range(2)]
        for each in made:
            await each.bus.start()
        try:
            await play(*made)
            await eventually(lambda: all(each.link.is_watched for each in made))
            find_owner(servers[:3], "{match}").kill()

            async def works() -> bool:
                with suppress(*UNAVAILABLE):
                    await made[0].rooms.count_searches()
                    return True
                return False

            await eventually(lambda: all(each.losses == 1 for each in made), within=60)
            await eventually(works, within=60)
            await play(*made)
        finally:
            for each in made:
                await each.stop()


def find_owner(servers: list[RedisServer], key: str) -> RedisServer:
    """Find the primary of a key's slot."""
    slot = servers[0].client.execute_command("CLUSTER", "KEYSLOT", key)
    return next(
        server
        for server in servers
        if any(low <= slot <= high for low, high in _slots(server, server.client.execute_command("CLUSTER", "MYID")))
    )


async def test_silent_node_fails_its_own_commands_soon(tmp_path: Path) -> None:
    """The first ones wait for a reply and for other slots, later ones for nothing; other nodes serve on."""
    with running_cluster(tmp_path) as servers:
        process = Process(at(servers))
        await process.bus.start()
        try:
            await eventually(lambda: process.link.is_watched)
            keys = [f"key:{number}" for number in range(40)]
            owners = {key: find_owner(servers, key) for key in keys}
            silent = next(server for server in servers if server is not find_owner(servers, "{match}"))
            of_silent = [key for key in keys if owners[key] is silent]
            assert of_silent and len(of_silent) < len(keys)

            async def take(key: str) -> tuple[bool, float]:
                began = time.monotonic()
                with suppress(*UNAVAILABLE):
                    await process.redis.incr(key)
                    return True, time.monotonic() - began
                return False, time.monotonic() - began

            silent.process.send_signal(signal.SIGSTOP)
            try:
                first = dict(zip(keys, await asyncio.gather(*map(take, keys)), strict=True))
                assert {key for key, (is_taken, _) in first.items() if not is_taken} == set(of_silent)
                waits = [seconds for _, seconds in first.values()]
                assert max(waits) < REPLY_TIMEOUT_SECONDS + CONNECT_TIMEOUT_SECONDS + limit(1), waits
                ends = time.monotonic() + 10  # the watch tries it several times meanwhile
                while time.monotonic() < ends:
                    for key in keys:
                        is_taken, seconds = await take(key)
                        # The slots may be read from the silent node first, for one second.
                        assert is_taken is (key not in of_silent) and seconds < 1 + limit(1), (key, is_taken, seconds)
            finally:
                silent.process.send_signal(signal.SIGCONT)

            async def serves_all() -> bool:
                return all([(await take(key))[0] for key in keys])

            await eventually(serves_all, within=15)
            await play(process, process)
        finally:
            await process.stop()


async def test_silent_cluster_is_waited_for_once() -> None:
    with silent_port() as one, silent_port() as other, silent_port() as third:
        settings = configuration.load(
            None, redis_url=f"redis+cluster://127.0.0.1:{one},127.0.0.1:{other},127.0.0.1:{third}"
        )
        link = make_link(settings)
        pipelines = [RedisPipeline(settings, link=link) for _ in range(4)]

        async def ping(pipeline: RedisPipeline) -> float:
            began = time.monotonic()
            with pytest.raises(redis.exceptions.ConnectionError):
                await pipeline.execute("PING")
            return time.monotonic() - began

        assert max(await asyncio.gather(*map(ping, pipelines))) < CONNECT_TIMEOUT_SECONDS + limit(1)
        assert max(await asyncio.gather(*map(ping, pipelines))) < limit(0.5)
        for pipeline in pipelines:
            await pipeline.close()
        await link.close()


async def test_slot_without_node_fails_alone(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as servers:
        owner = find_owner(servers, "lost")
        slot = owner.client.execute_command("CLUSTER", "KEYSLOT", "lost")
        for server in servers:
            server.client.execute_command("CLUSTER", "DELSLOTS", slot)
        pipeline = RedisPipeline(at(servers))
        lost, other = pipeline.execute("INCR", "lost"), pipeline.execute("INCR", "other")
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS + limit(2)):
            with pytest.raises(redis.exceptions.ConnectionError, match="no node has the slot"):
                await lost
            assert await other == 1
        owner.client.execute_command("CLUSTER", "ADDSLOTS", slot)

        async def is_found() -> bool:
            with suppress(*UNAVAILABLE):
                return bool(await pipeline.execute("INCR", "lost") == 1)
            return False

        await eventually(is_found, within=20)
        await pipeline.close()


async def test_cluster_without_slots_is_waited_for(tmp_path: Path) -> None:
    """Nodes that run, and have not been made a cluster yet."""
    with running_servers(tmp_path, 1, "--cluster-enabled", "yes") as servers:
        pipeline = RedisPipeline(at(servers))
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS + limit(2)):
            with pytest.raises(redis.exceptions.ConnectionError, match="the cluster has no slots"):
                await pipeline.execute("PING")
        servers[0].client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: "cluster_state:ok" in servers[0].client.execute_command("CLUSTER", "INFO"))
        assert await pipeline.execute("INCR", "count") == 1
        await pipeline.close()


async def test_cluster_at_other_addresses_is_found_by_name(tmp_path: Path) -> None:
    """After an outage all nodes have other addresses: only the configured name leads to them."""
    with running_cluster(tmp_path / "before") as before, running_cluster(tmp_path / "after") as after:
        async with tcp_name(before[0].port) as name:
            settings = configuration.load(None, redis_url=f"redis+cluster://127.0.0.1:{name.port}")
            pipeline = RedisPipeline(settings)
            assert await pipeline.execute("INCR", "count") == 1
            for server in before:
                server.kill()
            name.target = after[0].port

            async def is_found() -> bool:
                with suppress(*UNAVAILABLE):
                    await pipeline.execute("INCR", "count")
                return bool(find_owner(after, "count").client.get("count"))

            await eventually(is_found, within=20)
            await pipeline.close()
