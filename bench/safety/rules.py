"""Three rules over the same reports: the product's, three distinct reporters, and Dawid-Skene.

Each gives an order of review, the learners that it flags, and those whose pairing it would hold.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.safety.simulation import Outcome, Report, Simulation, make_id
from services.safety.report_weights import assess
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ROOT / ".parlance" / "dawid_skene"
FLAG_WEIGHT: float = Settings.model_fields["report_flag_weight"].default
#: Reporters of the rule before, and the probability from which on Dawid-Skene flags and holds.
REPORTERS, PROBABILITY = 3, 0.9


@dataclass(frozen=True, slots=True)
class Decision:
    """Learners with pending reports in the order of review; those that are flagged, and held."""

    order: list[int]
    flagged: set[int]
    held: set[int]


def group(reports: Iterable[Report]) -> dict[int, list[Report]]:
    """Group reports by the learner that they are about, in the order in which they came."""
    found: defaultdict[int, list[Report]] = defaultdict(list)
    for each in reports:
        found[each.reported].append(each)
    return dict(found)


def find_victims(reports: list[Report], count: int) -> list[Report]:
    """Return the reports of the first `count` different reporters."""
    first = list(dict.fromkeys(each.reporter for each in reports))[:count]
    return [each for each in reports if each.reporter in first]


def decide_by_weight(simulation: Simulation, outcome: Outcome, reports: list[Report]) -> Decision:
    """Decide as the product does, by `services.safety.report_weights`."""
    others: defaultdict[int, set[int]] = defaultdict(set)
    for each in outcome.pending:
        if each.reported not in outcome.confirmed:
            others[each.reporter].add(each.reported)
    found = {
        learner: assess(
            [
                simulation.make_evidence(each, frozenset(map(make_id, others[each.reporter] - {learner})))
                for each in about
            ],
            len(outcome.partners[learner]),
        )
        for learner, about in group(reports).items()
    }
    order = sorted(found, key=lambda each: found[each].rank, reverse=True)
    flagged = {each for each in found if found[each].total >= FLAG_WEIGHT}
    return Decision(order, flagged, {each for each in found if found[each].holds})


def decide_by_reporters(reports: list[Report]) -> Decision:
    """Decide as the release before: three distinct reporters flag; holds by as many urgent ones are supposed."""
    found = group(reports)
    reporters = {each: {report.reporter for report in about} for each, about in found.items()}
    urgent = {each: {report.reporter for report in about if report.is_urgent} for each, about in found.items()}
    return Decision(
        sorted(found, key=lambda each: len(reporters[each]), reverse=True),
        {each for each in found if len(reporters[each]) >= REPORTERS},
        {each for each in found if len(urgent[each]) >= REPORTERS},
    )


@functools.cache
def _start_dawid_skene() -> subprocess.Popen[str]:
    """Start the process of Dawid-Skene; its library takes long to load."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("dawid_skene.py"))],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def decide_by_dawid_skene(outcome: Outcome, reports: list[Report]) -> Decision:
    """Decide by the probability that a learner harasses, from who reported and who called without a report."""
    found = group(reports)
    labels = {(each.reporter, each.reported) for each in reports}
    rows = [[reporter, reported, 1] for reporter, reported in labels]
    rows += [
        [partner, learner, 0]
        for learner in found
        for partner in outcome.partners[learner]
        if (partner, learner) not in labels
    ]
    process = _start_dawid_skene()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(rows) + "\n")
    process.stdin.flush()
    probabilities = {int(task): each for task, each in json.loads(process.stdout.readline()).items()}
    urgent = {each.reported for each in reports if each.is_urgent}
    flagged = {each for each in found if probabilities[each] >= PROBABILITY}
    # Equal ones, of which there are many, by the number of reports.
    order = sorted(found, key=lambda each: (probabilities[each], len(found[each])), reverse=True)
    return Decision(order, flagged, flagged & urgent)
