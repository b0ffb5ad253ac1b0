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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.safety.simulation import Outcome, Report, Simulation, make_id
from services.safety.report_weights import HOLD_RANK, Assessment, Evidence, HoldGround, assess
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ROOT / ".parlance" / "dawid_skene"
FLAG_WEIGHT: float = Settings.model_fields["report_flag_weight"].default
RECORD_HOLDS: int = Settings.model_fields["report_record_holds"].default
#: Reporters of the rule before.
REPORTERS = 3

#: Partners of each learner: of at least thirty seconds, with the day of the first such call.
Partners = Mapping[int, Mapping[int, int]]


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
    found: dict[int, Assessment] = {}
    for learner, about in group(reports).items():
        evidence: list[Evidence] = [
            simulation.make_evidence(each, frozenset(map(make_id, others[each.reporter] - {learner}))) for each in about
        ]
        found[learner] = assess(evidence, len(outcome.partners[learner]))
    held = _find_held(found, reports)
    ranks = {each: found[each].rank + (HOLD_RANK if each in held else 0) for each in found}
    order = sorted(found, key=lambda each: ranks[each], reverse=True)
    return Decision(order, {each for each in found if found[each].total >= FLAG_WEIGHT}, held)


def _find_held(found: Mapping[int, Assessment], reports: list[Report]) -> set[int]:
    """Find who is held, as `services.safety.holds` does: by a record one learner each at a time, and few together.

    A hold lasts a day; nobody reviews it before its end.
    """
    held = {each for each in found if found[each].ground in (HoldGround.EVIDENCE, HoldGround.REASON)}
    by_day: defaultdict[int, set[int]] = defaultdict(set)
    for each in reports:
        holders = found[each.reported].holders if found[each.reported].ground is HoldGround.RECORD else ()
        busy = by_day[each.day]
        is_free = len(busy) < RECORD_HOLDS and each.reporter not in busy and each.reported not in held
        if each.is_urgent and make_id(each.reporter) in holders and is_free:
            held.add(each.reported)
            busy.add(each.reporter)
    return held


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


def estimate_by_dawid_skene(partners: Partners, reports: list[Report]) -> dict[int, float]:
    """Estimate the probability that a learner harasses, from who reported and who called without a report."""
    found = group(reports)
    labels = {(each.reporter, each.reported) for each in reports}
    rows = [[reporter, reported, 1] for reporter, reported in sorted(labels)]
    rows += [
        [partner, learner, 0] for learner in found for partner in partners[learner] if (partner, learner) not in labels
    ]
    process = _start_dawid_skene()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(rows) + "\n")
    process.stdin.flush()
    return {int(task): each for task, each in json.loads(process.stdout.readline()).items()}


def decide_by_dawid_skene(partners: Partners, reports: list[Report], threshold: float) -> Decision:
    """Decide by the probability that a learner harasses; `threshold` is the one from which on it flags."""
    found = group(reports)
    probabilities = estimate_by_dawid_skene(partners, reports)
    urgent = {each.reported for each in reports if each.is_urgent}
    flagged = {each for each in found if probabilities[each] >= threshold}
    # Equal ones, of which there are many, by the number of reports.
    order = sorted(found, key=lambda each: (probabilities[each], len(found[each])), reverse=True)
    return Decision(order, flagged, flagged & urgent)
