"""Searches and calls survive a killed or stopped process, and a Redis that restarts or loses its data."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from container import Container
from settings import Settings
from testing.calls import Room, backdate_call, call, call_row, check_grace_is_over, ended_call_row, match
from testing.containers import load_settings
from testing.deployment import Deployment, ReconnectingClient, deployed
from testing.polling import eventually
from testing.servers import dial, http_client, register, start_server, stop_server
from testing.time_limits import GRACE, PROCESS_LOSS_GRACE, limit
from tests.realtime.conftest import MakeClient


@pytest.fixture(scope="module")
def deployment(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(environment, tmp_path_factory.mktemp("deployment")) as running:
        yield running


async def test_killed_process_interrupts_calls_and_frees_searches(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    ada, bob, carol, dave = [await make_client(at=at) for at in (0, 1, 0, 0)]
    room = await call(ada.phone, bob.phone)
    unjoined = {"roomId": (await match(carol.phone, dave.phone))["roomId"]}
    searcher = await make_client(at=0)
    assert await searcher.phone.send("find_partner", {"level": "beginner"}) == {"ok": True}
    deployment.kill(0)
    assert await bob.phone.wait_for("peer_reconnecting") == {"graceSeconds": PROCESS_LOSS_GRACE}
    deadline = await services.redis.zscore("{match}:due", f"grace:{room['roomId']}:{ada.learner.id}")
    seconds, _ = await services.redis.time()
    assert deadline is not None and GRACE < deadline / 1000 - seconds <= PROCESS_LOSS_GRACE + 1
    await bob.send_candidate(room, "while you were away")
    assert await ada.rejoin(room) == "ok"
    await asyncio.to_thread(deployment.start, 0)
    await bob.wait_for("peer_reconnected")
    await ada.send_candidate(room, "back")
    await bob.wait_for("webrtc_ice")
    await ada.wait_for("webrtc_ice")
    assert (ada.received_candidates, bob.received_candidates) == (["while you were away"], ["back"])
    # A user who searched there may search again; the match of two who were there is over.
    await searcher.connect()
    assert await searcher.phone.send("find_partner", {"level": "beginner"}) == {"ok": True}
    await searcher.phone.wait_for("searching")
    assert (await ended_call_row(services, unjoined["roomId"])).connected_at is None
    for client in (carol, dave):
        assert await client.rejoin(unjoined) == "not_in_room"
        assert (await client.phone.send("cancel_search"))["error"]["code"] == "not_searching"
    assert await ada.phone.send("end_call", room) == {"ok": True}
    assert (await ended_call_row(services, room["roomId"])).connected_at is not None


async def test_stopped_process_ends_no_call(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    pairs = [[await make_client(at=at) for at in (0, number % 2)] for number in range(6)]
    rooms = [await call(one.phone, other.phone) for one, other in pairs]
    os.kill(deployment.servers[0].process.pid, signal.SIGTERM)
    there = [client for pair in pairs for client in pair if client.urls()[0] in client.phone.client.connection_url]

    async def comes_back(client: ReconnectingClient, room: Room) -> str:
        await eventually(lambda: not client.phone.client.connected)
        return await client.rejoin(room)

    back = await asyncio.gather(
        *(
            comes_back(client, room)
            for pair, room in zip(pairs, rooms, strict=True)
            for client in pair
            if client in there
        )
    )
    assert back == ["ok"] * len(there) and len(there) >= 6
    deployment.servers[0].process.wait(limit(15))
    for (one, other), room in zip(pairs, rooms, strict=True):
        await check_grace_is_over(services, room, *(each.learner.id for each in (one, other) if each in there))
        await one.send_candidate(room, "hello")
        await other.wait_for("webrtc_ice")
        assert not {"peer_left", "error"} & {*one.received, *other.received}
        made = await call_row(services, room["roomId"])
        assert made is not None and made.ended_at is None
    await asyncio.to_thread(deployment.start, 0)


@pytest.mark.parametrize("how", ["FLUSHALL", "restart"])
async def test_redis_loss_keeps_calls_and_searches(
    deployment: Deployment, make_client: MakeClient, services: Container, how: str
) -> None:
    ada, bob, carol = [await make_client(at=at) for at in (0, 1, 1)]
    room = await call(ada.phone, bob.phone)
    away, there = [await make_client(at=at) for at in (0, 1)]
    interrupted = await call(away.phone, there.phone)
    for each in (room, interrupted):
        await backdate_call(services, each, 60)
    topic = {"level": "advanced", "topic": how}
    assert await carol.phone.send("find_partner", topic) == {"ok": True}
    if how == "FLUSHALL":
        await services.redis.flushall()
        await ada.wait_for("resync")
        await carol.wait_for("resync")
    else:
        deployment.restart_redis()
    # A connection drops at the worst time.
    await away.phone.client.disconnect()
    await ada.send_candidate(room, "hello")
    await bob.wait_for("webrtc_ice")
    for client in (ada, bob):
        assert await client.rejoin(room) == "ok"
    await away.connect()
    assert await away.rejoin(interrupted) == "ok"
    await there.send_candidate(interrupted, "hello again")
    await away.wait_for("webrtc_ice")
    dave = await make_client(at=0)
    assert await dave.phone.send("find_partner", topic) == {"ok": True}
    await carol.wait_for("match_found")
    await check_grace_is_over(services, interrupted, away.learner.id)
    await check_grace_is_over(services, room, ada.learner.id, bob.learner.id)
    assert not {"peer_left", "search_expired"} & {*ada.received, *bob.received, *carol.received, *there.received}
    for client, their in ((bob, room), (there, interrupted)):
        assert await client.phone.send("end_call", their) == {"ok": True}
        ended = await ended_call_row(services, their["roomId"])
        assert ended.duration_seconds is not None and 60 <= ended.duration_seconds < 600


async def test_search_expires_and_leaves_nothing(
    environment: dict[str, str], own_valkey: dict[str, str], tmp_path: Path, settings: Settings
) -> None:
    brief = {**environment, **own_valkey, "SEARCH_EXPIRY": "1s"}
    server = await asyncio.to_thread(start_server, brief, tmp_path / "server.log", workers=1)
    container = Container(load_settings(brief))
    try:
        async with http_client(server.url) as http:
            phone = await dial(server.url, await register(http))
            for number in (1, 2):
                assert await phone.send("find_partner", {"topic": "nobody"}) == {"ok": True}
                assert await phone.wait_for("search_expired", count=number) == {}
            assert [key async for key in container.redis.scan_iter("{match}:queue:*")] == []
            assert (await phone.send("cancel_search"))["error"]["code"] == "not_searching"
            await phone.client.disconnect()
    finally:
        await container.close()
        await asyncio.to_thread(stop_server, server)
