"""Reminders of appointments, and their instants by newer rules of time zones: the work of a job each minute.

A reminder is the change of one row under its lock and the notifications of both, in one transaction: runs that are
killed, late or simultaneous write each once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import time_zones
from adapters.database import Database
from models import Appointment, User
from services.people import appointment_rows, partner_rows
from services.people.appointment_times import Reminder, has_due_reminder, list_due_reminders
from services.safety.gates import Gates

#: Appointments of one transaction.
BATCH_ROWS = 200


class ReminderRun(NamedTuple):
    """What a run has done: appointments of which it reminded, that it cancelled, and whose instant it changed."""

    reminded: int
    cancelled: int
    moved: int


class AppointmentReminders:
    def __init__(self, database: Database, gates: Gates, zone_version: str = time_zones.VERSION) -> None:
        self._database = database
        self._gates = gates
        self._zone_version = zone_version

    async def run(self, now: datetime | None = None) -> ReminderRun:
        """Write the reminders that are due at `now`, by default by PostgreSQL's clock."""
        moved = await self._apply_new_rules(now)
        reminded = cancelled = 0
        while True:
            done, ended = await self._remind_batch(now)
            reminded, cancelled = reminded + done, cancelled + ended
            if done + ended < BATCH_ROWS:
                return ReminderRun(reminded, cancelled, moved)

    async def _remind_batch(self, now: datetime | None) -> tuple[int, int]:
        """Remind of a batch; return of how many, and how many of them were cancelled instead."""
        proposer, partner = aliased(User), aliased(User)
        can_come = [
            sa.func.coalesce(col(each.suspended_until) <= col(Appointment.starts_at), sa.true())
            for each in (proposer, partner)
        ]
        pair = col(Appointment.proposer_id), col(Appointment.partner_id)
        may_meet = sa.and_(partner_rows.are_partners(*pair), partner_rows.may_meet(*pair, self._gates), *can_come)
        reminded = cancelled = 0
        async with self._database.transaction() as db:
            now = now or (await db.execute(sa.select(sa.func.now()))).scalar_one()
            statement = (
                sa.select(Appointment, may_meet)
                .join(proposer, col(proposer.id) == pair[0])
                .join(partner, col(partner.id) == pair[1])
                .where(has_due_reminder(now))
                .order_by(col(Appointment.starts_at), col(Appointment.id))
                .limit(BATCH_ROWS)
                # Another run has those that are locked, or their learner changes them; what is left is due next time.
                .with_for_update(of=Appointment, skip_locked=True)
                .execution_options(populate_existing=True)
            )
            for appointment, is_possible in (await db.execute(statement)).all():
                if is_possible:
                    await _remind(db, appointment, now)
                    reminded += 1
                else:
                    await appointment_rows.cancel_where(db, col(Appointment.id) == appointment.id, None)
                    cancelled += 1
        return reminded, cancelled

    async def _apply_new_rules(self, now: datetime | None) -> int:
        """Compute the instants of appointments again that older rules gave; return how many have another one now.

        What the two mean is the time of the clocks. They are notified of another instant.
        """
        moved = 0
        while True:
            async with self._database.transaction() as db:
                at = now or (await db.execute(sa.select(sa.func.now()))).scalar_one()
                statement = (
                    select(Appointment)
                    .where(
                        col(Appointment.zone_version) < self._zone_version,
                        col(Appointment.state).in_(appointment_rows.OPEN_STATES),
                        col(Appointment.starts_at) > at,
                    )
                    .order_by(col(Appointment.zone_version), col(Appointment.starts_at))
                    .limit(BATCH_ROWS)
                    .with_for_update(skip_locked=True)
                    .execution_options(populate_existing=True)
                )
                rows = (await db.exec(statement)).all()
                for row in rows:
                    moved += await self._apply_to(db, row)
            if len(rows) < BATCH_ROWS:
                return moved

    async def _apply_to(self, db: AsyncSession, row: Appointment) -> bool:
        zone = time_zones.find_zone(row.timezone)
        offset = row.local_time.replace(tzinfo=UTC) - row.starts_at
        # A zone that the database has dropped keeps its instants.
        starts_at = time_zones.find_instant_after_change(row.local_time, zone, offset) if zone else row.starts_at
        row.zone_version = self._zone_version
        db.add(row)
        await db.flush()
        if starts_at == row.starts_at:
            return False
        try:
            async with db.begin_nested():
                row.starts_at = starts_at
                db.add(row)
                await db.flush()
        except IntegrityError:  # the two have another appointment at that instant
            await db.refresh(row)
            return False
        both = [row.proposer_id, row.partner_id]
        await appointment_rows.notify_of(db, row, "moved", both, occasion=self._zone_version)
        return True


async def _remind(db: AsyncSession, appointment: Appointment, now: datetime) -> None:
    due = list_due_reminders(appointment, now)
    for reminder in due:
        if reminder is Reminder.DAY:
            appointment.day_reminded_at = now
        else:
            appointment.soon_reminded_at = now
        both = [appointment.proposer_id, appointment.partner_id]
        await appointment_rows.notify_of(db, appointment, reminder.value, both)
    db.add(appointment)
