"""Streaks and totals of practice, counted when a call ends; days are those of the learner's own time zone."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import CallSession, Profile, User
from services.messaging import notification_templates, notifications
from services.messaging.notification_templates import NotificationTemplate

#: Milestones that are achievements: days in a row, and calls in all.
STREAK_MILESTONES_DAYS = (3, 7, 30, 100)
CALL_MILESTONES = (10, 50, 100, 500)


async def count_call(db: AsyncSession, call: CallSession) -> None:
    """Add a call to the statistics of both profiles, and notify of achievements, in the transaction that ends it."""
    assert call.ended_at is not None and call.duration_seconds is not None
    # Always in the same order, so that two calls that end at once cannot wait for each other.
    profiles = (
        select(Profile)
        .join(User, col(User.id) == col(Profile.user_id))
        # What is left of a deleted account stays as it is.
        .where(col(Profile.user_id).in_([call.user_a_id, call.user_b_id]), col(User.deleted_at).is_(None))
        .order_by(col(Profile.user_id))
        .with_for_update(of=Profile)
        .execution_options(populate_existing=True)
    )
    for profile in (await db.exec(profiles)).all():
        add_call(profile, call.ended_at, call.duration_seconds)
        db.add(profile)
        for achievement in list_achievements(profile):
            await notifications.notify_user(db, profile.user_id, achievement)


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


def list_achievements(profile: Profile) -> list[NotificationTemplate]:
    """List the milestones that a profile is at; that of a streak appears with each call of the day."""
    days, calls = profile.streak_days, profile.total_sessions
    reached = [notification_templates.achievement("streak", days)] if days in STREAK_MILESTONES_DAYS else []
    if calls in CALL_MILESTONES:
        reached.append(notification_templates.achievement("sessions", calls))
    return reached
