"""Weights of reports: the call, the reporter's record, reporters who count once, the rank, and holds."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.safety.report_evidence import find_network, hash_trait
from services.safety.report_weights import Evidence, Record, assess, find_clusters, get_trust, may_hold, weigh

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
PROVEN = Record(confirmed=3)


def make_evidence(number: int = 0, **more: Any) -> Evidence:
    """Make a full report by a reporter of long standing, who has nothing in common with those of other numbers."""
    evidence = Evidence(
        reporter_id=uuid.UUID(int=number),
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
        ({"is_urgent": True, "record": Record(confirmed=2)}, False),
        ({"is_urgent": True, "record": Record(confirmed=3, dismissed=1)}, False),
        ({"is_urgent": True, "record": Record(confirmed=8, dismissed=1)}, True),
        ({"is_urgent": True}, False),
    ],
)
def test_hold_needs_an_urgent_report_and_a_record(more: dict[str, Any], holds: bool) -> None:
    assert may_hold(make_evidence(**more)) == holds
    assert assess([make_evidence(1), make_evidence(**more)], 10).holds == holds


def test_no_number_of_new_reporters_holds() -> None:
    assert not assess([make_evidence(each, is_urgent=True, has_block=True) for each in range(500)], 500).holds


def test_rank_counts_two_reporters_or_very_many() -> None:
    def rank(count: int) -> float:
        return assess([make_evidence(each) for each in range(count)], 30).rank

    assert rank(1) < rank(2) == rank(5) == rank(19) < rank(30)


def test_held_learner_comes_first() -> None:
    held = assess([make_evidence(is_urgent=True, record=PROVEN)], 500)
    assert held.holds and held.rank > assess([make_evidence(each) for each in range(40)], 40).rank


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
