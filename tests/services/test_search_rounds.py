"""Searches that wait and are tried again: matched once they accept each other, never lost, never all at once."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from adapters.redis_pipeline import RedisPipeline
from container import Container
from models import Level
from services.calls.call_records import CallRecords
from services.calls.fit import OLDEST_FIRST, FitWeights
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Match, Searching
from services.calls.room_state import QueueEntry
from services.calls.rooms import LUA_DIRECTORY, Rooms
from services.calls.search_rounds import ROUND_SIZE, SearchRounds
from settings import Settings
from testing.calls import LocalBus
from testing.servers import Learner

MakeLearner = Callable[..., Awaitable[Learner]]
#: Levels meet, and misfits are accepted, from the next moment on.
SOON = replace(FitWeights(), neighbour_seconds=0.001, enough=0)


class Process:
    """A web process on a Redis of its own, whose clock of rounds the test moves."""

    def __init__(self, container: Container, pipeline: RedisPipeline, weights: FitWeights = SOON) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.pipeline = pipeline
        self.now = 0.0
        self.rooms = Rooms(pipeline, weights=weights)
        history = container.call_history
        self.matchmaking = MatchmakingService(
            LocalBus(self.id),
            container.database,
            self.rooms,
            history,
            CallRecords(self.rooms, history),
            container.gates,
            container.text_filter,
        )
        self.rounds = SearchRounds(self.matchmaking, self.rooms, clock=lambda: self.now, choose=lambda: 0.5)

    async def search(self, user_id: str, level: Level, *, is_strict: bool = False) -> Searching | Match:
        await self.pipeline.execute("SET", f"worker:{{match}}:{self.id}", "1")
        socket = f"{self.id}.{uuid.uuid4().hex}"
        self.matchmaking.connect(socket)
        outcome = await self.matchmaking.find_partner(user_id, socket, level=level, topic=None, is_strict=is_strict)
        assert isinstance(outcome, Searching | Match)
        return outcome

    async def run(self, seconds: float) -> list[object]:
        self.now += seconds
        return [outcome async for outcome in self.rounds.retry()]


@pytest.fixture
async def pipeline(settings: Settings, own_valkey: dict[str, str]) -> RedisPipeline:
    own = RedisPipeline(settings.model_copy(update={"redis_port": int(own_valkey["REDIS_PORT"])}), LUA_DIRECTORY)
    await own.execute("FLUSHALL")
    return own


async def test_neighbouring_levels_meet_in_a_round(
    container: Container, pipeline: RedisPipeline, make_learner: MakeLearner
) -> None:
    """Nobody new searches, and the two meet all the same."""
    process = Process(container, pipeline)
    ada, bob = await make_learner(), await make_learner()
    assert isinstance(await process.search(ada.id, "beginner"), Searching)
    process.rooms.weights = replace(SOON, neighbour_seconds=1e9)
    await process.search(bob.id, "advanced", is_strict=True)  # no neighbour
    await process.search((await make_learner()).id, "intermediate", is_strict=True)
    assert await process.run(0) == [], "nothing is due yet"
    assert not [each for each in await process.run(30) if isinstance(each, Match)], "strict searches stay apart"
    eve = await make_learner()
    outcomes: list[object] = [await process.search(eve.id, "intermediate")]
    for _ in range(3):
        outcomes += await process.run(60)
    (match,) = (each for each in outcomes if isinstance(each, Match))
    assert {match.waiting.user_id, match.seeker.user_id} == {ada.id, eve.id} and match.is_level_widened
    await pipeline.close()


async def test_client_is_informed_once_that_levels_widen(
    container: Container, pipeline: RedisPipeline, make_learner: MakeLearner
) -> None:
    process = Process(container, pipeline)
    first = await process.search((await make_learner()).id, "beginner")
    assert isinstance(first, Searching) and first.levels == ("beginner",)
    await process.search((await make_learner()).id, "advanced", is_strict=True)
    await process.run(0)
    (widened,) = await process.run(60)
    assert isinstance(widened, Searching) and widened.levels == ("beginner", "intermediate")
    assert widened.socket_id == first.socket_id
    assert await process.run(60) == await process.run(60) == []
    await pipeline.close()


async def test_retries_come_at_rising_intervals(
    container: Container, pipeline: RedisPipeline, make_learner: MakeLearner
) -> None:
    process = Process(container, pipeline, FitWeights())
    tried: list[float] = []

    async def retry(entry: QueueEntry) -> None:
        tried.append(process.now)

    await process.search((await make_learner()).id, "beginner")
    process.matchmaking.retry_search = retry  # type: ignore[method-assign]
    for _ in range(500):
        await process.run(0.5)
    pauses = [later - sooner for sooner, later in pairwise(tried)]
    assert 12 <= len(tried) <= 24 and max(pauses) <= 25 and pauses[0] < pauses[3] < pauses[5]
    weights = process.rooms.weights
    leaving = process.rooms.search.total_seconds() - weights.leaving_seconds
    for step in (weights.neighbour_seconds, weights.again_seconds, leaving):
        assert any(step <= at <= step + 1.5 for at in tried), f"not tried when more is accepted, after {step} s"
    await pipeline.close()


async def test_one_round_tries_a_few_of_many(container: Container, pipeline: RedisPipeline) -> None:
    """Ten thousand searches that begin together are neither tried together, nor any of them forgotten."""
    process = Process(container, pipeline, FitWeights())
    tried: list[str] = []

    async def retry(entry: QueueEntry) -> None:
        tried.append(entry["socket"])

    entries: list[QueueEntry] = [
        {
            "userId": str(uuid.uuid4()),
            "socket": f"{process.id}.{number}",
            "level": "all",
            "topic": "",
            "card": {"displayName": "Ada", "avatarUrl": None, "level": "beginner"},
            "since": number,
        }
        for number in range(10_000)
    ]
    process.matchmaking.list_queue_entries = lambda: entries
    process.matchmaking.retry_search = retry  # type: ignore[method-assign]
    await process.run(0)
    for number in range(1, 201):
        await process.run(10)
        assert len(tried) == number * ROUND_SIZE
    assert len(set(tried)) == 10_000, "those that are due for longest come first"
    await pipeline.close()


async def test_oldest_first_tries_nothing_again(
    container: Container, pipeline: RedisPipeline, make_learner: MakeLearner
) -> None:
    process = Process(container, pipeline, OLDEST_FIRST)
    await process.search((await make_learner()).id, "beginner")
    await process.search((await make_learner()).id, "intermediate")
    await process.run(0)
    assert await process.run(200) == []
    await pipeline.close()


async def test_waiting_search_comes_back_after_a_loss_of_data(
    container: Container, pipeline: RedisPipeline, make_learner: MakeLearner
) -> None:
    """FLUSHALL takes searches and waits: the search is at its position again, and a retry finds a partner for it."""
    process = Process(container, pipeline)
    ada = await make_learner()
    await process.search(ada.id, "beginner")
    (before,) = process.matchmaking.list_queue_entries()
    await pipeline.execute("FLUSHALL")
    await process.run(0)
    assert await process.run(60) == [], "a retry begins no search"
    assert await pipeline.execute("EXISTS", f"{{match}}:searching:{ada.id}") == 0
    await pipeline.execute("SET", f"worker:{{match}}:{process.id}", "1")
    assert [each async for each in process.matchmaking.restore_searches()] == []
    (after,) = process.matchmaking.list_queue_entries()
    assert after["since"] == before["since"]
    assert await pipeline.execute("EXISTS", "{match}:waits:18_plus:beginner") == 1, "the waits are seeded"
    outcomes: list[object] = [await process.search((await make_learner()).id, "intermediate")]
    for _ in range(3):
        outcomes += await process.run(60)
    assert [type(each) for each in outcomes].count(Match) == 1
    await pipeline.close()
