"""Streaks and totals of practice; days are those of the learner's own time zone."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from models import Profile

#: Milestones that are achievements: days in a row, and calls in all.
STREAK_MILESTONES_DAYS = (3, 7, 30, 100)
CALL_MILESTONES = (10, 50, 100, 500)


@dataclass(frozen=True, slots=True)
class Achievement:
    kind: Literal["streak", "sessions"]
    count: int


def get_local_day(at: datetime, timezone: str | None) -> date:
    """Return the calendar day of an instant in the learner's time zone; UTC if it is unknown."""
    try:
        zone = zoneinfo.ZoneInfo(timezone) if timezone else UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return at.astimezone(zone).date()


def compute_streak(profile: Profile, at: datetime) -> int:
    """Compute the days in a row with a call: the same day keeps the streak, the next adds one, a gap resets to one."""
    if profile.last_session_at is None:
        return 1
    last, today = get_local_day(profile.last_session_at, profile.timezone), get_local_day(at, profile.timezone)
    if today - last == timedelta(days=1):
        return profile.streak_days + 1
    # A day earlier than the last is a learner who flew west: the same streak.
    return max(1, profile.streak_days) if today <= last else 1


def add_call(profile: Profile, at: datetime, seconds: int) -> None:
    """Count a call that ended at `at` and lasted `seconds`."""
    profile.streak_days = compute_streak(profile, at)
    profile.total_sessions += 1
    # Half a minute counts as one, always: `round` would take 90 seconds for two minutes, and 30 for none.
    profile.total_practice_mins += (seconds + 30) // 60
    # Calls are not always counted in the order in which they ended.
    profile.last_session_at = max(at, profile.last_session_at or at)


def list_achievements(profile: Profile) -> list[Achievement]:
    """List the milestones that a profile is at; that of a streak appears with each call of the day."""
    reached = [Achievement("streak", profile.streak_days)] if profile.streak_days in STREAK_MILESTONES_DAYS else []
    if profile.total_sessions in CALL_MILESTONES:
        reached.append(Achievement("sessions", profile.total_sessions))
    return reached
