"""Weights of reports against colluders: `make bench-safety` writes results/safety.md (about two minutes).

Learners and calls are simulated in memory; what is decided about them is decided by the product's functions. Each
attack runs with several seeds, and the worst of them counts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

from bench import figures
from bench.safety import rules, simulation
from bench.safety.rules import Decision
from bench.safety.simulation import Attack, Outcome, Simulation

RESULTS = Path(__file__).resolve().parent.parent / "results" / "safety.md"
SEEDS = (1, 2, 3, 4, 5)
FIRST = 50
ATTACKS = (
    Attack("all 20 targets each; shared devices, networks and day", 20, is_shared=True),
    Attack("all 20 targets each; nothing shared", 20),
    Attack("2 targets each; nothing shared", 2),
    Attack("1 target each; nothing shared", 1),
    Attack("1 target each, who are new; nothing shared", 1, are_targets_new=True),
    Attack("1 target each; 20 colluders with a record of 3", 1, records=20),
)
#: In which attacks each goal is one: the last two say what the rule does not withstand.
WITHIN_GOALS = ATTACKS[:4]
NAMES = ("weights", "three reporters", "Dawid-Skene")


def measure(outcome: Outcome, decision: Decision) -> tuple[float, int, int]:
    """Return the share of the first 50 that is right, and how many targets are flagged and held."""
    first = decision.order[:FIRST]
    right = sum(each in outcome.harassers for each in first) / len(first)
    targets = set(outcome.targets)
    return right, len(targets & decision.flagged), len(set(decision.held) - outcome.harassers)


def measure_third_victim(run: Simulation, outcome: Outcome) -> dict[str, float]:
    """Return the share of harassers with three reporters whom each rule flags by these three reports."""
    about = {
        each: rules.find_victims(reports, 3)
        for each, reports in rules.group(outcome.pending).items()
        if each in outcome.harassers
    }
    first = [report for reports in about.values() for report in reports if len({r.reporter for r in reports}) == 3]
    known = set(rules.group(first))
    by_weight = rules.decide_by_weight(run, outcome, first)
    by_reporters = rules.decide_by_reporters(first)
    by_dawid_skene = rules.decide_by_dawid_skene(outcome, first)
    decisions = dict(zip(NAMES, (by_weight, by_reporters, by_dawid_skene), strict=True))
    return {name: len(each.flagged & known) / max(1, len(known)) for name, each in decisions.items()}


def main() -> None:
    began = time.monotonic()
    rows: list[list[str]] = []
    worst: dict[str, list[float]] = defaultdict(list)
    victims: dict[str, list[float]] = defaultdict(list)
    for attack in ATTACKS:
        found: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
        for seed in SEEDS:
            run = Simulation(seed, attack)
            outcome = run.run()
            decisions = (
                rules.decide_by_weight(run, outcome, outcome.pending),
                rules.decide_by_reporters(outcome.pending),
                rules.decide_by_dawid_skene(outcome, outcome.pending),
            )
            for name, decision in zip(NAMES, decisions, strict=True):
                found[name].append(measure(outcome, decision))
            if attack is ATTACKS[0]:
                for name, share in measure_third_victim(run, outcome).items():
                    victims[name].append(share)
        for name in NAMES:
            lowest = min(each[0] for each in found[name])
            most_flagged, most_held = [max(each[index] for each in found[name]) for index in (1, 2)]
            rows.append([attack.name, name, f"{lowest:.0%}", f"{most_flagged:.0f}", f"{most_held:.0f}"])
            if attack in WITHIN_GOALS and name == "weights":
                worst["right"].append(lowest)
                worst["held"].append(most_held)
    precision, held = min(worst["right"]), max(worst["held"])
    third = {name: min(each) for name, each in victims.items()}
    RESULTS.write_text("\n".join(_report(rows, precision, held, third, time.monotonic() - began)))
    figures.write(
        "safety",
        [
            figures.Figure("right among the first 50 of the review queue, worst", "%", precision * 100),
            figures.Figure("harassers flagged by their third reporter, worst", "%", third["weights"] * 100),
            figures.Figure("innocents held, worst", "learners", held),
        ],
    )
    print(RESULTS.read_text())


def _name(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _report(rows: list[list[str]], precision: float, held: float, third: dict[str, float], seconds: float) -> list[str]:
    return [
        "# Weights of reports against colluders",
        "",
        f"`make bench-safety`: {simulation.LEARNERS:,} learners, of whom {simulation.HARASSERS} harass in every second"
        f" call; {simulation.RIGHT:.0%} of their victims report, and {1 - simulation.RIGHT:.0%} of all honest reports"
        f" are about innocents. {simulation.DAYS_WITH_REVIEWS} days with reviews are followed by"
        f" {simulation.DAYS_WITHOUT} without. On the last one {simulation.COLLUDERS} colluders, each after a real call"
        f" of 30 to 90 seconds, report {simulation.TARGETS} innocents for a threat, with a block."
        f" Seeds {', '.join(map(str, SEEDS))}; the worst of"
        f" them is shown. {seconds:.0f} s, {time.strftime('%Y-%m-%d')}.",
        "",
        "## Goals",
        "",
        *figures.table(
            ["goal", "worst", ""],
            [
                ["innocents held or banned: 0", f"{held:.0f} held, 0 banned", _name(held == 0)],
                [
                    "harassers flagged by their third reporter: at least 95 %",
                    f"{third['weights']:.1%}",
                    _name(third["weights"] >= 0.95),
                ],
                [
                    f"right among the first {FIRST} of the queue: at least 90 %",
                    f"{precision:.0%}",
                    _name(precision >= 0.9),
                ],
            ],
        ),
        "",
        "The goals count in the first four attacks. Nobody is banned by a rule: an administrator decides each report."
        " Every report is in the queue; flagged learners are those that a rule points out.",
        "",
        "## Rules beside each other",
        "",
        *figures.table(["attack", "rule", f"right of first {FIRST}", "targets flagged", "innocents held"], rows),
        "",
        "By their third reporter: "
        + ", ".join(f"{name} flags {share:.1%} of harassers" for name, share in third.items())
        + ".",
        "",
        "*Three reporters* is the rule of earlier releases, with the most reported first; for comparison it holds a"
        " learner whom three report for an urgent reason. *Dawid-Skene* is that of `crowd-kit`, with a call without a"
        f" report as a label too; it flags from {rules.PROBABILITY:.0%} on, and holds those with an urgent report.",
        "",
        "## What the rule does not withstand",
        "",
        "- Targets who are new have few other partners, so five separate colluders look like five victims. They come"
        " first in the queue, where an administrator sees them; nothing is decided about them without one.",
        "- A colluder whose three earlier reports were confirmed (each about another learner, by an administrator) can"
        " hold a target, for at most a day. The dismissal of that report ends the hold and the record: the next needs"
        " eight confirmed reports.",
        "- An order that puts urgent reasons first would have put all targets first, because colluders"
        " choose the reason: 60 % right in the worst case. So the reason sets the deadline, and the rank the order.",
        "",
    ]


if __name__ == "__main__":
    main()
