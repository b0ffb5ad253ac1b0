"""Weights of reports: the call, the reporter's record, reporters who count once, the rank, and holds."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.safety.report_evidence import find_network, hash_trait
from services.safety.report_weights import (
    HOLD_RANK,
    Evidence,
    HoldGround,
    Record,
    assess,
    find_clusters,
    find_heaviest,
    get_trust,
    weigh,
)

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
PROVEN = Record(confirmed=5)


def make_evidence(number: int = 0, **more: Any) -> Evidence:
    """Make a full report by a reporter of long standing, who has nothing in common with those of other numbers."""
    evidence = Evidence(
        reporter_id=uuid.UUID(int=number),
        reason="threat" if more.get("is_urgent") else "spam",
        is_urgent=False,
        call_seconds=300,
        call_days=0,
        has_block=False,
        device=f"device {number}",
        network=f"network {number}",
        registered_at=NOW - timedelta(days=100 + number),
        reported_at=NOW,
        record=Record(),
    )
    return dataclasses.replace(evidence, **more)


@pytest.mark.parametrize(
    ("more", "weight"),
    [
        ({}, 0.8),
        ({"call_seconds": 30}, 0.8),
        ({"call_seconds": 29}, 0.4),
        ({"call_seconds": None}, 0.4),
        ({"call_seconds": None, "has_block": True}, 0.8),
        ({"call_days": 7}, 0.8),
        ({"call_days": 8}, 0.4),
        ({"call_days": 8, "call_seconds": 5}, 0.2),
    ],
)
def test_weight_depends_on_the_call(more: dict[str, Any], weight: float) -> None:
    assert weigh(make_evidence(**more)) == pytest.approx(weight)


def test_trust_follows_the_reviewed_reports() -> None:
    assert get_trust(Record()) == pytest.approx(0.8)
    assert get_trust(Record(confirmed=5)) == pytest.approx(0.9)
    assert get_trust(Record(dismissed=5)) == pytest.approx(0.4)
    assert get_trust(Record(1000, 0)) < 1 and get_trust(Record(0, 1000)) > 0


@pytest.mark.parametrize(
    "common",
    [
        {"reporter_id": uuid.UUID(int=9)},
        {"device": "shared"},
        {"network": "shared"},
        {"registered_at": NOW - timedelta(days=3)},
        {"also_reported": frozenset({uuid.UUID(int=77)})},
    ],
)
def test_reporters_with_something_in_common_count_once(common: dict[str, Any]) -> None:
    apart = [make_evidence(each) for each in range(4)]
    assert len(find_clusters(apart)) == 4
    assert assess(apart, 4).total == pytest.approx(3.2)
    together = [dataclasses.replace(each, **common) for each in apart]
    assert len(find_clusters(together)) == 1
    assert assess(together, 4).total == pytest.approx(0.8)


def test_clusters_join_by_different_traits() -> None:
    chain = [
        make_evidence(0, device="a"),
        make_evidence(1, device="a", network="b"),
        make_evidence(2, network="b"),
        make_evidence(3),
    ]
    assert sorted(map(len, find_clusters(chain))) == [1, 3]


def test_unknown_traits_join_nobody() -> None:
    unknown = [make_evidence(each, device=None, network=None) for each in range(3)]
    assert len(find_clusters(unknown)) == 3


def test_old_accounts_of_one_day_count_apart() -> None:
    day = NOW - timedelta(days=31)
    assert len(find_clusters([make_evidence(each, registered_at=day) for each in range(3)])) == 3


def test_partners_who_did_not_report_lower_the_rank() -> None:
    three = [make_evidence(each) for each in range(3)]
    assert assess(three, 3).rank > 5 * assess(three, 60).rank
    assert assess(three, 3).total == assess(three, 60).total, "the flag does not depend on them"
    # Fewer partners than reporters: their calls never connected.
    assert assess(three, 0) == assess(three, 3)


@pytest.mark.parametrize(
    ("more", "holds"),
    [
        ({"is_urgent": True, "record": PROVEN}, True),
        ({"is_urgent": True, "record": PROVEN, "call_seconds": None, "has_block": True}, True),
        ({"is_urgent": True, "record": PROVEN, "call_seconds": 5}, False),
        ({"is_urgent": True, "record": PROVEN, "call_days": 8}, False),
        ({"is_urgent": False, "record": PROVEN}, False),
        ({"is_urgent": True, "record": Record(confirmed=4)}, False),
        ({"is_urgent": True, "record": Record(confirmed=5, dismissed=1)}, False),
        ({"is_urgent": True, "record": Record(confirmed=11, dismissed=1)}, True),
        ({"is_urgent": True}, False),
    ],
)
def test_record_holds_by_an_urgent_full_report(more: dict[str, Any], holds: bool) -> None:
    for reports in ([make_evidence(**more)], [make_evidence(1), make_evidence(**more)]):
        found = assess(reports, 10)
        assert found.ground == (HoldGround.RECORD if holds else None)
        assert found.holders == (frozenset({uuid.UUID(int=0)}) if holds else frozenset())


def test_record_does_not_hold_against_many_partners() -> None:
    proven = make_evidence(is_urgent=True, record=PROVEN)
    assert [assess([proven], partners).ground for partners in (0, 10, 11)] == [HoldGround.RECORD] * 2 + [None]
    two = [proven, make_evidence(1)]
    assert [assess(two, partners).ground for partners in (20, 21)] == [HoldGround.RECORD, None]
    # What holds already goes on: the review of the other report lowers the share.
    assert assess([proven], 20).keeps_hold and not assess([make_evidence(1)], 20).keeps_hold


def make_urgent(count: int, **more: Any) -> list[Evidence]:
    """Make reports of so many reporters who count apart, one of them urgent."""
    return [make_evidence(0, is_urgent=True, **more), *(make_evidence(each, **more) for each in range(1, count))]


@pytest.mark.parametrize(
    ("count", "partners", "more", "holds"),
    [
        (7, 10, {}, True),
        (7, 17, {}, True),
        # An established learner has many partners without anything to report.
        (7, 18, {}, False),
        # A new learner against five colluders, with an honest report that is wrong.
        (6, 8, {}, False),
        (7, 7, {}, False),
        (7, 10, {"call_seconds": 5}, False),
        (7, 10, {"device": "shared"}, False),
        (6, 10, {"record": Record(confirmed=2)}, True),
        (300, 1000, {}, False),
    ],
)
def test_strong_evidence_holds_without_a_record(count: int, partners: int, more: dict[str, Any], holds: bool) -> None:
    assert assess(make_urgent(count, **more), partners).ground == (HoldGround.EVIDENCE if holds else None)


def test_evidence_holds_by_an_urgent_full_report_alone() -> None:
    others = [make_evidence(each) for each in range(1, 9)]
    for first, holds in (({}, False), ({"is_urgent": True, "call_seconds": 5}, False), ({"is_urgent": True}, True)):
        found = assess([make_evidence(0, **first), *others], 10)
        assert found.ground == (HoldGround.EVIDENCE if holds else None)


def test_listed_reason_holds_by_one_full_report() -> None:
    one, short = make_evidence(is_urgent=True), make_evidence(is_urgent=True, call_seconds=5)
    assert assess([one], 500, {"threat"}).ground == HoldGround.REASON
    assert assess([one], 500, {"minor_safety"}).ground is None
    assert assess([short], 500, {"threat"}).ground is None


def test_reporters_who_deleted_their_accounts_count_once() -> None:
    gone = [make_evidence(each, device=None, network=None, is_deleted=True) for each in range(3)]
    assert len(find_clusters(gone)) == 1 and assess([*gone, make_evidence(9)], 4).total == pytest.approx(1.6)


def test_heaviest_report_of_each_cluster_counts_for_pictures() -> None:
    reports = [
        make_evidence(0, reason="inappropriate", call_seconds=5, device="a"),
        make_evidence(1, reason="minor_safety", device="a"),
        make_evidence(2, reason="inappropriate"),
        make_evidence(3, reason="spam"),
    ]
    assert find_heaviest(reports, {"inappropriate", "minor_safety"}) == {1, 2}
    assert find_heaviest((), {"inappropriate"}) == set()


def test_rank_counts_two_reporters_or_very_many() -> None:
    def rank(count: int) -> float:
        return assess([make_evidence(each) for each in range(count)], 30).rank

    assert rank(1) < rank(2) == rank(5) == rank(19) < rank(30)


def test_rank_of_a_hold_comes_first() -> None:
    most = assess([make_evidence(each) for each in range(100)], 100)
    assert assess([make_evidence(is_urgent=True)], 500).rank + HOLD_RANK > most.rank


def test_nothing_pending_is_no_weight() -> None:
    assert assess((), 0) == (assess((), 50)) and assess((), 0).total == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.99", "203.0.113.0/24"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", None),
        ("", None),
    ],
)
def test_network_of_an_address(address: str, network: str | None) -> None:
    assert find_network(address) == network


def test_trait_hash_needs_the_key() -> None:
    one = hash_trait(b"key", "network", "203.0.113.0/24")
    assert len(one) == 32 and one == hash_trait(b"key", "network", "203.0.113.0/24")
    assert len({one, hash_trait(b"other", "network", "203.0.113.0/24"), hash_trait(b"key", "device", "x")}) == 3
