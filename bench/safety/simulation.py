"""Learners, harassers and colluders who call each other and report, in memory; the truth is known.

Twenty days with reviews give reporters their records. Then come ten days without; the attack is on the last of them.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.safety.report_weights import Evidence, Record

LEARNERS, HARASSERS, COLLUDERS, TARGETS = 10_000, 200, 100, 20
DAYS_WITH_REVIEWS, DAYS_WITHOUT = 20, 10
#: Of 100 learners, who call on a day, how often, and how many calls are shorter than 30 seconds.
ACTIVE, CALLS, SHORT = 0.25, 2, 0.2
#: How often a harasser harasses, and how often reports are for an urgent reason, or with a block.
HARASSES, URGENT, BLOCKS = 0.5, 0.1, 0.6
#: Share of victims who report, and of honest reports that are right.
RIGHT = 0.85
NETWORKS = 3_000
_NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Attack:
    """How colluders act. Each reports `targets_each` of the targets; `shared` ones share devices, networks and a day.

    `records` of them have `record` confirmed reports from before, as many as each of the share `proven` of all.
    """

    name: str
    targets_each: int
    is_shared: bool = False
    records: int = 0
    are_targets_new: bool = False
    #: How many of the targets are attacked.
    targets: int = TARGETS
    #: Whether nobody has reviewed a report before the attack: no honest reporter has a record, and nobody is banned.
    is_young: bool = False
    colluders: int = COLLUDERS
    record: int = 5
    proven: float = 0.0


@dataclass(slots=True)
class Report:
    """A report, with what the product stores of it."""

    reporter: int
    reported: int
    day: int
    seconds: int
    is_urgent: bool
    has_block: bool


@dataclass(slots=True)
class Outcome:
    """The reports that wait at the end, in the order in which they came, and who is who."""

    harassers: set[int]
    targets: list[int]
    pending: list[Report] = field(default_factory=list)
    #: Partners of at least thirty seconds of each learner, with the day of the first such call.
    partners: defaultdict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    #: Those whom each learner harassed and whose report was not reviewed, in that order, and whether they reported it.
    victims: defaultdict[int, dict[int, bool]] = field(default_factory=lambda: defaultdict(dict))
    records: dict[int, list[int]] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)


class Simulation:
    """One run with a seed."""

    def __init__(self, seed: int, attack: Attack) -> None:
        self._random = rng = random.Random(seed)
        self._attack = attack
        everyone = range(LEARNERS)
        self.harassers = set(rng.sample(everyone, HARASSERS))
        honest = [each for each in everyone if each not in self.harassers]
        self.colluders = rng.sample(honest, attack.colluders)
        colluding = set(self.colluders)
        self._honest = [each for each in honest if each not in colluding]
        self.targets = rng.sample(self._honest, TARGETS)
        self._retired: set[int] = set()
        # A few carriers have many subscribers behind one network.
        shares = [1 / (each + 5) for each in range(NETWORKS)]
        self._networks = rng.choices(range(NETWORKS), shares, k=LEARNERS)
        self._devices = list(everyone)
        self._proven = {each for each in everyone if rng.random() < attack.proven}
        self._registered = [_NOW - timedelta(days=rng.uniform(0, 400)) for _ in everyone]
        if attack.is_shared:
            for each in self.colluders:
                self._networks[each] = NETWORKS + rng.randrange(5)
                self._devices[each] = LEARNERS + rng.randrange(20)
                self._registered[each] = _NOW - timedelta(days=8)
        self.outcome = Outcome(self.harassers, self.targets)

    def run(self) -> Outcome:
        for day in range(DAYS_WITH_REVIEWS + DAYS_WITHOUT):
            self._call(day)
            if day < DAYS_WITH_REVIEWS and not self._attack.is_young:
                self._review()
        self._add_attack(DAYS_WITH_REVIEWS + DAYS_WITHOUT - 1)
        return self.outcome

    def _call(self, day: int) -> None:
        rng, quiet = self._random, set(self.targets) if self._attack.are_targets_new else set()
        for _ in range(CALLS):
            there = [each for each in range(LEARNERS) if rng.random() < ACTIVE and each not in self._retired]
            if day < DAYS_WITH_REVIEWS:
                there = [each for each in there if each not in quiet]
            rng.shuffle(there)
            for one, other in zip(there[::2], there[1::2], strict=False):
                seconds = rng.randrange(5, 30) if rng.random() < SHORT else rng.randrange(30, 1800)
                if seconds >= 30:
                    self.outcome.partners[one].setdefault(other, day)
                    self.outcome.partners[other].setdefault(one, day)
                for reporter, reported in ((one, other), (other, one)):
                    if self._does_report(reporter, reported):
                        self._add(reporter, reported, day, seconds, rng.random() < URGENT, rng.random() < BLOCKS)

    def _does_report(self, reporter: int, reported: int) -> bool:
        if reported in self.harassers:
            if self._random.random() >= HARASSES:
                return False
            reports = self._random.random() < RIGHT
            victims = self.outcome.victims[reported]
            victims[reporter] = victims.get(reporter, False) or reports
            return reports
        # So many that 15 of 100 reports are wrong.
        share = HARASSERS / LEARNERS * HARASSES * RIGHT
        return self._random.random() < share * (1 - RIGHT) / RIGHT

    def _add(self, reporter: int, reported: int, day: int, seconds: int, urgent: bool, block: bool) -> None:
        self.outcome.pending.append(Report(reporter, reported, day, seconds, urgent, block))

    def _review(self) -> None:
        """Review all reports of a day rightly; a harasser is banned, and another learner begins to harass."""
        outcome = self.outcome
        for report in outcome.pending:
            right = report.reported in self.harassers
            outcome.records.setdefault(report.reporter, [0, 0])[0 if right else 1] += 1
        for guilty in {report.reported for report in outcome.pending} & self.harassers:
            self.harassers.remove(guilty)
            self._retired.add(guilty)
            outcome.confirmed.add(guilty)
            new = self._random.choice(self._honest)
            while new in self.targets or new in self._retired or new in self.harassers:
                new = self._random.choice(self._honest)
            self.harassers.add(new)
        outcome.pending.clear()
        outcome.victims.clear()

    def _add_attack(self, day: int) -> None:
        """Each colluder has a call of a minute with its targets, and reports them for a threat, with a block."""
        rng, each_has = self._random, self._attack.targets_each
        for number, colluder in enumerate(self.colluders):
            if number < self._attack.records:
                self.outcome.records[colluder] = [self._attack.record, 0]
            first = number * each_has
            mine = [self.targets[(first + offset) % self._attack.targets] for offset in range(each_has)]
            for target in mine:
                self.outcome.partners[target].setdefault(colluder, day)
                self.outcome.partners[colluder].setdefault(target, day)
                self._add(colluder, target, day, rng.randrange(30, 90), True, True)

    def make_evidence(self, report: Report, others: frozenset[uuid.UUID]) -> Evidence:
        """Return a report as the product reads it."""
        reporter = report.reporter
        confirmed, dismissed = self.outcome.records.get(reporter, (0, 0))
        if reporter in self._proven:
            confirmed += self._attack.record
        return Evidence(
            reporter_id=make_id(reporter),
            reason="threat" if report.is_urgent else "harassment",
            is_urgent=report.is_urgent,
            call_seconds=report.seconds,
            call_days=0,
            has_block=report.has_block,
            device=str(self._devices[reporter]),
            network=str(self._networks[reporter]),
            registered_at=self._registered[reporter],
            reported_at=_NOW,
            record=Record(confirmed, dismissed),
            also_reported=others,
        )


def make_id(learner: int) -> uuid.UUID:
    return uuid.UUID(int=learner)
