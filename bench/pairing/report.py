"""Report of the pairing benchmark: what was assumed, the goals with the worst of the seeds, and each seed's figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench import figures
from bench.day.learners import NAMES_TOPIC, OWN_LEVEL, RATES, SEARCHES_AGAIN
from bench.pairing import population
from bench.pairing.goals import GOALS, Run
from bench.pairing.max_weight import BEST, GAP, OTHER_GOAL, POINTS, REPEAT, SAME_LANGUAGE
from bench.pairing.measures import QUANTILES
from services.calls.fit import FitWeights

Pairs = Sequence[tuple[Run, Run]]


@dataclass(frozen=True, slots=True)
class Size:
    learners: int
    days: int
    seeds: tuple[int, ...]
    training_seeds: tuple[int, ...]
    seconds: float


def list_figures(pairs: Pairs) -> list[figures.Figure]:
    """List what docs/performance.md shows: the worst seed of each goal that compares the two rules, and the rest."""

    def compare(name: str, unit: str, goal: float, at: int | None = None, factor: float = 1.0) -> figures.Figure:
        def read(run: Run) -> float:
            return float(run[name] if at is None else run[name][at]) * factor

        oldest, fit = max(pairs, key=lambda pair: read(pair[1]) / max(1e-9, read(pair[0])))
        operation, unit_name = unit.split(", ")
        return figures.Figure(operation, unit_name, read(fit), read(oldest), "oldest first", goal, less_is_better=True)

    worth = min(pairs, key=lambda pair: pair[1]["worth"] / pair[1]["best_worth"])[1]
    return [
        compare("repeats", "calls with a partner of the last 7 days, %", 0.6, factor=100),
        compare("gap", "gap of true levels in a call, units of skill", 0.75),
        compare("waits", "wait for a match p95, s", 1.2, at=3),
        compare("rarest_waits", "wait for a match p99 in the rarest pool, s", 1.5, at=4),
        compare("lost_minutes", "lost by the punctual, minutes", 0.5),
        figures.Figure(
            "worth of all matches", "", worth["worth"], worth["best_worth"], "max-weight matching every 5 s", 0.85
        ),
        figures.Figure(
            "Spearman(known level, true level) after 12 calls", "", min(fit["spearman"] for _, fit in pairs)
        ),
        figures.Figure("rests of learners who are not chronic", "", GOALS[7].get_worst(pairs)),
        figures.Figure(
            "searches within the reported 90% of waits", "%", min(fit["coverage"][1] for _, fit in pairs) * 100
        ),
    ]


def write(size: Size, pairs: Pairs) -> list[str]:
    """Return the report's lines."""
    return [
        "# Pairing: oldest first and by fit",
        "",
        f"`make bench-pairing`: {size.learners:,} simulated learners over {size.days} days, in the same populations"
        f" with"
        " both rules. The product's scripts run on Valkey, at simulated time, and waiting searches are tried again"
        " at the"
        " product's intervals. Weights and assumptions were tried with the seed"
        f" {_list(size.training_seeds)}; the results are those of the seeds {_list(size.seeds)}, with which nothing was"
        f" chosen, and the worst of them counts. {size.seconds:.0f} s, {time.strftime('%Y-%m-%d')}.",
        "",
        "## Goals",
        "",
        *figures.table(["goal", "limit", "worst seed", ""], _list_goals(pairs)),
        "",
        "Waits are those of the searches that were matched, those at once too; *known level* is the mean of the skill.",
        "",
        "## Both rules",
        "",
        *figures.table(["", *(f"{size.seeds[0]}: {name}" for name in ("oldest", "fit"))], _list_both(*pairs[0])),
        "",
        "## Each seed, by fit",
        "",
        *figures.table(["", *map(str, size.seeds)], _list_seeds(pairs)),
        "",
        "Gap by quarter of the run: at the beginning nothing is known of anybody but the level that they declare.",
        "",
        "## What was assumed",
        "",
        *_list_assumptions(),
        "",
        "## Max-weight matching",
        "",
        "The searches of the run by fit, with what was known when each began and until it would have been given up,"
        " are matched every five seconds by the largest total (`rustworkx`). A match is worth"
        f" {BEST}, less {GAP} a unit of the gap of the known levels, {REPEAT} for each call of the two in seven days"
        f" (two at most), {SAME_LANGUAGE} for the same first language, {OTHER_GOAL} for another goal and {POINTS} a"
        f" point by"
        " which the records differ, and nothing below 0. This rule matches all whom it can every five seconds; it does"
        " not wait for a better partner, which is why the fit may exceed it.",
        "",
        "## Weights",
        "",
        *figures.table(
            ["weight", "value"], [[f"`{name}`", f"{value:g}"] for name, value in asdict(FitWeights()).items()]
        ),
        "",
    ]


def _list_goals(pairs: Pairs) -> list[list[str]]:
    rows = []
    for goal in GOALS:
        worst = goal.get_worst(pairs)
        limit = f"{'at most' if goal.is_most else 'at least'} {goal.describe(goal.limit)}"
        rows.append([goal.title, limit, goal.describe(worst), "met" if goal.is_met(worst) else "**missed**"])
    return rows


def _list_both(oldest: Run, fit: Run) -> list[list[str]]:
    def row(title: str, name: str, form: str) -> list[str]:
        return [title, *(format(run[name], form) for run in (oldest, fit))]

    def several(title: str, name: str, form: str) -> list[str]:
        return [title, *(", ".join(format(value, form) for value in run[name]) for run in (oldest, fit))]

    quantiles = ", ".join(f"{share:.0%}" for share in QUANTILES)
    return [
        row("searches", "searches", ","),
        row("of these matched", "matched", ".1%"),
        row("finds", "finds", ","),
        row("retries", "retries", ","),
        row("calls", "calls", ","),
        row("repeats within 7 days", "repeats", ".2%"),
        row("gap of true levels", "gap", ".2f"),
        several("the same by quarter of the run", "gaps", ".2f"),
        several(f"waits, s: {quantiles}", "waits", ".0f"),
        several("the same, and those given up", "waits_of_all", ".0f"),
        [f"rarest pool, {fit['rarest']}: searches", f"{oldest['rarest_searches']:,}", f"{fit['rarest_searches']:,}"],
        row("rarest pool: matched", "rarest_matched", ".0%"),
        several("rarest pool: waits, s", "rarest_waits", ".0f"),
        row("sides of matches that did not come", "no_shows", ".1%"),
        row("minutes lost by the punctual", "lost_minutes", ",.0f"),
        ["of these by whom", *(_list_counts(run["lost_by"]) for run in (oldest, fit))],
        ["rests", *(_list_counts(run["rests"]) for run in (oldest, fit))],
        row("Spearman after 12 calls", "spearman", ".3f"),
        row("learners with 12 calls", "learnt", ","),
    ]


def _list_seeds(pairs: Pairs) -> list[list[str]]:
    fits = [fit for _, fit in pairs]
    rows = [[goal.title, *(goal.describe(goal.read(*pair)) for pair in pairs)] for goal in GOALS]
    return [
        *rows,
        ["gap by quarter of the run", *(", ".join(f"{gap:.2f}" for gap in fit["gaps"]) for fit in fits)],
        ["median wait, s", *(f"{fit['waits'][0]:.0f}" for fit in fits)],
        [
            "coverage of the reported median and 90%",
            *(", ".join(f"{share:.1%}" for share in fit["coverage"]) for fit in fits),
        ],
        [
            "the same, with searches given up after that time",
            *(", ".join(f"{share:.1%}" for share in fit["coverage_with_given_up"]) for fit in fits),
        ],
        ["most record points of one who is not chronic", *(f"{fit['unlucky_points']:.2f}" for fit in fits)],
        ["matches of neighbouring levels", *(f"{fit['widened']:.1%}" for fit in fits)],
    ]


def _list_assumptions() -> list[str]:
    conducts = ", ".join(f"{share:.0%} {conduct.value}" for conduct, share in population.SHARES.items())
    bands = ", ".join(f"{share:.0%} {band.value}" for band, share in population.BANDS.items())
    return [
        f"- A learner opens the app {population.VISITS_A_DAY:g} times a day on average, at most"
        f" {population.MOST_VISITS_A_DAY:g};"
        " rates are log-normal. These are the visits of `bench/day`; with them about 28% of all come on a day, and"
        " Duolingo"
        f" reports 26% of the learners of a month (letter to shareholders, third quarter of 2022)."
        f" {population.HABIT:.0%} of the visits are near an hour that the learner"
        " keeps to, the others at hours of `bench/day`, whose curve also gives the hours that are kept to.",
        f"- From `bench/day`: {OWN_LEVEL:.0%} search their declared level and the others any, {NAMES_TOPIC:.0%} name"
        f" one of five topics, patience, the length of calls, {SEARCHES_AGAIN:.0%} search again after a call,"
        f" {RATES:.0%} give feedback.",
        f"- True levels are normal, {population.TRUE_MEAN:g} ± {population.TRUE_SPREAD:g}. The declared level, one"
        f" of three,"
        " correlates with them by about 0.5: a meta-analysis of 67 studies found 0.47 between self-assessment and tests"
        f" (Li and Zhang, Language Testing 38, 2021), which have errors of their own. {population.SANDBAGGERS:.0%}"
        f" are far"
        " above the middle, and declare the lowest level. Nobody has a rating when the run begins.",
        f"- Feedback is `same` where the partner seems nearer than {population.SAME_PACE:g}; what seems is off by"
        f" {population.PACE_NOISE:g} (a deviation), and {population.CARELESS:.0%} answer anything. Two naive"
        f" listeners agree by"
        " 0.76 on how well a learner can be understood (Saito and others, Studies in Second Language Acquisition"
        " 45, 2022):"
        " the error of one estimate is then 3.4, and that of a comparison of two 4.8.",
        f"- Age bands: {bands}. {len(population.LANGUAGES)} first languages with harmonic shares,"
        f" {len(population.GOALS)} goals.",
        f"- Conduct: {conducts}. A chronic learner lets {population.LETS_LAPSE:.0%} of matches lapse, declines"
        f" {population.DECLINES:.0%}, leaves {population.LEAVES_EARLY:.0%} within a minute, and mostly"
        f" ({population.SEARCHES_AGAIN_AFTER:.0%}) searches again at once; neither a warning nor a rest changes that."
        f" Everybody misses {population.FORGETS:.0%} of matches. A poor line misses {population.LINE_FAILS:.0%}"
        f" more, half of"
        f" them without"
        " that the server sees it, and cuts off one call in twenty. Together one side in twenty does not come. Of those"
        f" who must rest {population.WAITS_FOR_REST:.0%} wait for its end where they have the patience, and the others"
        f" leave.",
        f"- {population.BLOCKS:.0%} of calls end with a block."
        " Shares of conducts and blocks are not public: they are assumed.",
    ]


def _list(values: Sequence[int]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def _list_counts(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {count:,.0f}" for name, count in counts.items())
