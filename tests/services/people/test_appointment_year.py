"""A year of appointments in every time zone: no instant, reminder or text is an hour off, nor a minute."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import errors
import time_zones
from models import Appointment, AppointmentState
from services.people.appointment_times import Reminder, find_start, list_due_reminders
from tests.services.people.oracle import read_offset, search_instants, write_local

#: From here a year: all changes of clocks that the rules know for it.
BEGINNING = datetime(2026, 11, 30)
DAYS = 366
NAMES = sorted(time_zones.NAMES)
MINUTE, QUARTER, DAY = timedelta(minutes=1), timedelta(minutes=15), timedelta(days=1)


def list_local_times(name: str, chooser: random.Random) -> Iterator[datetime]:
    """Yield a time of each week, and every quarter of an hour around each change of the clocks."""
    before = read_offset(name, (BEGINNING - DAY).replace(tzinfo=UTC))
    for number in range(DAYS):
        day = (BEGINNING + number * DAY).replace(tzinfo=UTC)
        offset = read_offset(name, day)
        if offset != before:
            changed = find_change(name, day - DAY, day)
            around = (changed + min(before, offset)).replace(tzinfo=None)
            yield from (around + each * QUARTER for each in range(-4, 13))
        elif number % 7 == 0:
            yield day.replace(tzinfo=None) + chooser.randrange(24 * 4) * QUARTER
        before = offset


def find_change(name: str, early: datetime, late: datetime) -> datetime:
    """Find the quarter of an hour at which the clocks have changed between two instants."""
    while late - early > QUARTER:
        middle = early + ((late - early) // QUARTER // 2) * QUARTER
        if read_offset(name, middle) == read_offset(name, early):
            early = middle
        else:
            late = middle
    return late


def accept(starts_at: datetime, accepted_at: datetime) -> Appointment:
    return Appointment(
        proposer_id=uuid.uuid4(),
        partner_id=uuid.uuid4(),
        local_time=starts_at.replace(tzinfo=None),
        timezone="UTC",
        zone_version=time_zones.VERSION,
        duration_minutes=30,
        starts_at=starts_at,
        state=AppointmentState.ACCEPTED,
        answered_at=accepted_at,
    )


@pytest.mark.parametrize("part", range(4))
def test_year_in_all_zones_has_no_reminder_an_hour_off(part: int) -> None:
    """Of each appointment the instant, both reminders to the minute, and what two readers' clocks show."""
    chooser = random.Random(part)
    skipped = twice = checked = 0
    for name in NAMES[part::4]:
        for local in list_local_times(name, chooser):
            instants = search_instants(name, local)
            text = local.isoformat(timespec="minutes")
            if not instants:
                skipped += 1
                with pytest.raises(errors.RequestInvalid, match="clocks skip it"):
                    find_start(text, name, None)
                continue
            for at in instants if len(instants) > 1 else ():
                twice += 1
                assert find_start(text, name, time_zones.format_offset(local.replace(tzinfo=UTC) - at)) == (local, at)
            found, starts_at = find_start(text, name, None)
            assert (found, starts_at) == (local, instants[0]), name
            checked += 1
            check_reminders(starts_at)
            reader = chooser.choice(NAMES)
            for zone in {name, reader}:
                shown = time_zones.format_local(starts_at, time_zones.get_zone(zone))
                assert shown == write_local(zone, instants[0])
    assert checked > 5_000 and skipped > 100 and twice > 200


def check_reminders(starts_at: datetime) -> None:
    """Check the minutes at which each reminder begins and ends to be due."""
    appointment = accept(starts_at, starts_at - 3 * DAY)
    due = {
        starts_at - DAY - MINUTE: [],
        starts_at - DAY: [Reminder.DAY],
        starts_at - 61 * MINUTE: [Reminder.DAY],
        starts_at - 60 * MINUTE: [],
        starts_at - 11 * MINUTE: [],
        starts_at - 10 * MINUTE: [Reminder.SOON],
        starts_at - MINUTE: [Reminder.SOON],
        starts_at: [],
    }
    for now, expected in due.items():
        assert list_due_reminders(appointment, now) == expected


def test_reminders_before_the_answer_are_left_out() -> None:
    starts_at = datetime(2027, 3, 28, 12, tzinfo=UTC)
    for ahead, expected in (
        (DAY, [Reminder.DAY, Reminder.SOON]),
        (DAY - MINUTE, [Reminder.SOON]),
        (10 * MINUTE, [Reminder.SOON]),
        (9 * MINUTE, []),
    ):
        appointment = accept(starts_at, starts_at - ahead)
        ticks = [starts_at - DAY + each * MINUTE for each in range(24 * 60 + 10)]
        assert sorted({due for now in ticks for due in list_due_reminders(appointment, now)}) == sorted(expected)
    for state in AppointmentState:
        appointment.state = state
        assert list_due_reminders(appointment, starts_at - MINUTE) == []


def test_zones_come_from_the_package_alone() -> None:
    """Slim images have no database, and that of a machine may be older."""
    import zoneinfo

    before = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath([])
        time_zones.find_zone.cache_clear()
        assert all(time_zones.find_zone(name) is not None for name in NAMES)
    finally:
        zoneinfo.reset_tzpath(before)
    assert {"Asia/Calcutta", "Asia/Kolkata", "Europe/Kiev", "Europe/Kyiv", "America/Buenos_Aires"} <= time_zones.NAMES
    for name in ("India Standard Time", "", "/etc/localtime", "../tzdata", "Europe", "Europe/Berlin\x00"):
        assert time_zones.find_zone(name) is None
    assert time_zones.get_zone(None, "Nowhere/Land").key == "UTC"


def test_instant_after_new_rules_keeps_the_clock() -> None:
    """Made when Berlin still had one time all year: what the two mean is the clock's time."""
    berlin = time_zones.get_zone("Europe/Berlin")
    summer, skipped, repeated = datetime(2027, 7, 1, 18), datetime(2027, 3, 28, 2, 30), datetime(2027, 10, 31, 2, 30)
    one, two = timedelta(hours=1), timedelta(hours=2)
    after = time_zones.find_instant_after_change
    assert after(summer, berlin, one) == datetime(2027, 7, 1, 16, tzinfo=UTC)
    assert after(summer, berlin, two) == datetime(2027, 7, 1, 16, tzinfo=UTC)
    assert after(skipped, berlin, one) == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    assert after(repeated, berlin, one) == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)
    assert after(repeated, berlin, two) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    assert after(repeated, berlin, timedelta(hours=3)) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
