"""Rounds over the searches of this web process that wait: each is tried again, at rising intervals.

What a search accepts widens while it waits: the threshold of its misfit rises, and neighbouring levels meet. Nothing
else would notice it where nobody new searches. Each web process looks after its own searches, a few at a time, in the
order in which they are due and at times that differ from search to search, so that many which began together, as
after a loss of data, do not come together again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice

from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, Searching
from services.calls.pools import PARTNERS, read_among
from services.calls.room_state import QueueEntry
from services.calls.rooms import Rooms

#: Seconds between two rounds.
ROUND_SECONDS = 0.5
#: Seconds until a search is tried again first, the factor of each next pause, and the longest pause.
FIRST_PAUSE_SECONDS, PAUSE_FACTOR, LONGEST_PAUSE_SECONDS = 2.0, 1.4, 20.0
#: By how much a pause may be shorter or longer.
JITTER = 0.2
#: Searches tried again in one round, and at once: others need the connections to PostgreSQL too.
ROUND_SIZE, MAX_CONCURRENT_RETRIES = 50, 5


@dataclass(slots=True)
class _Schedule:
    """When a search is tried again; `is_widened`: its client knows that neighbouring levels meet."""

    entry: QueueEntry
    began: float
    due: float
    pause: float = FIRST_PAUSE_SECONDS
    is_widened: bool = False


class SearchRounds:
    def __init__(
        self,
        matchmaking: MatchmakingService,
        rooms: Rooms,
        *,
        clock: Callable[[], float] = time.monotonic,
        choose: Callable[[], float] = random.random,
    ) -> None:
        """`clock` returns seconds, `choose` a number from 0 to 1."""
        self._matchmaking = matchmaking
        self._weights = rooms.weights
        self._leaving_seconds = rooms.search.total_seconds() - rooms.weights.leaving_seconds
        self._clock, self._choose = clock, choose
        self._schedules: dict[str, _Schedule] = {}

    async def retry(self) -> AsyncIterator[Outcome]:
        """Try those again that are due, and return what their clients are to be informed of."""
        self._plan()
        now = self._clock()
        due = sorted((each for each in self._schedules.values() if each.due <= now), key=lambda each: each.due)
        chosen = iter(due[:ROUND_SIZE])
        while batch := list(islice(chosen, MAX_CONCURRENT_RETRIES)):
            for outcome in await asyncio.gather(*map(self._retry_one, batch)):
                if outcome is not None:
                    yield outcome

    def _plan(self) -> None:
        """Note searches that have begun, and forget those that have ended."""
        now = self._clock()
        before, self._schedules = self._schedules, {}
        for entry in self._matchmaking.list_queue_entries():
            if self._weights.is_patient or read_among(entry.get("pool", "")) == PARTNERS:
                known = before.get(entry["socket"])
                if known is None or known.entry is not entry:
                    known = _Schedule(entry, now, now + self._vary(FIRST_PAUSE_SECONDS))
                self._schedules[entry["socket"]] = known

    async def _retry_one(self, search: _Schedule) -> Outcome | None:
        now = self._clock()
        search.pause = min(search.pause * PAUSE_FACTOR, LONGEST_PAUSE_SECONDS)
        search.due = min(now + self._vary(search.pause), *self._list_steps(search, now))
        outcome = await self._matchmaking.retry_search(search.entry)
        if not isinstance(outcome, Searching):
            return outcome
        is_new = not search.is_widened and len(outcome.levels) > 1 and search.entry["level"] != "all"
        search.is_widened |= is_new
        return outcome if is_new else None

    def _list_steps(self, search: _Schedule, now: float) -> list[float]:
        """List the moments to come at which a search accepts more at once."""
        steps = (self._weights.neighbour_seconds, self._weights.again_seconds, self._leaving_seconds)
        moments = [search.began + step + ROUND_SECONDS for step in steps]
        return [moment for moment in moments if moment > now] or [now + LONGEST_PAUSE_SECONDS]

    def _vary(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self._choose())
