"""Goals of the pairing benchmark: each compares the two rules in one population; of several seeds the worst counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Measures of a run.
Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    title: str
    limit: float
    #: Reads the figure from oldest first and the fit.
    read: Callable[[Run, Run], float]
    format: str = ".2f"
    is_most: bool = True

    def get_worst(self, pairs: Sequence[tuple[Run, Run]]) -> float:
        values = [self.read(*pair) for pair in pairs]
        return max(values) if self.is_most else min(values)

    def is_met(self, value: float) -> bool:
        return value <= self.limit if self.is_most else value >= self.limit

    def describe(self, value: float) -> str:
        return format(value, self.format)


def _ratio(name: str) -> Callable[[Run, Run], float]:
    return lambda oldest, fit: float(fit[name] / oldest[name]) if oldest[name] else 1.0


def _quantile_ratio(name: str, position: int) -> Callable[[Run, Run], float]:
    return lambda oldest, fit: fit[name][position] / oldest[name][position] if oldest[name][position] else 1.0


def _count_rests_of_others(_: Run, fit: Run) -> float:
    return float(sum(count for conduct, count in fit["rests"].items() if conduct != "chronic"))


def _miss(which: int, share: float) -> Callable[[Run, Run], float]:
    return lambda _, fit: abs(fit["coverage"][which] - share) * 100


GOALS = (
    Goal("repeats within 7 days, of oldest first", 0.60, _ratio("repeats"), ".0%"),
    Goal("gap of true levels in a call, of oldest first", 0.75, _ratio("gap"), ".0%"),
    Goal("p95 of waits, of oldest first", 1.2, _quantile_ratio("waits", 3)),
    Goal("p99 of waits in the rarest pool, of oldest first", 1.5, _quantile_ratio("rarest_waits", 4)),
    Goal(
        "worth of all matches, of max-weight matching every 5 s",
        0.85,
        lambda _, fit: fit["worth"] / fit["best_worth"] if fit["best_worth"] else 1.0,
        ".0%",
        is_most=False,
    ),
    Goal("Spearman(known level, true level) after 12 calls", 0.8, lambda _, fit: fit["spearman"], is_most=False),
    Goal("minutes that the punctual lose, of oldest first", 0.5, _ratio("lost_minutes"), ".0%"),
    Goal("rests of learners who are not chronic", 0, _count_rests_of_others, ".0f"),
    Goal("error of the reported median's coverage, points", 5, _miss(0, 0.5), ".1f"),
    Goal("error of the reported 90% quantile's coverage, points", 5, _miss(1, 0.9), ".1f"),
)
