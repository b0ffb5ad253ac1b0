"""Matching on a cluster of three nodes: every script's keys are in one slot, and nodes may change."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import settings as configuration
from adapters.bus import LUA, ProcessBus
from adapters.rate_limiter import RateLimiter
from adapters.redis import connect
from adapters.redis_cluster import make_link
from adapters.redis_connection import UNAVAILABLE
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
from testing.redis_servers import RedisServer, nodes, running_cluster


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
            slot = servers[0].client.execute_command("CLUSTER", "KEYSLOT", "{match}")
            owner = next(
                server
                for server in servers[:3]
                if any(
                    low <= slot <= high
                    for low, high in _slots(server, server.client.execute_command("CLUSTER", "MYID"))
                )
            )
            owner.kill()

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
