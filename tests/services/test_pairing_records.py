"""Rules of the record of matches: warnings, rests, and that time and good calls forgive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import MatchOutcome
from services.calls.pairing_records import (
    HALF_LIFE,
    REST_LENGTHS,
    REST_MEMORY,
    REST_POINTS,
    Consequence,
    Record,
    add_outcome,
    decay,
    take_back,
)

START = datetime(2026, 12, 1, 12, tzinfo=UTC)
BAD, GOOD = MatchOutcome.NOT_JOINED, MatchOutcome.GOOD
MINUTE = timedelta(minutes=1)


def play(
    record: Record, outcome: MatchOutcome, at: datetime, length: timedelta = MINUTE
) -> tuple[Record, Consequence | None]:
    """Add a match that begins at a time."""
    return add_outcome(record, outcome, began_at=at, ended_at=at + length)


def play_all(outcomes: list[MatchOutcome], every: timedelta) -> tuple[Record, list[Consequence | None]]:
    record, followed = Record(0.0, START), []
    for number, outcome in enumerate(outcomes):
        record, consequence = play(record, outcome, START + number * every)
        followed.append(consequence)
    return record, followed


def test_points_halve_with_time() -> None:
    assert decay(2.0, HALF_LIFE) == 1.0 and decay(2.0, timedelta()) == 2.0
    assert decay(2.0, -HALF_LIFE) == 2.0, "a clock that is behind gives no points"


def test_second_bad_match_warns_and_third_rests() -> None:
    record, followed = play_all([BAD] * 3, every=timedelta(minutes=20))
    assert followed == [None, "warning", "rest"]
    assert record.resting_until == START + 2 * timedelta(minutes=20) + MINUTE + REST_LENGTHS[0]


def test_rests_grow_and_are_forgiven() -> None:
    """5, 15, 60 and again 60 minutes; after a week without one, 5 again."""
    record, at = Record(0.0, START), START
    lengths: list[timedelta] = []
    while len(lengths) < 4:
        record, consequence = play(record, BAD, at)
        if consequence == "rest":
            assert record.resting_until is not None
            lengths.append(record.resting_until - (at + MINUTE))
            at = record.resting_until
        at += MINUTE
    assert lengths == [*REST_LENGTHS, REST_LENGTHS[-1]]
    at += REST_MEMORY + timedelta(hours=1)
    followed: list[Consequence | None] = []
    for _ in range(3):
        record, consequence = play(record, BAD, at)
        followed.append(consequence)
        at += 2 * MINUTE
    assert followed[-1] == "rest" and "warning" in followed
    assert record.resting_until is not None and record.resting_until - (at - MINUTE) == REST_LENGTHS[0]


def test_warning_that_could_not_be_heeded_leads_to_no_rest() -> None:
    """Three ends that are written late, as after an outage, warn once: their matches began before the warning."""
    record, followed = Record(0.0, START), []
    for _ in range(4):
        record, consequence = add_outcome(record, BAD, began_at=START, ended_at=START + MINUTE)
        followed.append(consequence)
    assert followed == [None, "warning", None, None]


def test_rest_is_not_made_longer_while_it_lasts() -> None:
    record, _ = play_all([BAD] * 3, every=timedelta(minutes=20))
    assert record.resting_until is not None
    after, consequence = play(record, BAD, record.resting_until - 2 * MINUTE)
    assert consequence is None and after.resting_until == record.resting_until and after.rests == record.rests


def test_failure_now_and_then_leads_to_nothing() -> None:
    _, followed = play_all([BAD, GOOD, GOOD] * 100, every=timedelta(minutes=15))
    assert set(followed) == {None}
    _, followed = play_all([BAD] * 30, every=timedelta(days=8))
    assert set(followed) == {None}


@given(st.lists(st.tuples(st.sampled_from([GOOD, GOOD, BAD]), st.integers(0, 3 * 24 * 60)), max_size=60))
def test_no_rest_without_a_warning_and_three_points(matches: list[tuple[MatchOutcome, int]]) -> None:
    record, at = Record(0.0, START), START
    warned: list[datetime] = []
    for outcome, minutes in matches:
        at += timedelta(minutes=minutes)
        record, consequence = play(record, outcome, at)
        assert record.points >= 0
        if consequence == "warning":
            warned.append(at + MINUTE)
        elif consequence == "rest":
            assert outcome is BAD and record.points >= REST_POINTS
            assert warned and at > warned[-1] >= at - timedelta(days=7, minutes=1)
            assert sum(one is BAD for one, _ in matches) >= 3


def test_point_that_is_taken_back_ends_its_rest() -> None:
    record, _ = play_all([BAD] * 3, every=timedelta(minutes=20))
    ended = START + 2 * timedelta(minutes=20) + MINUTE
    after = take_back(record, ended_at=ended, now=ended + MINUTE, ends_rest=True)
    assert after.points == pytest.approx(record.points - 1, abs=0.01)
    assert after.resting_until == ended + MINUTE and after.rests == 0
    kept = take_back(record, ended_at=ended, now=ended + MINUTE, ends_rest=False)
    assert kept == record._replace(points=after.points, points_at=after.points_at)


@given(st.integers(0, 4), st.integers(0, 10_000))
def test_points_are_never_negative(bad: int, minutes: int) -> None:
    record, _ = play_all([BAD] * bad, every=MINUTE)
    for _ in range(6):
        record = take_back(record, ended_at=START, now=START + timedelta(minutes=minutes + 10), ends_rest=True)
        assert record.points >= 0
