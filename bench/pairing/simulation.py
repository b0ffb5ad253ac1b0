"""One run of a population with one rule: events in the order of simulated time, each on the product's real scripts."""

from __future__ import annotations

import heapq
import random
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.pairing.clock import RECENT_SECONDS, SimulatedClock
from bench.pairing.max_weight import Wish, get_worth
from bench.pairing.policies import Policy
from bench.pairing.population import MINUTE, SECOND, WAITS_FOR_REST, Act, Conduct, Population, Search, Visit
from models import MatchOutcome
from services.calls.room_state import Paired

#: How long the product waits for both to join, and how long a search lasts.
JOIN, SEARCH = 20 * SECOND, 5 * MINUTE
#: A call that ends earlier is no conversation.
SHORT = 60 * SECOND
#: Calls after which what is known of a level is compared with the true one.
LEARNT = 12
_OUTCOMES = {Act.LAPSES: MatchOutcome.NOT_JOINED, Act.DECLINES: MatchOutcome.DECLINED}


@dataclass(slots=True)
class Waited:
    """How long a search took, in microseconds, until its first match or until it was given up."""

    queue: str
    waited: int
    is_matched: bool
    #: Seconds that half, and nine of ten, were said to wait when it began to; nothing where it was matched at once.
    reported: tuple[float, float] | None


@dataclass(slots=True)
class Measured:
    """What happened in a run."""

    searches: int = 0
    skipped_visits: int = 0
    waits: list[Waited] = field(default_factory=list)
    #: Calls: difference of the true levels, and whether the two had met within seven days.
    talks: list[tuple[float, bool]] = field(default_factory=list)
    matches: int = 0
    no_shows: int = 0
    #: Seconds that those who did everything right lost in matches that were none, or ended early; by whose doing.
    lost: defaultdict[Conduct, float] = field(default_factory=lambda: defaultdict(float))
    finds: int = 0
    retries: int = 0
    is_widened: int = 0
    #: Searches refused to those who rest.
    refused: int = 0
    #: Each search as it was when it began, and what the matches are worth by that.
    wishes: list[Wish] = field(default_factory=list)
    worth: int = 0
    #: Learners with twelve calls: what was known of the level then, and the true one.
    levels: list[tuple[float, float]] = field(default_factory=list)


class Simulation:
    def __init__(self, population: Population, clock: SimulatedClock, policy: Policy) -> None:
        self.population, self.measured, self.knowledge = population, Measured(), policy.knowledge
        self._clock, self._policy = clock, policy
        self._events: list[tuple[int, int, Callable[..., Awaitable[None]], tuple[Any, ...]]] = []
        self._sequence = 0
        self._busy: set[int] = set()
        self._waiting: dict[str, Search] = {}
        self._wishes: dict[int, Wish] = {}
        self._learnt: set[int] = set()
        self._ids = random.Random(population.seed)
        self._now = 0

    async def run(self) -> Measured:
        visits = iter(self.population.visits)
        visit = next(visits, None)
        while visit is not None or self._events:
            if visit is not None and (not self._events or visit.at <= self._events[0][0]):
                self._now = visit.at
                await self._open(visit)
                visit = next(visits, None)
            else:
                self._now, _, act, arguments = heapq.heappop(self._events)
                await act(*arguments)
        return self.measured

    def _plan(self, after: int, act: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (self._now + after, self._sequence, act, arguments))

    # --- Searching ----------------------------------------------------------------------------------

    async def _open(self, visit: Visit) -> None:
        if visit.learner in self._busy:
            self.measured.skipped_visits += 1
        else:
            self._busy.add(visit.learner)
            await self._begin(visit, 0)

    async def _begin(self, visit: Visit, number: int) -> None:
        search = self.population.make_search(visit, number)
        rest = self.knowledge.get_rest(search.learner, self._now)
        if rest:
            self.measured.refused += 1
            if rest <= search.patience and search.random.random() < WAITS_FOR_REST:
                self._plan(rest, self._begin, visit, number + 1)
            else:
                self._busy.discard(visit.learner)
            return
        search.began = self._now
        self.measured.searches += 1
        self._plan(min(search.patience, SEARCH), self._give_up, search, search.version)
        await self._find(search)

    async def _find(self, search: Search, position: str = "") -> None:
        """Find a partner, or wait; `position` as in `Rooms.find_partner`."""
        self._clock.set(self._now)
        self.measured.finds += 1
        self._keep_wish(search)
        room_id, session_id = self._make_id(), self._make_id()
        outcome = await self._policy.find(search, self._now, room_id, session_id, position)
        if isinstance(outcome, Paired):
            await self._match(search, outcome, room_id)
        else:
            self._waiting[search.learner.user_id] = search
            if outcome.waits is not None and search.reported is None and not position:
                search.reported = outcome.waits
            self._plan_retry(search)

    def _keep_wish(self, search: Search) -> None:
        """Keep what is known of the two sides now, for the comparison with other rules."""
        learner, known = search.learner, self.knowledge.get(search.learner)
        self._wishes[learner.number] = wish = Wish(
            self._now,
            self._now + min(search.patience, SEARCH),
            learner.user_id,
            learner.band,
            search.level,
            known.skill.mu,
            self.knowledge.get_points(learner, self._now),
            learner.native_language,
            learner.goal,
            dict(self.knowledge.read_met(learner, self._now)),
            frozenset(known.avoided),
        )
        self.measured.wishes.append(wish)

    def _plan_retry(self, search: Search) -> None:
        after = self._policy.next_retry(search, self._now)
        if after is not None:
            self._plan(after, self._retry, search, search.version)

    async def _retry(self, search: Search, version: int) -> None:
        if search.version != version:
            return
        self._clock.set(self._now)
        self.measured.retries += 1
        room_id, session_id = self._make_id(), self._make_id()
        outcome = await self._policy.retry(search, self._now, room_id, session_id)
        if isinstance(outcome, Paired):
            await self._match(search, outcome, room_id)
        else:
            self._plan_retry(search)

    async def _give_up(self, search: Search, version: int) -> None:
        if search.version != version:
            return
        self._clock.set(self._now)
        search.version += 1
        del self._waiting[search.learner.user_id]
        await self._policy.leave(search)
        self._note_wait(search, is_matched=False)
        self._busy.discard(search.learner.number)

    def _note_wait(self, search: Search, *, is_matched: bool) -> None:
        if search.matched_at is None:
            search.matched_at = self._now
            queue = f"{search.learner.band}:{search.level}"
            self.measured.waits.append(Waited(queue, self._now - search.began, is_matched, search.reported))

    # --- A match ------------------------------------------------------------------------------------

    async def _match(self, finder: Search, pair: Paired, room_id: str) -> None:
        self._waiting.pop(finder.learner.user_id, None)
        waiting = self._waiting.pop(pair.partner_entry["userId"])
        self.measured.matches += 1
        self.measured.is_widened += pair.is_level_widened
        sides = waiting, finder
        self.measured.worth += get_worth(*(self._wishes[search.learner.number] for search in sides))
        for search in sides:
            search.version += 1
            self._note_wait(search, is_matched=True)
        acts = [search.choose_act() for search in sides]
        self.measured.no_shows += sum(act not in (Act.TALKS, Act.LEAVES_EARLY) for act in acts)
        joiners = [search for search, act in zip(sides, acts, strict=True) if act in (Act.TALKS, Act.LEAVES_EARLY)]
        delay = max((search.draw_seconds(0.5, 3) for search in joiners), default=0)
        if len(joiners) == 2:
            self._plan(delay, self._join, joiners, room_id)
            self._plan_call(sides, acts, room_id, delay)
            return
        # The first who declines, or whose loss the server sees, ends it; otherwise the time does.
        ends = [
            (search.draw_seconds(1, 12), search)
            for search, act in zip(sides, acts, strict=True)
            if act in (Act.DECLINES, Act.IS_CUT_OFF)
        ]
        after, ender = min(ends, key=lambda each: each[0]) if ends else (JOIN, None)
        if delay < after:
            self._plan(delay, self._join, joiners, room_id)
        self._plan(after, self._fail, sides, acts, room_id, ender, self._now)

    async def _join(self, joiners: list[Search], room_id: str) -> None:
        self._clock.set(self._now)
        for search in joiners:
            await self._policy.join(search, room_id)
        if len(joiners) == 2:
            one, other = (search.learner for search in joiners)
            is_repeat = self.knowledge.note_call(one, other, self._now)
            self.measured.talks.append((abs(one.truth - other.truth), is_repeat))

    async def _fail(
        self, sides: tuple[Search, Search], acts: list[Act], room_id: str, ender: Search | None, matched_at: int
    ) -> None:
        """End a match that has become no call; who would have talked searches on, at the head of the queue."""
        self._clock.set(self._now)
        await self._policy.close(sides, room_id, ender, self._now, is_call=False)
        self._record(sides, [_OUTCOMES.get(act) for act in acts], matched_at)
        self._plan(RECENT_SECONDS * SECOND, self._part_again, sides)
        for search, act in zip(sides, acts, strict=True):
            if act in (Act.TALKS, Act.LEAVES_EARLY):
                if act is Act.TALKS and search.learner.conduct is not Conduct.CHRONIC:
                    other = sides[search is sides[0]]
                    self.measured.lost[other.learner.conduct] += (self._now - matched_at) / SECOND
                self._plan(0, self._resume, search)
            else:
                self._go_on(search, act)

    async def _resume(self, search: Search) -> None:
        self._plan(min(search.patience, SEARCH), self._give_up, search, search.version)
        await self._find(search, "head")

    def _plan_call(self, sides: tuple[Search, Search], acts: list[Act], room_id: str, delay: int) -> None:
        lengths = []
        for search, act in zip(sides, acts, strict=True):
            length = search.draw_seconds(3, 50) if act is Act.LEAVES_EARLY else search.draw_talk()
            if search.is_dropped():
                length = min(length, search.draw_seconds(10, 480))
            lengths.append(length)
        lasted = min(lengths)
        ender = sides[lengths.index(lasted)]
        self._plan(delay + lasted, self._end, sides, acts, room_id, ender, lasted, self._now)

    async def _end(
        self, sides: tuple[Search, Search], acts: list[Act], room_id: str, ender: Search, lasted: int, matched_at: int
    ) -> None:
        self._clock.set(self._now)
        is_explicit = acts[sides.index(ender)] is Act.LEAVES_EARLY or lasted >= SHORT
        await self._policy.close(sides, room_id, ender if is_explicit else None, self._now, is_call=True)
        if lasted >= SHORT:
            self._record(sides, [MatchOutcome.GOOD, MatchOutcome.GOOD], matched_at)
        else:
            early = is_explicit and MatchOutcome.LEFT_EARLY
            self._record(sides, [early or None if each is ender else None for each in sides], matched_at)
        self._plan(RECENT_SECONDS * SECOND, self._part_again, sides)
        for search, other, act in zip(sides, reversed(sides), acts, strict=True):
            if lasted < SHORT:
                if is_explicit and other is ender and search.learner.conduct is not Conduct.CHRONIC:
                    self.measured.lost[other.learner.conduct] += lasted / SECOND
            else:
                pace = search.draw_pace(other.learner)
                if pace is not None:
                    self.knowledge.note_pace(search.learner, other.learner, pace, self._now)
            if search.blocks():
                self.knowledge.block(search.learner, other.learner)
            self._go_on(search, act)
        for search in sides:
            known = self.knowledge.get(search.learner)
            if known.calls == LEARNT and search.learner.number not in self._learnt:
                self._learnt.add(search.learner.number)
                self.measured.levels.append((known.skill.mu, search.learner.truth))

    def _record(self, sides: tuple[Search, Search], outcomes: Sequence[MatchOutcome | None], matched_at: int) -> None:
        for search, outcome in zip(sides, outcomes, strict=True):
            if outcome is not None and self._policy.has_records:
                self.knowledge.note_outcome(search.learner, outcome, matched_at, self._now)

    def _go_on(self, search: Search, act: Act) -> None:
        """Search again after a moment, or close the app."""
        if search.searches_again(act):
            self._plan(search.draw_seconds(5, 40), self._search_again, search)
        else:
            self._busy.discard(search.learner.number)

    async def _search_again(self, search: Search) -> None:
        await self._begin(search.visit, search.number + 1)

    async def _part_again(self, sides: tuple[Search, Search]) -> None:
        self._clock.set(self._now)
        self._clock.part_again(sides[0].learner.user_id, sides[1].learner.user_id)

    def _make_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
