"""What PostgreSQL knows of the simulated learners: whom they met, their blocks, skills and records.

What is written is decided by the product's functions; only the rows are in memory.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench.pairing.population import DAY, Learner, Population
from models import EnglishLevel, FeedbackPace, MatchOutcome
from services.calls.pairing_records import Consequence, Record, add_outcome, decay
from services.calls.skills import Skill, bound, prior, update

#: How long a call makes the next one of the same two a repeat, and feedback of one about the other counts once.
REPEAT_DAYS = 7
_MIDNIGHT = datetime(2040, 1, 2, tzinfo=UTC)


@dataclass(slots=True)
class Known:
    """Of one learner."""

    skill: Skill
    record: Record
    day: int = 0
    day_mu: float = 0.0
    met: Counter[str] = field(default_factory=Counter)
    met_at: deque[tuple[int, str]] = field(default_factory=deque)
    avoided: set[str] = field(default_factory=set)
    #: When this learner's feedback about each other one counted last.
    rated: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    rests: int = 0
    warnings: int = 0


class Knowledge:
    def __init__(self, population: Population) -> None:
        nothing = Record(0.0, _MIDNIGHT)
        self._known = [Known(prior(EnglishLevel(learner.declared)), nothing) for learner in population.learners]

    def get(self, learner: Learner) -> Known:
        return self._known[learner.number]

    def read_met(self, learner: Learner, now: int) -> Counter[str]:
        """Return whom a learner had a call with in the last seven days, and how often."""
        known = self.get(learner)
        while known.met_at and known.met_at[0][0] <= now - REPEAT_DAYS * DAY:
            _, user_id = known.met_at.popleft()
            known.met[user_id] -= 1
            if not known.met[user_id]:
                del known.met[user_id]
        return known.met

    def note_call(self, one: Learner, other: Learner, now: int) -> bool:
        """Note that a call has begun; return whether it is a repeat."""
        is_repeat = other.user_id in self.read_met(one, now)
        for learner, partner in ((one, other), (other, one)):
            known = self.get(learner)
            known.met[partner.user_id] += 1
            known.met_at.append((now, partner.user_id))
            known.calls += 1
        return is_repeat

    def block(self, one: Learner, other: Learner) -> None:
        self.get(one).avoided.add(other.user_id)
        self.get(other).avoided.add(one.user_id)

    def note_pace(self, rater: Learner, rated: Learner, pace: str, now: int) -> None:
        """Note feedback about a partner's pace: one game of two, as the product counts it."""
        mine, theirs = self.get(rater), self.get(rated)
        last = mine.rated.get(rated.number)
        if last is not None and now - last < REPEAT_DAYS * DAY:
            return
        mine.rated[rated.number] = now
        for known, skill in zip((mine, theirs), update(mine.skill, theirs.skill, FeedbackPace(pace)), strict=True):
            if known.day != now // DAY + 1:
                known.day, known.day_mu = now // DAY + 1, known.skill.mu
            known.skill = bound(known.skill, skill, known.day_mu)

    def get_points(self, learner: Learner, now: int) -> float:
        record = self.get(learner).record
        return decay(record.points, _at(now) - record.points_at)

    def get_rest(self, learner: Learner, now: int) -> int:
        """Return for how long a learner still has to rest (µs)."""
        until = self.get(learner).record.resting_until
        return 0 if until is None else max(0, (until - _at(now)) // timedelta(microseconds=1))

    def note_outcome(self, learner: Learner, outcome: MatchOutcome, began: int, ended: int) -> Consequence | None:
        known = self.get(learner)
        known.record, consequence = add_outcome(known.record, outcome, began_at=_at(began), ended_at=_at(ended))
        known.rests += consequence == "rest"
        known.warnings += consequence == "warning"
        return consequence


def _at(now: int) -> datetime:
    return _MIDNIGHT + timedelta(microseconds=now)
