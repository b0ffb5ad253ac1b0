"""Whom a search should meet by the rules of fit, computed beside `find_partner.lua` for the matchmaking model."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.calls.fit import NEIGHBOURS, FitWeights

#: Waits hardly count, so that a find is decided by what the model knows, and not by the speed of the machine.
WEIGHTS = FitWeights(wait_bonus=1e-6, threshold=0.6, threshold_growth=0, enough=3)
BETA = 25 / 6
#: An expectation that depends on a moment within this time of now is none (s).
EDGE_SECONDS = 1.5
#: For how long a search says who else may come.
NEWCOMER_SECONDS = 900


class WaitingSearch(NamedTuple):
    """A search as Redis has it."""

    level: str
    topic: str
    socket: str
    since: int
    entry: dict[str, Any]

    @property
    def queue(self) -> str:
        return str(self.entry["pool"])


class Newcomer(NamedTuple):
    """A search of the last minutes: when it began (ms), its user, level and features."""

    at_ms: int
    user: str
    level: str
    features: str

    @classmethod
    def read(cls, line: str) -> Newcomer:
        at, user, name, features = line.split(" ", 3)
        return cls(int(at), user, name.rpartition(":")[2], features.split('"')[7])


def choose_features(choose: random.Random) -> dict[str, Any]:
    """Choose features that differ by much or not at all."""
    return {
        "mu": choose.choice((19.0, 25.0, 25.0, 31.0)),
        "sigma": choose.choice((25 / 3, 3.0)),
        "points": choose.choice((0.0, 0.0, 0.0, 2.0)),
        "native_language": choose.choice((None, "de", "pt-BR", "pt")),
        "goal": choose.choice((None, "travel", "business")),
    }


@dataclass
class Expectation:
    """Whom one search should find, where `now_us` is Redis's clock.

    `recent`: rooms of a moment ago or `refused`, by user. `met`: how often the user has met others. `came`: the latest
    searches of the pool, without those of users whom the user must not meet. `is_patient`: whether the search waits for
    a better partner, if that is not decided by `came`.
    """

    user: str
    own: WaitingSearch
    now_us: int
    recent: dict[str, str | None]
    met: dict[str, int]
    came: list[Newcomer]
    search_seconds: float
    is_patient: bool | None = None
    weights: FitWeights = WEIGHTS
    #: Whether a moment decides that may come between this expectation and the find.
    is_doubtful: bool = False
    acceptable: list[str] = field(default_factory=list)

    def choose(self, fits: dict[str, WaitingSearch]) -> str | None:
        """Return whom the search should find of those who may meet the user; None where it should wait."""
        own_topic = {other: each for other, each in fits.items() if self.own.topic and each.topic == self.own.topic}
        best, any_same, met_same = self._look(own_topic)
        if best:
            return best
        best, any_other, met_other = self._look(fits)
        if best:
            return best
        if any_same or any_other:
            return None if self._waits_for_better() else any_same or any_other
        return met_same or met_other

    def _waits_for_better(self) -> bool:
        """Whether enough of those who came in the last minutes would be accepted at once."""
        if self.is_patient is not None:
            return self.is_patient
        good, seen = 0, {self.user}
        for each in self.came:
            age = self.now_us / 1e6 - each.at_ms / 1e3
            self.is_doubtful |= self._is_edge(age, NEWCOMER_SECONDS)
            if age > NEWCOMER_SECONDS or each.user in seen:
                continue
            seen.add(each.user)
            same_level = self.own.level == each.level or "all" in (self.own.level, each.level)
            misfit = self._misfit(each.features) + self.weights.repeat * self.met.get(each.user, 0)
            good += same_level and misfit <= self.weights.good
        return good >= self.weights.enough

    def choose_partner(self, fits: dict[str, WaitingSearch]) -> str | None:
        """Return which of some users who search, in any queue, the search should find: the longest-waiting."""
        in_order = sorted((each.since, other) for other, each in fits.items() if self._fits_level(each))
        new = [other for _, other in in_order if not self.recent[other]]
        met = [other for _, other in sorted(in_order, key=lambda each: each[1]) if self.recent[other] != "refused"]
        return next(iter((*new, *met)), None)

    def _look(self, fits: dict[str, WaitingSearch]) -> tuple[str | None, str | None, str | None]:
        best, best_cost, anyone, any_cost, met = None, math.inf, None, math.inf, None
        for other, each in sorted(fits.items(), key=lambda item: item[1].since):
            if not self._fits_level(each) or self.recent[other] == "refused":
                continue
            if self.recent[other]:
                met = met or (other if self._may_meet_again(each) else None)
                continue
            misfit = self._misfit(each.entry["fit"]) + self.weights.repeat * self.met.get(other, 0)
            is_accepted = misfit <= self.weights.threshold
            misfit = max(0.0, misfit - self.weights.slack)
            oldest = min(self.own.since, each.since)
            bonus = (self.now_us - each.since) / 1e6 * self.weights.wait_bonus
            bonus += 1e6 if self._leaves(each.since) else 0
            if (self._leaves(oldest) or is_accepted) and misfit - bonus < best_cost:
                best, best_cost = other, misfit - bonus
            if misfit - bonus < any_cost:
                anyone, any_cost = other, misfit - bonus
        return best, anyone, met

    def _misfit(self, features: str) -> float:
        mine, theirs = self.own.entry["fit"].split(), features.split()
        (mu, points, sigma), (their_mu, their_points, their_sigma) = (
            tuple(int(number) / 100 for number in each[:3]) for each in (mine, theirs)
        )
        cost = self.weights.level_gap * abs(mu - their_mu) / ((BETA + sigma) / 2 + (BETA + their_sigma) / 2)
        cost += self.weights.points * abs(points - their_points)
        if mine[4] == theirs[4] != "-":
            cost += self.weights.same_language
        if mine[5] != theirs[5] and "-" not in (mine[5], theirs[5]):
            cost += self.weights.other_goal
        return cost

    def _fits_level(self, other: WaitingSearch) -> bool:
        if self.own.level == other.level or "all" in (self.own.level, other.level):
            return True
        if other.level not in NEIGHBOURS[self.own.level] or "1" in (  # type: ignore[index]
            self.own.entry["fit"].split()[3],
            other.entry["fit"].split()[3],
        ):
            return False
        waited = (self.now_us - min(self.own.since, other.since)) / 1e6
        self.is_doubtful |= self._is_edge(waited, self.weights.neighbour_seconds)
        return waited >= self.weights.neighbour_seconds

    def _may_meet_again(self, other: WaitingSearch) -> bool:
        """Whether two who met a moment ago meet again: nobody better comes, or the longer wait lets them."""
        if not self._waits_for_better():
            return True
        waited = (self.now_us - min(self.own.since, other.since)) / 1e6
        self.is_doubtful |= self._is_edge(waited, self.weights.again_seconds)
        return waited >= self.weights.again_seconds

    def _leaves(self, since: int) -> bool:
        waited = (self.now_us - since) / 1e6
        self.is_doubtful |= self._is_edge(waited, self.search_seconds - self.weights.leaving_seconds)
        return waited >= self.search_seconds - self.weights.leaving_seconds

    @staticmethod
    def _is_edge(seconds: float, edge: float) -> bool:
        return abs(seconds - edge) < EDGE_SECONDS
