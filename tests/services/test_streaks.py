"""Streaks and statistics: days are those of the learner's own time zone."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models import Profile
from services.calls import streaks

ZONES = [
    "Asia/Tokyo",
    "America/Sao_Paulo",
    "Pacific/Kiritimati",
    "America/New_York",
    "Europe/London",
    "Asia/Kathmandu",
    "Pacific/Apia",
    None,
    "Atlantis/Nowhere",
]
KNOWN = [zone for zone in ZONES if zone not in (None, "Atlantis/Nowhere")]


def learner(zone: str | None = None) -> Profile:
    return Profile(user_id=uuid.uuid4(), timezone=zone)


def call(profile: Profile, at: datetime, seconds: int = 300) -> int:
    streaks.add_call(profile, at, seconds)
    return profile.streak_days


def at(zone: str | None, year: int, month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    """An instant by the clock on the wall of a zone, as PostgreSQL would give it."""
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC)


def longest_run_to(days: set[date], last: date) -> int:
    """The model: how many days in a row, back from `last`, are in the set. Knows nothing of instants or zones."""
    length = 0
    while last - timedelta(days=length) in days:
        length += 1
    return length


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seed", range(3))
def test_year_of_calls_matches_a_calendar(zone: str | None, seed: int) -> None:
    chance = random.Random(f"{zone} {seed}")
    wall = ZoneInfo(zone) if zone in KNOWN and zone else ZoneInfo("UTC")
    profile, crossed, calls = learner(zone), set[date](), 0
    now = datetime(2026, 1, 1, 6, tzinfo=UTC)
    longest = 0
    while now < datetime(2027, 1, 2, tzinfo=UTC):
        crossed.add(now.astimezone(wall).date())
        calls += 1
        expected = longest_run_to(crossed, now.astimezone(wall).date())
        assert call(profile, now) == expected, f"{now} in {zone}"
        longest = max(longest, expected)
        # Mostly a day later, give or take; at times at once, at times after a pause.
        hours = chance.choice([chance.uniform(0, 3), chance.uniform(18, 30), chance.uniform(22, 26), 24, 24])
        now += timedelta(hours=hours if chance.random() > 0.02 else chance.uniform(40, 200))
    assert profile.total_sessions == calls and profile.total_practice_mins == 5 * calls
    assert longest > 5, "a year in which nothing happened proves nothing"


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "America/Sao_Paulo", "Asia/Kathmandu"])
def test_daily_call_at_one_local_hour_keeps_the_streak(zone: str) -> None:
    for hour, minute in ((0, 0), (0, 30), (2, 30), (23, 30), (23, 59)):
        profile = learner(zone)
        for day in range(365):
            on = date(2026, 1, 1) + timedelta(days=day)
            assert call(profile, at(zone, on.year, on.month, on.day, hour, minute)) == day + 1


@pytest.mark.parametrize("zone", ZONES)
def test_same_day_next_day_and_gap(zone: str | None) -> None:
    profile, here = learner(zone), zone if zone in KNOWN else None
    steps = [(3, 8, 1), (3, 9, 1), (3, 23, 1), (4, 0, 2), (4, 23, 2), (5, 0, 3), (7, 0, 1), (8, 23, 2), (10, 0, 1)]
    assert [call(profile, at(here, 2026, 5, day, hour)) for day, hour, _ in steps] == [each[2] for each in steps]


def test_midnight_counts_in_the_users_time_zone() -> None:
    before, after = at("Asia/Tokyo", 2026, 6, 1, 23, 59), at("Asia/Tokyo", 2026, 6, 2, 0, 1)
    for zone, expected in (("Asia/Tokyo", 2), ("Europe/London", 1), (None, 1), ("Atlantis/Nowhere", 1)):
        profile = learner(zone)
        assert (call(profile, before), call(profile, after)) == (1, expected)


def test_calendar_days_count_not_hours() -> None:
    profile = learner("America/Sao_Paulo")
    call(profile, at("America/Sao_Paulo", 2026, 6, 1, 0, 1))
    assert call(profile, at("America/Sao_Paulo", 2026, 6, 2, 23, 59)) == 2
    assert call(profile, at("America/Sao_Paulo", 2026, 6, 4, 0, 1)) == 1


@pytest.mark.parametrize(
    ("zone", "day"), [("America/New_York", date(2026, 3, 8)), ("America/New_York", date(2026, 11, 1))]
)
def test_daylight_saving_day_is_one_day(zone: str, day: date) -> None:
    profile = learner(zone)
    for offset, (hour, expected) in enumerate(((23, 1), (0, 2), (0, 3))):
        on = day + timedelta(days=offset - 1)
        assert call(profile, at(zone, on.year, on.month, on.day, hour, 30)) == expected


def test_move_west_into_yesterday_keeps_the_streak() -> None:
    profile = learner("Pacific/Kiritimati")
    for day in (1, 2, 3):
        call(profile, at("Pacific/Kiritimati", 2026, 7, day, 8))
    profile.timezone = "America/New_York"
    assert call(profile, at("Pacific/Kiritimati", 2026, 7, 3, 9)) == 3
    assert call(profile, at("America/New_York", 2026, 7, 3, 9)) == 4


def test_move_east_overnight_continues_the_streak() -> None:
    profile = learner("America/New_York")
    assert call(profile, at("America/New_York", 2026, 7, 1, 9)) == 1
    profile.timezone = "Asia/Tokyo"
    assert call(profile, at("Asia/Tokyo", 2026, 7, 2, 22)) == 2


def test_late_counted_call_keeps_the_streak() -> None:
    profile = learner("Europe/London")
    for day in (1, 2, 3):
        call(profile, at("Europe/London", 2026, 7, day))
    assert call(profile, at("Europe/London", 2026, 7, 2, 13)) == 3
    assert profile.last_session_at == at("Europe/London", 2026, 7, 3)
    assert call(profile, at("Europe/London", 2026, 7, 3, 20)) == 3
    assert call(profile, at("Europe/London", 2026, 7, 4)) == 4


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(0, 0), (29, 0), (30, 1), (59, 1), (60, 1), (89, 1), (90, 2), (150, 3), (7200, 120)]
)
def test_half_a_minute_rounds_up(seconds: int, minutes: int) -> None:
    profile = learner()
    call(profile, datetime(2026, 1, 1, tzinfo=UTC), seconds)
    assert profile.total_practice_mins == minutes and profile.total_sessions == 1
