"""What each rule knows of a harasser after the third reporter, or after the third victim."""

from __future__ import annotations

from bench.safety import rules
from bench.safety.rules import Partners
from bench.safety.simulation import Outcome, Report, Simulation


def cut_to_three(outcome: Outcome) -> tuple[list[Report], Partners, set[int]]:
    """Cut the reports of each harasser to those of the first three reporters, and the partners to those until then.

    Reports of other learners stay, so that a rule that learns from all of them can. Returns also the harassers with
    three reporters.
    """
    reports: list[Report] = []
    partners: dict[int, dict[int, int]] = {each: dict(found) for each, found in outcome.partners.items()}
    known: set[int] = set()
    for learner, about in rules.group(outcome.pending).items():
        if learner not in outcome.harassers:
            reports += about
            continue
        first = rules.find_victims(about, 3)
        reporters = list(dict.fromkeys(each.reporter for each in first))
        if len(reporters) < 3:
            reports += about
            continue
        last = next(each.day for each in first if each.reporter == reporters[2])
        known.add(learner)
        reports += [each for each in first if each.day <= last]
        partners[learner] = {each: day for each, day in outcome.partners[learner].items() if day <= last}
    return reports, partners, known


def measure_reporters(run: Simulation, outcome: Outcome, threshold: float) -> dict[str, float]:
    """Return the share of harassers with three reporters that each rule flags by their reports."""
    reports, partners, known = cut_to_three(outcome)
    decisions = {
        "weights": rules.decide_by_weight(run, outcome, reports),
        "three reporters": rules.decide_by_reporters(reports),
        "Dawid-Skene": rules.decide_by_dawid_skene(partners, reports, threshold),
    }
    return {name: len(each.flagged & known) / max(1, len(known)) for name, each in decisions.items()}


def measure_victims(run: Simulation, outcome: Outcome) -> tuple[float, float]:
    """Return the shares of harassers with three victims who are in the queue, and who are flagged, by these three.

    Not each victim reports.
    """
    about = rules.group(outcome.pending)
    first = {each: list(victims)[:3] for each, victims in outcome.victims.items() if len(victims) >= 3}
    reports = [report for each in first for report in about.get(each, ()) if report.reporter in first[each]]
    decision = rules.decide_by_weight(run, outcome, reports)
    return len(set(decision.order) & set(first)) / len(first), len(decision.flagged & set(first)) / len(first)


def choose_threshold(outcomes: list[Outcome]) -> float:
    """Choose the threshold of Dawid-Skene that separates harassers with three reporters best from reported innocents.

    The one with the largest difference between the shares of both that it flags (Youden's index).
    """
    guilty: list[float] = []
    innocent: list[float] = []
    for outcome in outcomes:
        reports, partners, known = cut_to_three(outcome)
        for learner, probability in rules.estimate_by_dawid_skene(partners, reports).items():
            if learner in known:
                guilty.append(probability)
            elif learner not in outcome.harassers:
                innocent.append(probability)

    def compute_index(threshold: float) -> float:
        flagged = [sum(each >= threshold for each in group) / len(group) for group in (guilty, innocent)]
        return flagged[0] - flagged[1]

    return max(sorted({*guilty, *innocent}), key=compute_index)
