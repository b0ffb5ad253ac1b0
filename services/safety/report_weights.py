"""Weights of reports: how much each counts, which reporters count together, and which reports hold a learner's pairing.

Pure functions of what is stored with each report, so that a weight can be computed again; `bench/safety` runs them
against reporters who collude (docs/decisions/0098-weights-of-reports.md has the reasons and the figures).

A report's weight is its call's part times its reporter's record, a Beta-Bernoulli posterior (Jøsang and Ismail, "The
beta reputation system", 2002). Reporters who are likely one person or a group count once.
"""

from __future__ import annotations

import enum
import uuid
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

#: Seconds of a connected call from which on its report counts in full.
FULL_CALL_SECONDS = 30
#: Share of a report whose call was shorter, with no block.
SHORT_CALL_FACTOR = 0.5
#: Share of a report of a call that began so long before it.
OLD_CALL_DAYS, OLD_CALL_FACTOR = 7, 0.5
#: Beta prior of a reporter: four in five reports of a new one are taken to be right.
PRIOR_RIGHT, PRIOR_WRONG = 4.0, 1.0
#: More independent weight than that of two reporters adds nothing to the rank: colluders of separate devices can add
#: reports, but cannot remove the partners who had nothing to report. It counts again beyond that of twenty.
RANK_WEIGHT, MASS_WEIGHT = 1.6, 16.0
#: Added to the rank where pairing is held, so that what holds a learner is reviewed first.
HOLD_RANK = 100.0
#: Evidence that holds without a record: seven new reporters who count apart, of at least so many partners, of whom at
#: least this share reported. Chosen by `bench/safety`, with other seeds than those of its results.
HOLD_WEIGHT, HOLD_PARTNERS, HOLD_SHARE = 5.0, 8, 0.4
#: For a hold by a record nothing is assumed: only reviewed reports count, and the record is at least this.
HOLD_RECORD = 0.85
#: And the share of partners who reported is not far below that of learners who harass.
HOLD_RECORD_SHARE = 0.1
#: Accounts that were registered on one day count together while they are younger than this at their reports.
YOUNG_ACCOUNT = timedelta(days=30)


class HoldGround(enum.StrEnum):
    """Why an urgent report may hold pairing: its reason alone, strong evidence, or the record of its reporter."""

    REASON = "reason"
    EVIDENCE = "evidence"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Record:
    """Reviewed reports of a reporter: those that led to a measure, and those that were dismissed."""

    confirmed: int = 0
    dismissed: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """An open report with what its weight depends on. `call_seconds` is None for a call that never connected."""

    reporter_id: uuid.UUID
    reason: str
    is_urgent: bool
    call_seconds: int | None
    call_days: int
    has_block: bool
    device: str | None
    network: str | None
    registered_at: datetime
    reported_at: datetime
    record: Record
    #: Other learners whom the reporter has reported, and whose report is not confirmed.
    also_reported: frozenset[uuid.UUID] = frozenset()
    #: Whether the reporter's account was deleted, and its traits with it.
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the open reports of a learner come to.

    `total`: the sum of independent weights. `rank`: the place in the review queue, without a hold. `ground`: why
    pairing may be held, None if not. `holders`: reporters of urgent, full reports whose record is proven.
    """

    total: float
    rank: float
    ground: HoldGround | None = None
    holders: frozenset[uuid.UUID] = frozenset()

    @property
    def keeps_hold(self) -> bool:
        """Whether a hold goes on: the review of another report lowers the share, and says nothing about this one."""
        return self.ground is not None or bool(self.holders)


def weigh(report: Evidence) -> float:
    """Weigh one report, between 0 and 1."""
    return _weigh_call(report) * get_trust(report.record)


def get_trust(record: Record) -> float:
    """Return the expected share of a reporter's reports that are right: the mean of the Beta posterior."""
    right = PRIOR_RIGHT + record.confirmed
    return right / (right + PRIOR_WRONG + record.dismissed)


def is_proven(record: Record) -> bool:
    """Return whether a reporter's word may hold pairing.

    The record is the Beta posterior of an unknown reporter (uniform prior) over reviewed reports alone: five that were
    confirmed, and none dismissed, suffice.
    """
    return (1 + record.confirmed) / (2 + record.confirmed + record.dismissed) >= HOLD_RECORD


def assess(reports: Sequence[Evidence], partners: int, hold_reasons: Container[str] = ()) -> Assessment:
    """Assess the open reports of one learner, who had calls with `partners` different learners lately.

    One full report for a reason of `hold_reasons` may hold pairing, by any reporter.
    """
    clusters = find_clusters(reports)
    total = sum(max(map(weigh, cluster)) for cluster in clusters)
    counted = min(total, RANK_WEIGHT) + max(0.0, total - MASS_WEIGHT)
    # Fewer partners than reporters: their calls never connected.
    partners = max(partners, len(clusters))
    # The share of partners with something to report: the mean of a Beta posterior again, with a uniform prior.
    rank = counted * (1 + counted) / (2 + partners)
    urgent = [each for each in reports if each.is_urgent and _weigh_call(each) == 1.0]
    ground = _find_ground(urgent, total, partners, len(clusters), hold_reasons)
    return Assessment(total, rank, ground, frozenset(each.reporter_id for each in urgent if is_proven(each.record)))


def _find_ground(
    urgent: Sequence[Evidence], total: float, partners: int, reporters: int, hold_reasons: Container[str]
) -> HoldGround | None:
    """Find why pairing may be held, by urgent reports that count in full."""
    if not urgent:
        return None
    if any(each.reason in hold_reasons for each in urgent):
        return HoldGround.REASON
    share = reporters / partners
    if total >= HOLD_WEIGHT and partners >= HOLD_PARTNERS and share >= HOLD_SHARE:
        return HoldGround.EVIDENCE
    if share >= HOLD_RECORD_SHARE and any(is_proven(each.record) for each in urgent):
        return HoldGround.RECORD
    return None


def find_heaviest(reports: Sequence[Evidence], reasons: Container[str]) -> set[int]:
    """Find the reports for some reasons whose weights count: of each cluster the heaviest. Return their positions."""
    positions = {id(each): position for position, each in enumerate(reports)}
    found = set()
    for cluster in find_clusters(reports):
        if about := [each for each in cluster if each.reason in reasons]:
            found.add(positions[id(max(about, key=weigh))])
    return found


def find_clusters(reports: Sequence[Evidence]) -> list[list[Evidence]]:
    """Group the reports of one learner by reporters who count once: one account, device, network, day or target."""
    parents = list(range(len(reports)))

    def find_root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    members: Mapping[Hashable, list[int]] = defaultdict(list)
    for index, report in enumerate(reports):
        for trait in _list_traits(report):
            members[trait].append(index)
    for first, *others in members.values():
        for other in others:
            parents[find_root(other)] = find_root(first)
    clusters: dict[int, list[Evidence]] = defaultdict(list)
    for index, report in enumerate(reports):
        clusters[find_root(index)].append(report)
    return list(clusters.values())


def _list_traits(report: Evidence) -> Iterable[Hashable]:
    """List what two reporters have in common if they count together."""
    yield "account", report.reporter_id
    if report.device:
        yield "device", report.device
    if report.network:
        yield "network", report.network
    # Nobody counts twice by deleting the accounts that would show it.
    if report.is_deleted:
        yield "deleted", True
    if report.reported_at - report.registered_at < YOUNG_ACCOUNT:
        day: date = report.registered_at.date()
        yield "day", day
    for each in report.also_reported:
        yield "target", each


def _weigh_call(report: Evidence) -> float:
    is_full = report.has_block or (report.call_seconds or 0) >= FULL_CALL_SECONDS
    age = OLD_CALL_FACTOR if report.call_days > OLD_CALL_DAYS else 1.0
    return (1.0 if is_full else SHORT_CALL_FACTOR) * age
