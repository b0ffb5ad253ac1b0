"""Owns what practice adds up to: days are those of the learner's own time zone."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from models import Profile

#: What is worth telling: days in a row, and calls in all.
STREAKS = (3, 7, 30, 100)
SESSIONS = (10, 50, 100, 500)


@dataclass(frozen=True, slots=True)
class Achievement:
    kind: Literal["streak", "sessions"]
    count: int


def local_day(at: datetime, timezone: str | None) -> date:
    """The calendar day of an instant where the learner lives; UTC where that is unknown."""
    try:
        zone = zoneinfo.ZoneInfo(timezone) if timezone else UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return at.astimezone(zone).date()


def streak_after(profile: Profile, at: datetime) -> int:
    """Days in a row with a call: the same day keeps the streak, the next adds one, a gap starts again at one."""
    if profile.last_session_at is None:
        return 1
    last, today = local_day(profile.last_session_at, profile.timezone), local_day(at, profile.timezone)
    if today - last == timedelta(days=1):
        return profile.streak_days + 1
    # A day earlier than the last is a learner who flew west: the same streak.
    return max(1, profile.streak_days) if today <= last else 1


def add_call(profile: Profile, at: datetime, seconds: int) -> None:
    """Count a call that ended at `at` and lasted `seconds`."""
    profile.streak_days = streak_after(profile, at)
    profile.total_sessions += 1
    # Half a minute counts as one, always: `round` would take 90 seconds for two minutes, and 30 for none.
    profile.total_practice_mins += (seconds + 30) // 60
    # Calls are not always counted in the order in which they ended.
    profile.last_session_at = max(at, profile.last_session_at or at)


def achievements(profile: Profile) -> list[Achievement]:
    """What a learner has reached; that of a streak again with each call of the day, so that others grant it once."""
    reached = [Achievement("streak", profile.streak_days)] if profile.streak_days in STREAKS else []
    if profile.total_sessions in SESSIONS:
        reached.append(Achievement("sessions", profile.total_sessions))
    return reached
