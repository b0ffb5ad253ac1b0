"""Times of appointments: the instant that a proposal names, and which reminders are due at an instant."""

from __future__ import annotations

import enum
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta

import sqlalchemy as sa
from sqlmodel import col

import errors
import time_zones
from models import Appointment, AppointmentState

#: How far ahead an appointment may be: a year, also a leap year.
MAX_AHEAD = timedelta(days=366)
#: How long before the beginning each reminder is due: exact times, for the clocks of the two may change between.
DAY_BEFORE, SOON_BEFORE = timedelta(days=1), timedelta(minutes=10)
#: A reminder of the day before that is later than this is left out: the other one follows.
DAY_REMINDER_LATEST = timedelta(hours=1)

_PAST = "'localTime' is in the past; propose a later time"
_TOO_FAR = "'localTime' is more than a year ahead; propose an earlier time"


class Reminder(enum.StrEnum):
    DAY = "day"
    SOON = "soon"


def find_start(local_time: str, timezone: str, utc_offset: str | None) -> tuple[datetime, datetime]:
    """Return the local time (naive) and the instant (UTC) of a proposal; raise RequestInvalid with what to send."""
    zone = time_zones.find_zone(timezone)
    if zone is None:
        raise errors.RequestInvalid("'timezone' is not an IANA time zone; send a name such as Europe/Berlin")
    try:
        local = datetime.fromisoformat(local_time)
    except ValueError:
        raise errors.RequestInvalid("'localTime' is not a time of the calendar; send it as 2026-12-01T18:00") from None
    # Years at the ends of the calendar have no instant in some zones.
    if local.year == MINYEAR:
        raise errors.RequestInvalid(_PAST)
    if local.year == MAXYEAR:
        raise errors.RequestInvalid(_TOO_FAR)
    instants = time_zones.find_instants(local, zone)
    if not instants:
        raise errors.RequestInvalid(f"'localTime' does not exist in {timezone}: the clocks skip it; send another time")
    if utc_offset is None:
        return local, instants[0]
    offsets = {time_zones.format_offset(local.replace(tzinfo=UTC) - each): each for each in instants}
    if utc_offset not in offsets:
        raise errors.RequestInvalid(f"'utcOffset' is not that of 'localTime' in {timezone}: {' or '.join(offsets)}")
    return local, offsets[utc_offset]


def check_start(starts_at: datetime, now: datetime) -> None:
    """Raise RequestInvalid for a beginning that is past, or more than a year ahead."""
    if starts_at <= now:
        raise errors.RequestInvalid(_PAST)
    if starts_at > now + MAX_AHEAD:
        raise errors.RequestInvalid(_TOO_FAR)


def list_due_reminders(appointment: Appointment, now: datetime) -> list[Reminder]:
    """List the reminders of an appointment that are due at `now` and not written.

    None is due that was to come before the appointment was accepted, and none from the beginning on.
    """
    starts_at, accepted_at = appointment.starts_at, appointment.answered_at
    if appointment.state is not AppointmentState.ACCEPTED or accepted_at is None:
        return []
    due = []
    day, soon = starts_at - DAY_BEFORE, starts_at - SOON_BEFORE
    if appointment.day_reminded_at is None and accepted_at <= day <= now < starts_at - DAY_REMINDER_LATEST:
        due.append(Reminder.DAY)
    if appointment.soon_reminded_at is None and accepted_at <= soon <= now < starts_at:
        due.append(Reminder.SOON)
    return due


def has_due_reminder(now: datetime) -> sa.ColumnElement[bool]:
    """Return the rule of `list_due_reminders` as a condition on a row."""
    starts_at, accepted_at = col(Appointment.starts_at), col(Appointment.answered_at)
    day = sa.and_(
        col(Appointment.day_reminded_at).is_(None),
        accepted_at <= starts_at - DAY_BEFORE,
        starts_at <= now + DAY_BEFORE,
        starts_at > now + DAY_REMINDER_LATEST,
    )
    soon = sa.and_(
        col(Appointment.soon_reminded_at).is_(None),
        accepted_at <= starts_at - SOON_BEFORE,
        starts_at <= now + SOON_BEFORE,
        starts_at > now,
    )
    return sa.and_(col(Appointment.state) == AppointmentState.ACCEPTED, sa.or_(day, soon))
