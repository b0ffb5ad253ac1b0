"""Calls under faults: they resume or end, and their rows are right, when processes die during negotiation.

Promised: what was acknowledged reaches the partner once and in order, unless the worker that took it was killed (-9)
with both of them on it. What was not acknowledged is sent again by its client, and may then arrive twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from container import Container
from models import CallSession, EndedBy, Profile
from testing.client_internals import abort_connection
from testing.containers import load_settings
from testing.deployment import Deployment, ReconnectingClient, deployed
from testing.learners import SIGNALS, FaultRound, Participant, Rooms, check_signals
from testing.polling import eventually
from testing.servers import http_client, register
from testing.time_limits import GRACE, limit

LEARNERS, ROUNDS = 40, 25
FAULTS = ("client dropped", "worker killed", "client dropped", "Redis restarted", "worker stopped")


@pytest.fixture(scope="module")
def deployment(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    # The same forty meet in each round: the fit would let the last ones wait for others than those whom they have met.
    oldest_first = {**environment, "MATCHING": "oldest"}
    with deployed(oldest_first, tmp_path_factory.mktemp("deployment")) as running:
        yield running


async def strike(fault: str, deployment: Deployment, callers: list[Participant], round_: FaultRound) -> None:
    at = round_.random.randrange(2)
    match fault:
        case "client dropped":
            for caller in round_.random.sample(callers, LEARNERS // 3):
                if caller.client.phone.client.connected:
                    abort_connection(caller.client.phone.client)
        case "worker killed":
            url = deployment.servers[at].url
            round_.killed |= {
                phone.worker
                for caller in callers
                for phone in caller.client.phones
                if phone.client.connection_url.startswith(url)
            }
            deployment.kill(at)
            await asyncio.to_thread(deployment.start, at)
        case "worker stopped":
            os.kill(deployment.servers[at].process.pid, signal.SIGTERM)
            await asyncio.to_thread(deployment.servers[at].process.wait, limit(20))
            await asyncio.to_thread(deployment.start, at)
        case "Redis restarted":
            deployment.restart_redis()


async def test_five_hundred_calls_survive_faults(deployment: Deployment) -> None:
    """Each call resumes or ends, and its record is right, with any process or store killed meanwhile."""
    seed = int(os.environ.get("FAULTS_SEED", "7"))
    clients = []
    for number in range(LEARNERS):
        learner = await register(http_client(deployment.servers[number % 2].url))
        clients.append(ReconnectingClient(learner, lambda: [server.url for server in deployment.servers]))
    counts: Counter[str] = Counter()
    problems: list[str] = []
    rooms: dict[str, str] = {}
    for number in range(ROUNDS):
        fault = FAULTS[number % len(FAULTS)]
        round_ = FaultRound(random.Random(f"{seed} {number}"), Rooms())
        await asyncio.gather(*(settle(client, deployment.servers[at % 2].url) for at, client in enumerate(clients)))
        callers = [Participant(client, round_) for client in clients]
        playing = [asyncio.create_task(caller.play()) for caller in callers]
        # Struck while they negotiate, at another point in each round.
        progress = round_.random.randrange(LEARNERS, LEARNERS * SIGNALS // 2)
        await eventually(
            lambda callers=callers, progress=progress: (  # type: ignore[misc]
                sum(len(each.acknowledged) for each in callers) >= progress
            ),
            "the calls are under way",
        )
        await strike(fault, deployment, callers, round_)
        async with asyncio.timeout(limit(60)):
            await asyncio.gather(*playing)
        by_user = {caller.client.learner.id: caller for caller in callers}
        for caller in callers:
            partner = by_user[caller.partner]
            if caller.room != partner.room or caller.outcome != "completed":
                counts[f"{fault}: ended"] += 1
                continue
            counts[f"{fault}: {'resumed' if caller.drops or partner.drops else 'undisturbed'}"] += 1
            rooms[caller.room] = fault
            before = len(problems)
            await check_signals(caller, partner, round_, problems)
            problems[before:] = [f"round {number}, {fault}: {problem}" for problem in problems[before:]]
    print(f"seed {seed}:", {name: times // 2 for name, times in sorted(counts.items())})
    for client in clients:
        await client.close()
    assert not problems, "\n".join(problems[:20])
    assert sum(counts.values()) == LEARNERS * ROUNDS
    for fault in ("client dropped", "worker killed", "worker stopped"):
        assert counts[f"{fault}: resumed"] > LEARNERS, f"{fault} interrupts too few calls to show anything"
    ended = sum(times for name, times in counts.items() if name.endswith("ended"))
    assert ended < LEARNERS * ROUNDS / 20, f"{ended // 2} calls did not come back"
    await check_records(Container(load_settings(deployment.environment)), rooms)


async def settle(client: ReconnectingClient, url: str) -> None:
    """See that a client is connected to that server: half of them each."""
    if client.phones and client.phone.client.connected:
        if client.phone.client.connection_url.startswith(url):
            return
        await client.phone.client.disconnect()
    while True:
        phone = await client.connect(at=client.urls().index(url))
        if phone.client.connected:
            return


async def check_records(services: Container, rooms: dict[str, str]) -> None:
    """Check what PostgreSQL and Redis say in the end."""

    async def settled() -> bool:
        return not [key async for key in services.redis.scan_iter("{match}:room:*")] and not await services.redis.zcard(
            "{match}:due"
        )

    await eventually(settled, within=GRACE + 20)
    left = {
        key
        async for key in services.redis.scan_iter("{match}:*")
        if not key.startswith(("{match}:came", "{match}:recent", "{match}:waits"))
    }
    assert not left
    async with services.database.transaction() as db:
        calls = (await db.exec(select(CallSession))).all()
        assert not [call.room_id for call in calls if call.ended_at is None], "a call that never ended"
        by_room = {call.room_id: call for call in calls}
        assert len(by_room) == len(calls)
        for room, fault in rooms.items():
            found = by_room[room]
            assert found.connected_at is not None, f"{fault}: a call that was one, and is recorded as none"
            assert found.ended_by in (EndedBy.USER_A, EndedBy.USER_B), fault
            assert found.duration_seconds is not None and found.ended_at is not None
            assert found.started_at <= found.connected_at <= found.ended_at
        counted = Counter(
            user for call in calls if call.connected_at is not None for user in (call.user_a_id, call.user_b_id)
        )
        totals = await db.exec(select(col(Profile.user_id), col(Profile.total_sessions)))
        assert {user: total for user, total in totals if total} == dict(counted), "statistics that are not the calls'"
        assert (await db.exec(select(sa.func.count()).select_from(CallSession))).one() >= LEARNERS * ROUNDS // 2
    await services.close()
