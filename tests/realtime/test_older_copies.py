"""Redis comes back with an older copy of its data: with all servers, and under servers that go on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from container import Container
from testing.calls import backdate_call, call, call_row, ended_call_row
from testing.deployment import Deployment, deployed
from testing.polling import eventually
from testing.redis_copies import RedisCopy
from tests.realtime.conftest import MakeClient


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: object) -> Iterator[Deployment]:
    with deployed(environment, tmp_path, grace="120s") as running:  # type: ignore[arg-type]
        yield running


#: For how long all processes are away with Redis (ms).
AWAY_MS = 40_000


def count_reconciled(deployment: Deployment) -> int:
    """Count the web processes that have reconciled Redis at their start."""
    return sum(log.read_text().count("calls_reconciled") for log in deployment.directory.glob("server-*.log"))


async def test_restart_of_all_with_an_older_redis(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    """No process can notice the loss; calls go on where their learners come back, and end where they do not."""
    copy_port = services.settings.redis_port
    clients = [await make_client(at=number % 2) for number in range(8)]
    ended, left, kept = [await call(clients[at].phone, clients[at + 1].phone) for at in (0, 2, 4)]
    for room in (ended, left, kept):
        await backdate_call(services, room, 100)
        meta = f"{{match}}:room:{room['roomId']}:meta"
        connected: Any = await services.redis.hget(meta, "connected")
        await services.redis.hset(meta, "connected", int(connected) - 100_000)
    copy = await RedisCopy.take(copy_port)
    assert await clients[0].phone.send("end_call", ended) == {"ok": True}
    row = await ended_call_row(services, ended["roomId"])
    lost = await call(clients[6].phone, clients[7].phone)
    await backdate_call(services, lost, 100)
    before = count_reconciled(deployment)
    for at in range(2):
        deployment.kill(at)
    heartbeats = [name for name in copy.keys if name.startswith(b"worker:")]
    for name in heartbeats:
        del copy.keys[name]  # they have expired
    await copy.restore()
    # The processes have been away for longer than a death that is noticed at once.
    known: dict[str, float] = dict(await services.redis.zrange("workers:{match}", 0, -1, withscores=True))  # type: ignore[arg-type]
    await services.redis.zadd("workers:{match}", {name: score - AWAY_MS for name, score in known.items()})
    began = float(await services.redis.hget(f"{{match}}:room:{left['roomId']}:meta", "connected") or 0)
    lasted_ms = min(known.values()) - AWAY_MS - began
    for at in range(2):
        await asyncio.to_thread(deployment.start, at)
    for client in clients[4:6]:
        assert await client.rejoin(kept) == "ok"
    await eventually(lambda: count_reconciled(deployment) == before + 2, "both have reconciled", within=60)
    assert not await services.redis.exists(f"{{match}}:room:{ended['roomId']}:meta")
    assert await call_row(services, ended["roomId"]) == row
    for room in (left, lost):
        users = [clients[at].learner.id for at in ((2, 3) if room is left else (6, 7))]
        for user_id in users:
            meta = f"{{match}}:room:{room['roomId']}:meta"
            assert await services.redis.hexists(meta, f"away:{user_id}"), "a participant who is not there waits"
            await services.redis.hset(meta, f"away:{user_id}", "1")
            await services.redis.zadd("{match}:due", {f"grace:{room['roomId']}:{user_id}": 0})
        over = await ended_call_row(services, room["roomId"])
        # Up to the last heartbeat in the copy, not to a later one, nor to the end of the grace.
        low, high = (lasted_ms // 1000 - 1, (lasted_ms + AWAY_MS) // 1000 - 1) if room is left else (0, 0)
        assert over.duration_seconds is not None and low <= over.duration_seconds <= high
    made = await call_row(services, kept["roomId"])
    assert made is not None and made.ended_at is None
    assert not await services.redis.hexists(f"{{match}}:room:{kept['roomId']}:meta", "until")
    for sender, receiver in ((clients[4], clients[5]), (clients[5], clients[4])):
        await sender.send_candidate(kept, "again")
        await eventually(lambda receiver=receiver: receiver.received_candidates == ["again"])  # type: ignore[misc]


async def test_start_of_a_server_disturbs_no_call(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    one, other, away, there = [await make_client(at=number % 2) for number in range(4)]
    room, interrupted = await call(one.phone, other.phone), await call(away.phone, there.phone)
    await away.phone.client.disconnect()
    await there.phone.wait_for("peer_reconnecting")
    meta = f"{{match}}:room:{interrupted['roomId']}:meta"
    for client in (one, other, there):
        client.forget()
    kept = await services.redis.hgetall(meta), await services.redis.hgetall(f"{{match}}:room:{room['roomId']}:meta")
    before = count_reconciled(deployment)
    await asyncio.to_thread(deployment.start, 2)
    await eventually(lambda: count_reconciled(deployment) == before + 1, "it has reconciled", within=60)
    assert kept == (
        await services.redis.hgetall(meta),
        await services.redis.hgetall(f"{{match}}:room:{room['roomId']}:meta"),
    )
    await one.send_candidate(room, "hello")
    await eventually(lambda: other.received == ["webrtc_ice"], lambda: str(other.received))
    assert one.received == there.received == []


async def test_partner_is_asked_to_join_again(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    """The copy lacks joins of the partner, who comes back with a count that the other process takes for old."""
    ada, bob = [await make_client(at=at) for at in (0, 1)]
    await asyncio.to_thread(deployment.start, 2)
    room = await call(ada.phone, bob.phone)
    copy = await RedisCopy.take(services.settings.redis_port)
    for _ in range(3):
        await bob.phone.client.disconnect()
        await bob.connect(at=1)
        assert await bob.rejoin(room) == "ok"
    await eventually(lambda: ada.received.count("peer_reconnected") == 3, lambda: str(ada.received))
    meta = f"{{match}}:room:{room['roomId']}:meta"
    assert await services.redis.hget(meta, f"joins:{bob.learner.id}") == "4"
    process = deployment.servers[0].process.pid
    os.killpg(process, signal.SIGSTOP)
    try:
        deployment.kill(1)
        await copy.restore()
        await bob.connect(at=2)
        assert await bob.rejoin(room) == "ok"
        assert await services.redis.hget(meta, f"joins:{bob.learner.id}") == "2"
    finally:
        os.killpg(process, signal.SIGCONT)
    await ada.send_candidate(room, "to bob")
    await eventually(lambda: bob.received_candidates == ["to bob"], lambda: str(bob.received), within=60)
    await bob.send_candidate(room, "to ada")
    await eventually(lambda: ada.received_candidates == ["to ada"], lambda: str(ada.received), within=60)
    assert int(await services.redis.hget(meta, f"joins:{bob.learner.id}") or 0) > 4
