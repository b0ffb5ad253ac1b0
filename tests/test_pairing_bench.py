"""The simulator of bench/pairing in a small population: equal seeds are equal runs, and the fit does what it is for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.pairing.goals import Run
from bench.pairing.max_weight import Wish, get_worth, match_all
from bench.pairing.measures import correlate_ranks
from bench.pairing.population import SECOND, Population
from bench.pairing.run import Rule, simulate
from devtools.embedded import EmbeddedServices
from models import AgeBand

SEED, LEARNERS, DAYS, VISITS_A_DAY = 5, 400, 3, 2.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Oldest first, the fit, and the fit again."""
    directory = tmp_path_factory.mktemp("pairing")
    with EmbeddedServices(directory / "services", durable=False, only=("valkey",)) as environment:

        def run(rule: Rule, name: str) -> Run:
            population = Population(SEED, LEARNERS, DAYS, VISITS_A_DAY)
            return asyncio.run(simulate(environment, directory / name, population, rule))

        return {"oldest": run("oldest", "oldest"), "fit": run("fit", "fit"), "again": run("fit", "again")}


def _without_time(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != "seconds"}


def test_two_runs_of_a_seed_are_equal(runs: dict[str, Run]) -> None:
    assert _without_time(runs["fit"]) == _without_time(runs["again"])
    assert runs["fit"]["calls"] > 500


def test_fit_has_fewer_repeats_and_smaller_gaps(runs: dict[str, Run]) -> None:
    oldest, fit = runs["oldest"], runs["fit"]
    assert oldest["repeats"] > 0
    assert fit["repeats"] < oldest["repeats"]
    assert fit["gap"] < oldest["gap"]


def test_oldest_first_neither_retries_nor_widens(runs: dict[str, Run]) -> None:
    assert runs["oldest"]["retries"] == runs["oldest"]["widened"] == runs["oldest"]["refused"] == 0
    assert runs["fit"]["retries"] > 0


def _make_wish(name: str, mu: float, began: int = 0, ends: int = 300) -> Wish:
    nobody: frozenset[str] = frozenset()
    return Wish(began * SECOND, ends * SECOND, name, AgeBand.ADULT, "all", mu, 0.0, name, "fluency", {}, nobody)


def test_max_weight_matches_by_the_largest_total() -> None:
    """The least gap alone would pair the second and the third."""
    wishes = [_make_wish("a", 10), _make_wish("b", 15), _make_wish("c", 17), _make_wish("d", 25)]
    a, b, c, d = wishes
    assert match_all(wishes, 60 * SECOND) == (get_worth(a, b) + get_worth(c, d), 2)


def test_max_weight_matches_nobody_who_has_left() -> None:
    assert match_all([_make_wish("a", 25, ends=9), _make_wish("b", 25, began=11)], 60 * SECOND) == (0, 0)


def test_ranks_correlate() -> None:
    assert correlate_ranks([(1, 10), (2, 20), (3, 30)]) == pytest.approx(1)
    assert correlate_ranks([(1, 30), (2, 20), (3, 10)]) == pytest.approx(-1)
    # Equal ranks share their mean.
    assert correlate_ranks([(1, 1), (1, 2), (2, 3), (3, 1)]) == pytest.approx(-1 / 18)
