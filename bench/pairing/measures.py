"""Measures of one run, as numbers that a process may print: what goals compare, and what the report has beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from bench.pairing.knowledge import Knowledge
from bench.pairing.population import SECOND, Conduct, Population
from bench.pairing.simulation import Measured, Waited

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)


def measure(population: Population, run: Measured, knowledge: Knowledge) -> dict[str, Any]:
    """Return the measures of a run."""
    queues = defaultdict(list)
    for each in run.waits:
        queues[each.queue].append(each)
    rarest = min(queues, key=lambda name: (len(queues[name]), name))
    quarter = max(1, len(run.talks) // 4)
    calls = max(1, len(run.talks))
    known = Counter[str]()
    for learner in population.learners:
        known[learner.conduct.value] += knowledge.get(learner).rests
    return {
        "searches": run.searches,
        "finds": run.finds,
        "retries": run.retries,
        "matches": run.matches,
        "calls": len(run.talks),
        "matched": _share(each.is_matched for each in run.waits),
        "widened": run.is_widened / max(1, run.matches),
        "repeats": sum(is_repeat for _, is_repeat in run.talks) / calls,
        "gap": sum(gap for gap, _ in run.talks) / calls,
        "gaps": [
            sum(gap for gap, _ in run.talks[begin : begin + quarter]) / quarter
            for begin in range(0, 4 * quarter, quarter)
        ],
        "waits": [get_quantile(_list_waits(run.waits), each) for each in QUANTILES],
        "waits_of_all": [get_quantile(sorted(each.waited / SECOND for each in run.waits), each) for each in QUANTILES],
        "rarest": rarest,
        "rarest_searches": len(queues[rarest]),
        "rarest_matched": _share(each.is_matched for each in queues[rarest]),
        "rarest_waits": [get_quantile(_list_waits(queues[rarest]), each) for each in QUANTILES],
        "no_shows": run.no_shows / max(1, 2 * run.matches),
        "lost_minutes": sum(run.lost.values()) / 60,
        "lost_by": {each.value: run.lost[each] / 60 for each in Conduct},
        "rests": dict(known),
        "warnings": sum(knowledge.get(each).warnings for each in population.learners),
        "resting": len([each for each in population.learners if knowledge.get(each).rests]),
        "refused": run.refused,
        "unlucky_points": _most_points(population, run),
        "coverage": [_cover(run.waits, which) for which in (0, 1)],
        "coverage_with_given_up": [_cover(run.waits, which, with_given_up=True) for which in (0, 1)],
        "learnt": len(run.levels),
        "spearman": correlate_ranks(run.levels),
        "worth": run.worth,
    }


def get_quantile(values: Sequence[float], share: float) -> float:
    """Return the value of a sorted sequence that so many of its values do not exceed; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def correlate_ranks(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Spearman's correlation; 0 where it is not defined."""
    if len(pairs) < 2:
        return 0.0
    one, other = (_rank([pair[side] for pair in pairs]) for side in (0, 1))
    middle = (len(pairs) + 1) / 2
    shared = sum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
    spread = sum((a - middle) ** 2 for a in one) * sum((b - middle) ** 2 for b in other)
    return float(shared / spread**0.5) if spread else 0.0


def _rank(values: list[float]) -> list[float]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, begin = [0.0] * len(values), 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for index in order[begin:end]:
            ranks[index] = (begin + 1 + end) / 2
        begin = end
    return ranks


def _list_waits(waits: Sequence[Waited]) -> list[float]:
    """List the seconds of the searches that were matched, those at once too."""
    return sorted(each.waited / SECOND for each in waits if each.is_matched)


def _cover(waits: Sequence[Waited], which: int, *, with_given_up: bool = False) -> float:
    """Return the share of searches that waited no longer than they were said to; of those that waited and were matched.

    `with_given_up`: those too that were given up after that time, which would have waited longer.
    """
    known = [(each, each.reported[which] * SECOND) for each in waits if each.reported is not None]
    return _share(
        each.is_matched and each.waited <= said
        for each, said in known
        if each.is_matched or (with_given_up and each.waited > said)
    )


def _share(values: Any) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _most_points(population: Population, run: Measured) -> float:
    """Return the most record points that a learner had who is not chronic."""
    unlucky = {each.user_id for each in population.learners if each.conduct is not Conduct.CHRONIC}
    return max((wish.points for wish in run.wishes if wish.user_id in unlucky), default=0.0)
