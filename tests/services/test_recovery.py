"""Recovery: the order in which outcomes are emitted, and what is left of dead processes and lost data."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

import errors
from container import Container
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Match, PartnerCancelled, Searching
from services.calls.reconciliation import Reconciliation
from services.calls.recovery import RecoveryService
from services.calls.room_checks import RoomChecks
from services.calls.room_state import PartnerCard, QueueEntry
from services.calls.rooms import Rooms
from services.calls.signaling import SignalingService
from testing.calls import LocalBus, empty_queue


@pytest.fixture(autouse=True)
async def clean_queue(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)


class NobodyThere(LocalBus):
    """A bus on which the workers of all sockets have died."""

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        raise errors.Unavailable()


class Patient(SignalingService):
    """Drops participants; the drop that begins first ends last."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[str] = []
        self._others = asyncio.Event()

    async def drop(self, user_id: str, *_: Any, **__: Any) -> PartnerCancelled:
        self.seen.append(user_id)
        if len(self.seen) == 1:
            await self._others.wait()
            return PartnerCancelled(user_id, None)
        self._others.set()
        return PartnerCancelled(user_id, None)


def make_entry(user_id: str, socket: str) -> QueueEntry:
    card: PartnerCard = {"displayName": "Ada", "avatarUrl": None, "level": "beginner"}
    return {"userId": user_id, "socket": socket, "level": "all", "topic": "", "since": 1, "card": card}


async def test_outcomes_are_emitted_as_they_happen(container: Container) -> None:
    rooms, bus = Rooms(container.scripts), LocalBus()
    rows = CallRecords(rooms, container.call_history)
    matchmaking = MatchmakingService(
        bus,
        container.database,
        rooms,
        container.call_history,
        rows,
        container.gates,
        container.text_filter,
    )
    signaling = Patient(bus, rooms, rows, matchmaking)
    checks = RoomChecks(bus, rooms, rows, container.call_history, matchmaking, signaling)
    reconciliation = Reconciliation(rooms, container.call_history, matchmaking, signaling, checks, bus.process_id)
    recovery = RecoveryService(rooms, rows, matchmaking, signaling, reconciliation, checks)
    for _ in range(2):
        user_id = str(uuid.uuid4())
        await rooms.find_partner(
            make_entry(user_id, f"{container.bus.process_id}.{user_id}"), str(uuid.uuid4()), str(uuid.uuid4())
        )
    emitted = [
        outcome.socket_id async for outcome in recovery.recover_process("dead") if isinstance(outcome, PartnerCancelled)
    ]
    assert len(emitted) == 2 and emitted == [*signaling.seen[1:], signaling.seen[0]]


async def test_lost_searches_match_when_restored(container: Container, make_learner: Any) -> None:
    rooms = Rooms(container.scripts)
    rows = CallRecords(rooms, container.call_history)
    learners = [(await make_learner()).id for _ in range(3)]
    workers = []
    for process_id in ("one", "two"):
        worker = MatchmakingService(
            LocalBus(process_id),
            container.database,
            rooms,
            container.call_history,
            rows,
            container.gates,
            container.text_filter,
        )
        workers.append(worker)

    async def lose_all() -> None:
        await empty_queue(container)
        await container.redis.delete("worker:{match}:one", "worker:{match}:two")

    async def search(who: int, at: int) -> Any:
        socket = f"{('one', 'two')[at]}.{who}"
        workers[at].connect(socket)
        return await workers[at].find_partner(learners[who], socket, level="all", topic=None)

    async def restored(at: int) -> list[Any]:
        await container.redis.set(f"worker:{{match}}:{('one', 'two')[at]}", "1", ex=30)
        return [outcome async for outcome in workers[at].restore_searches()]

    await restored(0)
    assert isinstance(await search(0, 0), Searching)
    await lose_all()
    # Before anybody has noticed, two more come; of the second of them Redis does not know the worker.
    assert isinstance(await search(1, 1), Searching)
    assert isinstance(await search(2, 1), Searching)
    assert await restored(0) == []
    met = await restored(1)
    assert [(type(each), each.waiting.user_id, each.seeker.user_id) for each in met] == [
        (Match, learners[0], learners[1])
    ], "the one who waited longest, and the one who waited longest after them"
    assert [each["userId"] async for each in rooms.iterate_searches()] == [learners[2]]
    assert await restored(0) == [] == await restored(1), "they have met"
    await lose_all()


async def test_cancelled_search_is_not_restored(container: Container, make_learner: Any) -> None:
    rooms = Rooms(container.scripts)
    rows = CallRecords(rooms, container.call_history)
    matchmaking = MatchmakingService(
        LocalBus(),
        container.database,
        rooms,
        container.call_history,
        rows,
        container.gates,
        container.text_filter,
    )
    user_id = (await make_learner()).id
    matchmaking.connect("w.one")
    await matchmaking.find_partner(user_id, "w.one", level="all", topic=None)
    await empty_queue(container)
    assert await matchmaking.cancel_search(user_id, "w.one") is None
    assert [outcome async for outcome in matchmaking.restore_searches()] == []
    assert [each async for each in rooms.iterate_searches()] == []
    with pytest.raises(errors.NotSearching):
        await matchmaking.cancel_search(user_id, "w.one")


async def test_search_of_a_dead_process_leaves_no_entry(container: Container, make_learner: Any) -> None:
    rooms, bus = Rooms(container.scripts), NobodyThere()
    rows = CallRecords(rooms, container.call_history)
    matchmaking = MatchmakingService(
        bus,
        container.database,
        rooms,
        container.call_history,
        rows,
        container.gates,
        container.text_filter,
    )
    user_id = (await make_learner()).id
    await matchmaking.find_partner(user_id, "dead.one", level="all", topic=None)
    assert [each async for each in rooms.iterate_searches()] == []
