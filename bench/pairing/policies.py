"""The product's rules as the simulation calls them: `Rooms` on the copied scripts, and what services do around it."""

from __future__ import annotations

import math
import random

from bench.pairing.clock import SimulatedClock
from bench.pairing.knowledge import Knowledge
from bench.pairing.population import SECOND, Search
from services.calls import search_rounds
from services.calls.fit import OLDEST_FIRST, Features, FitWeights, serialize_features
from services.calls.room_state import Paired, Queued, QueueEntry, Waits
from services.calls.rooms import Rooms
from services.calls.wait_estimates import UNKNOWN_WAIT_SECONDS


class Policy:
    """One rule: the product's fit with some weights, or oldest first."""

    def __init__(self, clock: SimulatedClock, knowledge: Knowledge, weights: FitWeights | None, seed: int) -> None:
        """`weights`: None for oldest first, of which no record of matches is kept either."""
        self.knowledge, self.has_records = knowledge, weights is not None
        self.weights = weights or OLDEST_FIRST
        self._rooms = Rooms(clock.pipeline, weights=self.weights)
        self._random = random.Random(seed)
        #: When the rounds of the simulated web process begin.
        self._phase = self._random.randrange(int(search_rounds.ROUND_SECONDS * SECOND))

    async def find(self, search: Search, now: int, room_id: str, session_id: str, position: str) -> Queued | Paired:
        search.queued_at, search.is_at_head, search.retries = now, position == "head", 0
        outcome = await self._call(search, now, room_id, session_id, position=position)
        if isinstance(outcome, Queued) and outcome.waits is None:
            # As `WaitEstimates` does where Redis knows none and PostgreSQL has no calls of the last days.
            waits = Waits(UNKNOWN_WAIT_SECONDS, self._rooms.search.total_seconds())
            await self._rooms.seed_waits(outcome.entry, waits)
            return outcome._replace(waits=waits)
        return outcome

    async def retry(self, search: Search, now: int, room_id: str, session_id: str) -> Queued | Paired:
        return await self._call(search, now, room_id, session_id, is_retry=True)

    async def _call(
        self, search: Search, now: int, room_id: str, session_id: str, *, position: str = "", is_retry: bool = False
    ) -> Queued | Paired:
        known, met = self.knowledge.get(search.learner), self.knowledge.read_met(search.learner, now)
        entry = self._build_entry(search, now, at_head=search.is_at_head)
        return await self._rooms.find_partner(
            entry, room_id, session_id, known.avoided, position=position, met=met, is_retry=is_retry
        )

    def next_retry(self, search: Search, now: int) -> int | None:
        """Return after how long a waiting search is tried again (µs), as `SearchRounds` does."""
        if not self.weights.is_patient:
            return None
        pause = search_rounds.FIRST_PAUSE_SECONDS * search_rounds.PAUSE_FACTOR**search.retries
        seconds = self._vary(min(pause, search_rounds.LONGEST_PAUSE_SECONDS))
        search.retries += 1
        # At the moments at which it accepts more at once, too.
        waited = (now - search.queued_at) / SECOND
        length = self._rooms.search.total_seconds()
        for step in (self.weights.neighbour_seconds, length - self.weights.leaving_seconds):
            if step + search_rounds.ROUND_SECONDS > waited:
                seconds = min(seconds, step + search_rounds.ROUND_SECONDS - waited)
        rounds = math.ceil(((now - self._phase) / SECOND + seconds) / search_rounds.ROUND_SECONDS)
        return max(1, int(rounds * search_rounds.ROUND_SECONDS * SECOND) + self._phase - now)

    def _vary(self, seconds: float) -> float:
        return seconds * (1 + search_rounds.JITTER * (2 * self._random.random() - 1))

    async def leave(self, search: Search) -> None:
        await self._rooms.leave_queue(search.learner.user_id)

    async def join(self, search: Search, room_id: str) -> None:
        await self._rooms.join(room_id, search.learner.user_id, search.socket)

    async def close(
        self, sides: tuple[Search, Search], room_id: str, ender: Search | None, now: int, *, is_call: bool
    ) -> None:
        closed = await self._rooms.close(room_id, ender.learner.user_id if ender else None)
        assert closed is not None, "a room that is gone"
        await self._rooms.remove_deadline("end", *closed.end)

    def _build_entry(self, search: Search, now: int, *, at_head: bool) -> QueueEntry:
        learner, known = search.learner, self.knowledge.get(search.learner)
        points = self.knowledge.get_points(learner, now)
        features = Features(known.skill.mu, known.skill.sigma, points, learner.native_language, learner.goal)
        entry: QueueEntry = {
            "pool": learner.band,
            "fit": serialize_features(features, is_strict=False),
            "userId": learner.user_id,
            "socket": search.socket,
            "level": search.level,
            "topic": search.topic,
            "card": {"displayName": "Learner", "avatarUrl": None, "level": learner.declared},
        }
        if at_head:
            entry["atHead"] = True
        return entry
