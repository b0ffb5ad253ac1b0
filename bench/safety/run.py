"""Weights of reports against colluders: `make bench-safety` writes results/safety.md (about five minutes).

Learners and calls are simulated in memory; what is decided about them is decided by the product's functions. Each
attack runs with several seeds, and the worst of them counts. Thresholds were chosen with other seeds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import figures
from bench.safety import rules, simulation, third_victim
from bench.safety.rules import Decision
from bench.safety.simulation import Attack, Outcome, Simulation
from services.safety.report_weights import HOLD_PARTNERS, HOLD_RECORD_SHARE, HOLD_SHARE, HOLD_WEIGHT

RESULTS = Path(__file__).resolve().parent.parent / "results" / "safety.md"
#: Thresholds were chosen with the first; the results are those of the others. With the second ones a first choice held
#: an innocent, and another one was made: since then they are no test of it.
TRAINING_SEEDS, SPENT_SEEDS, SEEDS = tuple(range(1, 11)), tuple(range(101, 121)), tuple(range(201, 211))
FIRST = 50
ATTACKS = (
    Attack("all 20 targets each; shared devices, networks and day", 20, is_shared=True),
    Attack("all 20 targets each; nothing shared", 20),
    Attack("2 targets each; nothing shared", 2),
    Attack("1 target each; nothing shared", 1),
    Attack("1 target each, who are new; nothing shared", 1, are_targets_new=True),
    Attack("1 target each; nothing reviewed before", 1, is_young=True),
    Attack("1 target each, who are new; nothing reviewed before", 1, is_young=True, are_targets_new=True),
    Attack("1 target each; 20 of 100 colluders have 3 confirmed reports", 1, records=20, record=3),
    Attack("1 target each; 20 of 100 colluders have 5 confirmed reports", 1, records=20),
    Attack("1 target each; 20 colluders in all, with 5 confirmed reports", 1, records=20, colluders=20),
    Attack("1 target each; every tenth learner has 5 confirmed reports", 1, proven=0.1),
    Attack("5 targets in all, of 20 colluders each", 1, targets=5),
)
#: In which attacks the goals count: nobody is held in seven, and the order is right in four of them.
WITHOUT_HOLDS, WITH_ORDER = ATTACKS[:7], ATTACKS[:4]
NAMES = ("weights", "three reporters", "Dawid-Skene")


@dataclass(frozen=True, slots=True)
class Measure:
    """Of one run: share of the first 50 that is right, targets flagged, innocents held, and share of harassers held."""

    right: float
    flagged: int
    innocents_held: int
    harassers_held: float


@dataclass(slots=True)
class Found:
    """All runs: by attack and rule; and of the first attack the shares of harassers that are found early."""

    runs: dict[Attack, dict[str, list[Measure]]] = field(default_factory=dict)
    by_reporter: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    by_victim: list[tuple[float, float]] = field(default_factory=list)

    def list_worst(self, attacks: Sequence[Attack]) -> tuple[float, int]:
        """Return the lowest share of the first 50 that is right, and most innocents held, by weights."""
        measures = [each for attack in attacks for each in self.runs[attack]["weights"]]
        return min(each.right for each in measures), max(each.innocents_held for each in measures)


def measure(outcome: Outcome, decision: Decision) -> Measure:
    """Measure a decision against the truth. Held harassers are a share of those with an urgent, full report."""
    first = decision.order[:FIRST]
    urgent = {
        each.reported
        for each in outcome.pending
        if each.is_urgent and (each.has_block or each.seconds >= 30) and each.reported in outcome.harassers
    }
    return Measure(
        sum(each in outcome.harassers for each in first) / len(first),
        len(set(outcome.targets) & decision.flagged),
        len(decision.held - outcome.harassers),
        len(decision.held & urgent) / max(1, len(urgent)),
    )


def choose_threshold() -> float:
    """Choose the threshold of Dawid-Skene with the training seeds, in the attacks with an order."""
    return third_victim.choose_threshold(
        [Simulation(seed, attack).run() for attack in WITH_ORDER for seed in TRAINING_SEEDS]
    )


def measure_all(threshold: float) -> Found:
    """Run each attack with each seed."""
    found = Found()
    for attack in ATTACKS:
        by_rule = found.runs[attack] = {name: [] for name in NAMES}
        for seed in SEEDS:
            run = Simulation(seed, attack)
            outcome = run.run()
            decisions = (
                rules.decide_by_weight(run, outcome, outcome.pending),
                rules.decide_by_reporters(outcome.pending),
                rules.decide_by_dawid_skene(outcome.partners, outcome.pending, threshold),
            )
            for name, decision in zip(NAMES, decisions, strict=True):
                by_rule[name].append(measure(outcome, decision))
            if attack is ATTACKS[0]:
                for name, share in third_victim.measure_reporters(run, outcome, threshold).items():
                    found.by_reporter[name].append(share)
                found.by_victim.append(third_victim.measure_victims(run, outcome))
    return found


def main() -> None:
    began = time.monotonic()
    threshold = choose_threshold()
    found = measure_all(threshold)
    right, _ = found.list_worst(WITH_ORDER)
    _, held = found.list_worst(WITHOUT_HOLDS)
    RESULTS.write_text("\n".join(_report(found, threshold, time.monotonic() - began)))
    figures.write(
        "safety",
        [
            figures.Figure("right among the first 50 of the review queue, worst", "%", right * 100),
            figures.Figure(
                "harassers in the review queue by their third victim, worst",
                "%",
                min(each[0] for each in found.by_victim) * 100,
            ),
            figures.Figure(
                "harassers flagged by their third reporter, worst", "%", min(found.by_reporter["weights"]) * 100
            ),
            figures.Figure("innocents held, worst", "learners", held),
        ],
    )
    print(RESULTS.read_text())


def _list_goals(found: Found) -> list[list[str]]:
    right, _ = found.list_worst(WITH_ORDER)
    _, held = found.list_worst(WITHOUT_HOLDS)
    queued = min(each[0] for each in found.by_victim)
    reporter = min(found.by_reporter["weights"])
    return [
        ["innocents held or banned: 0", "the first seven", f"{held} held, 0 banned", _name(held == 0)],
        [
            "harassers in the queue by their third victim: at least 95 %",
            "the first",
            f"{queued:.1%}",
            _name(queued >= 0.95),
        ],
        [
            "harassers flagged by their third reporter: at least 95 %",
            "the first",
            f"{reporter:.1%}",
            _name(reporter >= 0.95),
        ],
        [
            f"right among the first {FIRST} of the queue: at least 90 %",
            "the first four",
            f"{right:.0%}",
            _name(right >= 0.9),
        ],
    ]


def _list_rows(found: Found) -> list[list[str]]:
    rows = []
    for attack in ATTACKS:
        for name in NAMES:
            runs = found.runs[attack][name]
            shares = [each.harassers_held for each in runs]
            rows.append(
                [
                    attack.name,
                    name,
                    f"{min(each.right for each in runs):.0%}",
                    str(max(each.flagged for each in runs)),
                    str(max(each.innocents_held for each in runs)),
                    f"{sum(shares) / len(shares):.0%}",
                ]
            )
    return rows


def _name(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _name_seeds(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}"


def _report(found: Found, threshold: float, seconds: float) -> list[str]:
    three, many, alone, mature, five = [
        max(each.innocents_held for each in found.runs[attack]["weights"]) for attack in ATTACKS[7:]
    ]
    new = min(each.right for each in found.runs[ATTACKS[4]]["weights"])
    return [
        "# Weights of reports against colluders",
        "",
        f"`make bench-safety`: {simulation.LEARNERS:,} learners, of whom {simulation.HARASSERS} harass in every second"
        f" call; {simulation.RIGHT:.0%} of their victims report, and {1 - simulation.RIGHT:.0%} of all honest reports"
        f" are about innocents. {simulation.DAYS_WITH_REVIEWS} days with reviews are followed by"
        f" {simulation.DAYS_WITHOUT} without. On the last one {simulation.COLLUDERS} colluders, each after a real call"
        f" of 30 to 90 seconds, report {simulation.TARGETS} innocents for a threat, with a block.",
        "",
        f"Thresholds of holds and of Dawid-Skene were chosen with the seeds {_name_seeds(TRAINING_SEEDS)}."
        " With the seeds"
        f" {_name_seeds(SPENT_SEEDS)} a first choice was tried: a colluder who had three confirmed reports by"
        " chance held"
        " an innocent, and a record is of five since. The results are those of the seeds"
        f" {_name_seeds(SEEDS)}, with which nothing was chosen; the worst of them is shown."
        f" {seconds:.0f} s, {time.strftime('%Y-%m-%d')}.",
        "",
        "## Goals",
        "",
        *figures.table(
            ["goal", "in which attacks", f"worst of the seeds {_name_seeds(SEEDS)}", ""], _list_goals(found)
        ),
        "",
        "Nobody is banned by a rule: an administrator decides each report. Every report is in the queue;"
        " flagged learners"
        " are those that a rule points out. By their third victim"
        f" {min(each[1] for each in found.by_victim):.1%} of harassers are flagged in the worst case: not each victim"
        " reports, and a report of a short call without a block counts half.",
        "",
        "## Rules beside each other",
        "",
        *figures.table(
            ["attack", "rule", f"right of first {FIRST}", "targets flagged", "innocents held", "harassers held (mean)"],
            _list_rows(found),
        ),
        "",
        "*Harassers held*: of those with an urgent report that counts in full. Where reports are reviewed,"
        " harassers are"
        " banned before the evidence is strong, and few have it.",
        "",
        "By their third reporter, in the first attack: "
        + ", ".join(f"{name} flags {min(share):.1%} of harassers" for name, share in found.by_reporter.items())
        + ".",
        "",
        "*Three reporters* is the rule of earlier releases, with the most reported first; for comparison it holds a"
        " learner whom three report for an urgent reason. *Dawid-Skene* is that of `crowd-kit`, with a call without a"
        f" report as a label too. It flags from a probability of {threshold:.3f} on, and holds those with an urgent"
        " report: of all thresholds the one that separates harassers with three reporters best from reported innocents,"
        " in the first four attacks with the seeds for choosing. It assumes that reporters err independently, and most"
        " learners have too few reports for it to know who errs.",
        "",
        "## Holds",
        "",
        f"*Weights* hold without a record from an independent weight of {HOLD_WEIGHT:.0f} on, of at least"
        f" {HOLD_PARTNERS} partners of whom {HOLD_SHARE:.0%} report. Of a grid (2.4 to 5.5, 5 to 15 partners, 25 to"
        " 50 %) few choices held no innocent in any attack but the last; of these it holds nearly most harassers where"
        " nothing had been reviewed, and asks for the largest share. By a record: five confirmed reports,"
        f" {HOLD_RECORD_SHARE:.0%} of the partners, one learner for each reporter and"
        f" {rules.RECORD_HOLDS} for all together at one time.",
        "",
        "## What the rule does not withstand",
        "",
        "- Targets who are new have few other partners, so five separate colluders look like five victims:"
        f" {new:.0%} of"
        " the first 50 are right in the worst case. They come first in the queue, where an administrator sees them;"
        " nothing is decided about them without one, and they are not held.",
        "- Seven colluders with nothing in common, of whom each had a call with the target, hold a target who has few"
        f" other partners, for at most a day; twenty held each of {five} of 5 targets with a usual number of partners."
        " A partner without anything to report cannot be removed by them, so the more partners the more colluders.",
        "- Twenty colluders with five confirmed reports each (about other learners, by an administrator) hold"
        f" {rules.RECORD_HOLDS} of 20 targets at one time (`REPORT_RECORD_HOLDS`; without limits 20), for at most a"
        f" day. With earlier days {many} innocents are held, {alone} where nobody else supports the colluders, and"
        f" {three} where they have three confirmed reports. Its dismissal ends the hold and the record:"
        " the next needs eleven confirmed reports. While they use up the limit, proven reporters hold nobody else:"
        " evidence still does.",
        "- Honest reporters err: where every tenth learner has a record, which is far more than five confirmed reports"
        f" for each would give, {mature} innocents are held in ten days and the attack.",
        "- An order that puts urgent reasons first would have put all targets first, because colluders"
        " choose the reason: 60 % right in the worst case. So the reason sets the deadline, and the rank the order.",
        "",
    ]


if __name__ == "__main__":
    main()
