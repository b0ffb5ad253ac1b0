"""Simulated learners: who they are, when they open the app, and what they do there.

Nothing here knows how partners are chosen. Draws of one search come from a generator of its own, so that a rule meets
the same learners as another one. Times are microseconds since the first midnight.
"""

from __future__ import annotations

import enum
import math
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeVar

from bench.day.learners import (
    CALL_SECONDS,
    LEVELS,
    NAMES_TOPIC,
    OWN_LEVEL,
    RATES,
    SEARCH_SECONDS,
    SEARCHES_AGAIN,
    TOPICS,
)
from bench.day.report import CURVE, VISITS
from bench.day.report import HOUR as HOUR_SECONDS
from bench.day.report import LEARNERS as DAY_LEARNERS
from models import AgeBand, Level
from services.calls.room_state import PartnerLevel

T = TypeVar("T")

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND

#: Visits of a learner a day, on average: those of bench/day. Most come seldom and a few often: the rate is log-normal,
#: so that about a quarter come on a day. Half of the visits are near an hour that a learner keeps to.
VISITS_A_DAY = VISITS * HOUR_SECONDS * sum(CURVE) / DAY_LEARNERS
VISITS_SPREAD, MOST_VISITS_A_DAY = 1.0, 6.0
HABIT, HABIT_HOURS = 0.5, 0.75
#: True levels, in the units of the skill ratings; and how much of it is in what a learner declares (a correlation).
TRUE_MEAN, TRUE_SPREAD = 25.0, 6.0
SELF_VIEW = 0.6
#: Shares of the declared levels; and of learners far above the middle who declare the lowest.
DECLARED = (0.35, 0.45, 0.20)
SANDBAGGERS = 0.03
BANDS = {AgeBand.ADULT: 0.85, AgeBand.FROM_16: 0.10, AgeBand.FROM_13: 0.05}
#: First languages, as shares that fall like a harmonic series.
LANGUAGES = ("es", "zh", "pt", "ar", "hi", "ru", "ja", "fr", "tr", "vi", "id", "de", "ko", "fa", "it", "pl")
GOALS = {"fluency": 0.4, "business": 0.25, "travel": 0.2, "exam": 0.15}
#: What a learner notices of a partner's level is off by this much, and a smaller difference is none; a few answer
#: anything.
PACE_NOISE, SAME_PACE, CARELESS = 5.0, 3.0, 0.05
#: A block after a call.
BLOCKS = 0.01


class Conduct(enum.Enum):
    """How learners treat a match; each has its share of all learners."""

    PUNCTUAL = "punctual"
    POOR_LINE = "poor line"
    CHRONIC = "chronic"


SHARES = {Conduct.PUNCTUAL: 0.88, Conduct.POOR_LINE: 0.08, Conduct.CHRONIC: 0.04}
#: What a chronic one does with a match; otherwise they talk. After that they mostly search again.
LETS_LAPSE, DECLINES, LEAVES_EARLY, SEARCHES_AGAIN_AFTER = 0.25, 0.25, 0.10, 0.9
#: Everybody fails to join now and then: the phone is in a pocket.
FORGETS = 0.01
#: A poor line fails before the call, half of the time without that the server sees it; and in the call, mostly with a
#: return.
LINE_FAILS, LINE_IS_SEEN, LINE_DROPS, STAYS_AWAY = 0.06, 0.5, 0.25, 0.2
#: A learner who has to rest comes back after it, where it is short, or leaves.
WAITS_FOR_REST = 0.5


class Act(enum.Enum):
    """What one side does with a match."""

    TALKS = "talks"
    LAPSES = "does not join"
    IS_CUT_OFF = "line fails before the call, and the server sees it"
    DECLINES = "declines"
    LEAVES_EARLY = "leaves early"


@dataclass(slots=True)
class Learner:
    number: int
    user_id: str
    band: AgeBand
    truth: float
    declared: PartnerLevel
    native_language: str
    goal: str
    conduct: Conduct
    is_sandbagger: bool
    visits_a_day: float
    habit: float


class Visit(NamedTuple):
    at: int
    learner: int
    number: int


@dataclass(slots=True)
class Search:
    """One search from its beginning until a call, or until the learner gives up; a match that fails continues it."""

    learner: Learner
    visit: Visit
    number: int
    level: Level
    topic: str
    patience: int
    random: random.Random
    began: int = 0
    socket: str = ""
    matched_at: int | None = None
    #: Since when it is in the queue, whether it was put at its head, and how often it was tried again since.
    queued_at: int = 0
    is_at_head: bool = False
    retries: int = 0
    #: Rises when it ends or is matched, so that what was planned before is void.
    version: int = 0
    #: Seconds that half, and nine of ten, were said to wait when this one began to.
    reported: tuple[float, float] | None = None

    def choose_act(self) -> Act:
        """Draw what the learner does with a match."""
        draw, conduct = self.random.random(), self.learner.conduct
        if conduct is Conduct.CHRONIC:
            if draw < LETS_LAPSE:
                return Act.LAPSES
            if draw < LETS_LAPSE + DECLINES:
                return Act.DECLINES
            return Act.LEAVES_EARLY if draw < LETS_LAPSE + DECLINES + LEAVES_EARLY else Act.TALKS
        if conduct is Conduct.POOR_LINE and draw < LINE_FAILS:
            return Act.IS_CUT_OFF if draw < LINE_FAILS * LINE_IS_SEEN else Act.LAPSES
        return Act.LAPSES if draw > 1 - FORGETS else Act.TALKS

    def draw_seconds(self, least: float, most: float) -> int:
        """Draw a duration in microseconds."""
        return int(self.random.uniform(least, most) * SECOND)

    def draw_talk(self) -> int:
        """Draw after how long this side ends a call, at a minute or later; the shorter of two ends it."""
        return int(max(1.0, self.random.expovariate(1 / (2 * CALL_SECONDS))) * MINUTE)

    def is_dropped(self) -> bool:
        """Draw whether a poor line ends the call."""
        return self.learner.conduct is Conduct.POOR_LINE and self.random.random() < LINE_DROPS * STAYS_AWAY

    def draw_pace(self, partner: Learner) -> str | None:
        """Draw the answer about a partner's pace, in comparison with the learner's own; None for no answer."""
        answers, careless, noise = self.random.random(), self.random.random(), self.random.gauss(0, PACE_NOISE)
        if answers >= RATES:
            return None
        if careless < CARELESS:
            return ("easier", "same", "harder")[int(careless / CARELESS * 3)]
        noticed = partner.truth - self.learner.truth + noise
        return "same" if abs(noticed) < SAME_PACE else "harder" if noticed > 0 else "easier"

    def searches_again(self, act: Act) -> bool:
        """Draw whether the learner searches again in this visit."""
        if self.learner.conduct is Conduct.CHRONIC and act is not Act.TALKS:
            return self.random.random() < SEARCHES_AGAIN_AFTER
        return act in (Act.TALKS, Act.LEAVES_EARLY) and self.random.random() < SEARCHES_AGAIN

    def blocks(self) -> bool:
        return self.random.random() < BLOCKS


class Population:
    """Learners and their visits; the same for equal arguments."""

    def __init__(self, seed: int, learners: int, days: int, visits_a_day: float = VISITS_A_DAY) -> None:
        self.seed, self.days = seed, days
        rng = random.Random(seed)
        rates = [rng.lognormvariate(0, VISITS_SPREAD) for _ in range(learners)]
        scale = visits_a_day * learners / sum(rates)
        self.learners = [
            self._make_learner(rng, number, min(MOST_VISITS_A_DAY, rate * scale)) for number, rate in enumerate(rates)
        ]
        self.visits = sorted(visit for learner in self.learners for visit in self._make_visits(learner, days))

    def make_search(self, visit: Visit, number: int) -> Search:
        """Return the search of a visit with this number, the first is 0."""
        learner = self.learners[visit.learner]
        rng = random.Random(((self.seed * 1_000_003 + visit.learner) * 100_003 + visit.number) * 1009 + number)
        level: Level = learner.declared if rng.random() < OWN_LEVEL else "all"
        topic = rng.choice(TOPICS) if rng.random() < NAMES_TOPIC else ""
        # A second of the simulated day of bench/day is a minute.
        patience = int((rng.expovariate(1 / SEARCH_SECONDS) + 1) * MINUTE)
        socket = f"bench.{visit.learner:x}{visit.number:04x}"
        return Search(learner, visit, number, level, topic, patience, rng, socket=socket)

    @staticmethod
    def _make_learner(rng: random.Random, number: int, rate: float) -> Learner:
        truth = rng.gauss(TRUE_MEAN, TRUE_SPREAD)
        view = SELF_VIEW * (truth - TRUE_MEAN) / TRUE_SPREAD + math.sqrt(1 - SELF_VIEW**2) * rng.gauss(0, 1)
        below = 0.5 * (1 + math.erf(view / math.sqrt(2)))
        declared = LEVELS[0 if below < DECLARED[0] else 1 if below < 1 - DECLARED[2] else 2]
        is_sandbagger = rng.random() < SANDBAGGERS
        if is_sandbagger:
            truth, declared = max(truth, 2 * TRUE_MEAN - truth) + TRUE_SPREAD / 2, LEVELS[0]
        return Learner(
            number,
            str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            _choose(rng, tuple(BANDS), tuple(BANDS.values())),
            truth,
            declared,  # type: ignore[arg-type]
            _choose(rng, LANGUAGES, tuple(1 / (place + 1) for place in range(len(LANGUAGES)))),
            _choose(rng, tuple(GOALS), tuple(GOALS.values())),
            _choose(rng, tuple(SHARES), tuple(SHARES.values())),
            is_sandbagger,
            rate,
            _draw_hour(rng),
        )

    def _make_visits(self, learner: Learner, days: int) -> list[Visit]:
        rng = random.Random(self.seed * 1_000_003 + learner.number + 1)
        moments = []
        for day in range(days):
            for _ in range(_draw_count(rng, learner.visits_a_day)):
                has_habit = rng.random() < HABIT
                hour = rng.gauss(learner.habit, HABIT_HOURS) % 24 if has_habit else _draw_hour(rng)
                moments.append(day * DAY + int(hour * HOUR))
        return [Visit(at, learner.number, number) for number, at in enumerate(sorted(moments))]


_HOURS = tuple(accumulate(CURVE))


def _draw_hour(rng: random.Random) -> float:
    return rng.choices(range(24), cum_weights=_HOURS)[0] + rng.random()


def _choose(rng: random.Random, values: Sequence[T], shares: Sequence[float]) -> T:
    return rng.choices(values, shares)[0]


def _draw_count(rng: random.Random, mean: float) -> int:
    """Draw from Poisson's distribution."""
    least, product, count = math.exp(-mean), rng.random(), 0
    while product > least:
        product *= rng.random()
        count += 1
    return count
