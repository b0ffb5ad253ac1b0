"""What PostgreSQL knows of the simulated learners: whom they met, their blocks, skills and records."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from bench.pairing.world import DAY, Learner, World

#: How long a call makes the next one of the same two a repeat.
REPEAT_DAYS = 7


@dataclass(slots=True)
class Known:
    """Of one learner."""

    met: Counter[str] = field(default_factory=Counter)
    met_at: deque[tuple[int, str]] = field(default_factory=deque)
    avoided: set[str] = field(default_factory=set)
    calls: int = 0


class Knowledge:
    def __init__(self, world: World) -> None:
        self.of = [Known() for _ in world.learners]

    def read_met(self, learner: Learner, now: int) -> Counter[str]:
        """Return whom a learner had a call with in the last seven days, and how often."""
        known = self.of[learner.number]
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
            known = self.of[learner.number]
            known.met[partner.user_id] += 1
            known.met_at.append((now, partner.user_id))
            known.calls += 1
        return is_repeat

    def block(self, one: Learner, other: Learner) -> None:
        self.of[one.number].avoided.add(other.user_id)
        self.of[other.number].avoided.add(one.user_id)
