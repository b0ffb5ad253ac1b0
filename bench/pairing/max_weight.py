"""Max-weight matching, every five seconds, of the searches that a run had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import rustworkx

from bench.pairing.population import SECOND
from models import AgeBand, Level

INTERVAL = 5 * SECOND
#: Worth of a match, and what is taken from it: for each unit of the two skills' gap, each call of the two in seven days
#: (two at most), the same first language, different goals, each point by which the records differ. It is the bench's
#: own: the weights of the product may be chosen, this may not.
BEST, GAP, REPEAT, SAME_LANGUAGE, OTHER_GOAL, POINTS = 1000, 40, 300, 100, 50, 50
_FITTING: dict[Level, tuple[Level, ...]] = {
    "all": ("all", "beginner", "intermediate", "advanced"),
    "beginner": ("all", "beginner"),
    "intermediate": ("all", "intermediate"),
    "advanced": ("all", "advanced"),
}
_NEAR = ({"beginner", "intermediate"}, {"intermediate", "advanced"})


@dataclass(slots=True, eq=False)
class Wish:
    """A search as it was when it began, or was continued after a match that failed: what is known then, and its end."""

    began: int
    ends: int
    user_id: str
    band: AgeBand
    level: Level
    mu: float
    points: float
    native_language: str
    goal: str
    met: dict[str, int]
    avoided: frozenset[str]

    def accepts(self, other: Wish, now: int, neighbour: float) -> bool:
        """Whether two may be matched; neighbouring levels after a wait of `neighbour` microseconds of either."""
        if other.user_id == self.user_id or other.user_id in self.avoided or self.user_id in other.avoided:
            return False
        if other.level in _FITTING[self.level]:
            return True
        return {self.level, other.level} in _NEAR and now - min(self.began, other.began) >= neighbour


def get_worth(one: Wish, other: Wish) -> int:
    """Return what a match of two is worth, 0 or more."""
    met = max(one.met.get(other.user_id, 0), other.met.get(one.user_id, 0))
    worth = BEST - GAP * abs(one.mu - other.mu) - REPEAT * min(2, met) - POINTS * abs(one.points - other.points)
    worth -= SAME_LANGUAGE * (one.native_language == other.native_language) + OTHER_GOAL * (one.goal != other.goal)
    return max(0, round(worth))


def match_all(wishes: Iterable[Wish], neighbour: float) -> tuple[int, int]:
    """Match the searches of a run every five seconds by the largest total; return the total, and how many pairs."""
    by_band = defaultdict(list)
    for wish in wishes:
        by_band[wish.band].append(wish)
    total = pairs = 0
    for each in by_band.values():
        worth, count = _match_band(sorted(each, key=lambda wish: wish.began), neighbour)
        total, pairs = total + worth, pairs + count
    return total, pairs


def _match_band(wishes: list[Wish], neighbour: float) -> tuple[int, int]:
    waiting: list[Wish] = []
    total = pairs = position = 0
    now = 0
    while position < len(wishes) or len(waiting) > 1:
        # What was left last time had nothing to gain: the next change is a learner who comes, or a wait that is long.
        changes = [wish.began + neighbour for wish in waiting if wish.began + neighbour > now]
        if position < len(wishes):
            changes.append(wishes[position].began)
        if not changes:
            break
        now = int(-(-min(changes) // INTERVAL) * INTERVAL)
        waiting = [wish for wish in waiting if wish.ends > now]
        while position < len(wishes) and wishes[position].began <= now:
            if wishes[position].ends > now:
                waiting.append(wishes[position])
            position += 1
        made = _match(waiting, now, neighbour)
        taken = {index for pair in made for index in pair}
        total += sum(get_worth(waiting[one], waiting[other]) for one, other in made)
        pairs += len(made)
        waiting = [wish for index, wish in enumerate(waiting) if index not in taken]
    return total, pairs


def _match(waiting: list[Wish], now: int, neighbour: float) -> set[tuple[int, int]]:
    edges = []
    for other in range(1, len(waiting)):
        for one in range(other):
            worth = get_worth(waiting[one], waiting[other])
            if worth and waiting[one].accepts(waiting[other], now, neighbour):
                edges.append((one, other, worth))
    if len(edges) < 2:
        return {edge[:2] for edge in edges}
    graph: rustworkx.PyGraph[None, int] = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from([None] * len(waiting))
    graph.add_edges_from(edges)
    return rustworkx.max_weight_matching(graph, weight_fn=int)
