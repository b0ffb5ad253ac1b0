"""The job of reminders on PostgreSQL, by an injected clock: each once, for both, at its minute."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import time_zones
from container import Container
from models import Appointment, AppointmentState, PartnerWish, Profile, User
from services.people.appointment_reminders import AppointmentReminders
from services.people.appointment_times import find_start
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database, query, value
from tests.services.people.oracle import search_instants, write_local

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
#: Of each kind of change of the clocks one, and zones without any.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Asia/Calcutta",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "America/Santiago",
    "Pacific/Kiritimati",
)


@pytest.fixture
async def own(settings: Settings) -> AsyncIterator[Container]:
    """Services with a database in which no other test's appointments are."""
    with own_database(settings) as found:
        async with running_container(found) as services:
            yield services


async def add_partners(services: Container, *timezones: str | None) -> list[uuid.UUID]:
    """Add accounts of partners, each with its time zone."""
    ids = [uuid.uuid4() for _ in timezones]
    async with services.database.transaction() as db:
        db.add_all(User(id=each, email=f"{each.hex}@example.com", password_hash="") for each in ids)
        await db.flush()
        db.add_all(
            Profile(user_id=each, username=f"u{each.hex[:20]}", timezone=zone)
            for each, zone in zip(ids, timezones, strict=True)
        )
        db.add_all(PartnerWish(user_id=one, wished_id=other) for one in ids for other in ids if one != other)
    return ids


def build(one: uuid.UUID, other: uuid.UUID, local: datetime, zone: str, **columns: Any) -> Appointment:
    """Build an accepted appointment as a proposal makes it."""
    local, starts_at = find_start(local.isoformat(timespec="minutes"), zone, None)
    values: dict[str, Any] = {
        "starts_at": starts_at,
        "answered_at": datetime.now(UTC),
        "zone_version": time_zones.VERSION,
        "state": AppointmentState.ACCEPTED,
    }
    return Appointment(
        proposer_id=one, partner_id=other, local_time=local, timezone=zone, duration_minutes=30, **(values | columns)
    )


async def add(services: Container, *appointments: Appointment) -> None:
    async with services.database.transaction() as db:
        db.add_all(appointments)


async def read_notices(services: Container) -> list[tuple[str, str, str]]:
    """Read who was notified of what: the user, the occasion, the text."""
    rows = await query(services, "SELECT user_id, occasion, body FROM notifications ORDER BY 1, 2")
    return [(str(row[0]), row[1], row[2]) for row in rows]


async def test_year_of_reminders_is_on_time_in_the_zone_of_each_reader(own: Container) -> None:
    """Every minute at which something is due, the one before and the one after, in the order of a year."""
    chooser = random.Random(7)
    readers = dict(zip(await add_partners(own, *ZONES), ZONES, strict=True))
    first = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) + 3 * DAY
    made: dict[uuid.UUID, tuple[Appointment, datetime]] = {}
    for number in range(120):
        one, other = chooser.sample(list(readers), 2)
        local = (first + (number * 3) * DAY).replace(hour=chooser.randrange(24), minute=chooser.choice((0, 15, 30, 45)))
        zone = readers[one]
        instants = search_instants(zone, local)
        if not instants:  # a time that the clocks skip, which no proposal has
            continue
        row = build(one, other, local, zone)
        made[row.id] = row, instants[0]
    await add(own, *(row for row, _ in made.values()))
    due = {at - before for _, at in made.values() for before in (DAY, 10 * MINUTE)}
    for tick in sorted({at + around for at in due for around in (-MINUTE, timedelta())}):
        await own.appointment_reminders.run(tick)
    expected = []
    for row, at in made.values():
        stored = "SELECT day_reminded_at, soon_reminded_at FROM appointments WHERE id = :i"
        ((day, soon),) = await query(own, stored, i=row.id)
        assert (day, soon) == (at - DAY, at - 10 * MINUTE), (row.timezone, row.local_time)
        expected += [
            (str(reader), f"appointment:{row.id}:{kind}", f"It begins on {write_local(readers[reader], at)}.")
            for reader in (row.proposer_id, row.partner_id)
            for kind in ("day", "soon")
        ]
    assert len(made) > 110
    assert await read_notices(own) == sorted(expected)


async def test_runs_that_are_killed_late_or_simultaneous_remind_once(own: Container) -> None:
    one, other = await add_partners(own, "Europe/Berlin", None)
    local = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) + 3 * DAY
    rows = [build(one, other, local + number * MINUTE, "UTC") for number in range(30)]
    await add(own, *rows)
    now = rows[0].starts_at - 5 * MINUTE
    for pause in (0.001, 0.01, 0.02, 0.05):
        killed = asyncio.create_task(own.appointment_reminders.run(now))
        await asyncio.sleep(pause)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
    await asyncio.gather(*(own.appointment_reminders.run(now) for _ in range(6)))
    await own.appointment_reminders.run(now)
    notices = await read_notices(own)
    due = [row for row in rows if row.starts_at - 10 * MINUTE <= now]
    # Too late for those of the day before; and of the soon ones all that are due.
    assert sorted(occasion for _, occasion, _ in notices) == sorted(f"appointment:{row.id}:soon" for row in due * 2)
    await own.appointment_reminders.run(rows[-1].starts_at + MINUTE)
    assert await read_notices(own) == notices, "none after the beginning"


async def test_cancel_during_a_reminder_leaves_none_to_be_pushed(own: Container) -> None:
    one, other = await add_partners(own, None, None)
    local = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) + 3 * DAY
    rows = [build(one, other, local + number * MINUTE, "UTC") for number in range(10)]
    await add(own, *rows)
    now = rows[0].starts_at - MINUTE
    cancels = [own.appointments.cancel(str(one), str(row.id)) for row in rows]
    await asyncio.gather(own.appointment_reminders.run(now), *cancels)
    unread = "SELECT count(*) FROM notifications WHERE occasion LIKE '%soon' AND NOT read"
    assert await value(own, unread) == 0
    assert await value(own, "SELECT count(*) FROM notifications WHERE occasion LIKE '%cancelled'") == len(rows)
    assert await value(own, "SELECT count(*) FROM appointments WHERE state <> 'cancelled'") == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET suspended_until = now() + interval '9 days' WHERE id = :u",
        "UPDATE users SET age_band = '16_17', age_source = 'operator', age_declared_at = now() WHERE id = :u",
        "DELETE FROM partner_wishes WHERE user_id = :u",
    ],
)
async def test_who_cannot_meet_is_not_reminded(own: Container, change: str) -> None:
    one, other = await add_partners(own, None, None)
    row = build(one, other, datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) + 3 * DAY, "UTC")
    await add(own, row)
    await query(own, change, u=other)
    done = await own.appointment_reminders.run(row.starts_at - DAY)
    assert (done.reminded, done.cancelled) == (0, 1)
    assert {occasion for _, occasion, _ in await read_notices(own)} == {f"appointment:{row.id}:cancelled"}
    assert await own.appointment_reminders.run(row.starts_at - MINUTE) == (0, 0, 0)


async def test_new_rules_of_a_zone_move_the_instant_once(own: Container) -> None:
    """The clock's time stays; an older process that still runs does not move it back."""
    one, other = await add_partners(own, "Europe/Berlin", "Asia/Tokyo")
    local = datetime(datetime.now(UTC).year + 1, 7, 1, 18)
    right = find_start(local.isoformat(timespec="minutes"), "Europe/Berlin", None)[1]
    wrong = right + timedelta(hours=1)
    moved = build(one, other, local, "Europe/Berlin", starts_at=wrong, zone_version="2000a")
    kept = build(one, other, local + DAY, "Europe/Berlin", zone_version="2000a")
    await add(own, moved, kept)
    assert (await own.appointment_reminders.run()).moved == 1
    assert await value(own, "SELECT starts_at FROM appointments WHERE id = :i", i=moved.id) == right
    notices = await read_notices(own)
    assert sorted(body for _, _, body in notices) == sorted(
        f"The rules of its time zone have changed. Your call with {name} is on {write_local(zone, right)}."
        for name, zone in ((f"u{other.hex[:20]}", "Europe/Berlin"), (f"u{one.hex[:20]}", "Asia/Tokyo"))
    )
    older = AppointmentReminders(own.database, own.gates, zone_version="2000b")
    assert (await older.run()).moved == 0
    assert (await own.appointment_reminders.run()).moved == 0
    assert await read_notices(own) == notices
