"""Rows of appointments: cancelled with what they depend on, and the notices of their changes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import time_zones
from instants import utc_now
from models import Appointment, AppointmentState, Notification, Profile
from services.calls.call_history import FORMER_LEARNER
from services.messaging import notification_templates
from services.messaging.notification_templates import AppointmentChange
from services.messaging.notifications import notify_user

OPEN_STATES = (AppointmentState.PROPOSED, AppointmentState.ACCEPTED)


def is_between(one: uuid.UUID, other: uuid.UUID) -> sa.ColumnElement[bool]:
    """Return the condition that an appointment is one of two learners."""
    proposer, partner = col(Appointment.proposer_id), col(Appointment.partner_id)
    return sa.or_(sa.and_(proposer == one, partner == other), sa.and_(proposer == other, partner == one))


def is_of(user_id: uuid.UUID) -> sa.ColumnElement[bool]:
    """Return the condition that an appointment is one of a learner."""
    return sa.or_(col(Appointment.proposer_id) == user_id, col(Appointment.partner_id) == user_id)


def other_of(appointment: Appointment, user_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the other learner of an appointment."""
    return appointment.partner_id if appointment.proposer_id == user_id else appointment.proposer_id


async def notify_of(
    db: AsyncSession,
    appointment: Appointment,
    change: AppointmentChange,
    readers: Iterable[uuid.UUID],
    *,
    occasion: str | None = None,
) -> None:
    """Notify learners of an appointment of a change, each with the time as their own clock shows it.

    `occasion` distinguishes what may happen to one appointment more than once.
    """
    both = [appointment.proposer_id, appointment.partner_id]
    columns = (Profile.user_id, Profile.display_name, Profile.username, Profile.timezone)
    found = await db.execute(sa.select(*map(col, columns)).where(col(Profile.user_id).in_(both)))
    profiles = {row.user_id: row for row in found}
    for reader in sorted(readers):
        partner = profiles[other_of(appointment, reader)]
        name = partner.display_name or partner.username or FORMER_LEARNER
        zone = time_zones.get_zone(profiles[reader].timezone, appointment.timezone)
        when = time_zones.format_local(appointment.starts_at, zone)
        template = notification_templates.appointment(appointment, change, name, when, partner.user_id, occasion)
        await notify_user(db, reader, template)


async def cancel_where(db: AsyncSession, condition: sa.ColumnElement[bool], actor: uuid.UUID | None) -> int:
    """Cancel the open appointments that a condition selects and that have not begun; return how many.

    In the caller's transaction. The other of an accepted one is notified, or both without an actor: in the same words
    for each cause, so that they show no block.
    """
    statement = (
        sa.update(Appointment)
        .where(condition, col(Appointment.state).in_(OPEN_STATES), col(Appointment.starts_at) > sa.func.now())
        .values(state=AppointmentState.CANCELLED)
        .returning(Appointment)
        .execution_options(populate_existing=True)
    )
    cancelled = (await db.execute(statement)).scalars().all()
    await _withdraw_notices(db, cancelled)
    for appointment in cancelled:
        if appointment.answered_at is not None:
            both = {appointment.proposer_id, appointment.partner_id}
            await notify_of(db, appointment, "cancelled", both - {actor})
    return len(cancelled)


async def cancel_of_pair(db: AsyncSession, actor: uuid.UUID, other: uuid.UUID) -> None:
    """Cancel the appointments of two learners, which one of them brought about."""
    await cancel_where(db, is_between(actor, other), actor)


async def cancel_of_user(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Cancel all appointments of a learner, and notify the others."""
    await cancel_where(db, is_of(user_id), user_id)


async def delete_of_user(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Cancel and delete all appointments of an account, inside the transaction that deletes it."""
    await cancel_of_user(db, user_id)
    await db.execute(sa.delete(Appointment).where(is_of(user_id)))


async def _withdraw_notices(db: AsyncSession, appointments: Iterable[Appointment]) -> None:
    """Mark what asks to come or to answer as read, so that it is neither pushed nor emitted any more."""
    changes: tuple[AppointmentChange, ...] = ("proposed", "day", "soon")
    occasions = [
        notification_templates.appointment_occasion(each.id, kind) for each in appointments for kind in changes
    ]
    if not occasions:
        return
    users = {user for each in appointments for user in (each.proposer_id, each.partner_id)}
    # Locked in the order in which they are locked where a user reads all.
    unread = sa.select(col(Notification.id)).where(
        col(Notification.user_id).in_(users), col(Notification.occasion).in_(occasions), ~col(Notification.read)
    )
    await db.execute(
        sa.update(Notification)
        .where(col(Notification.id).in_(unread.order_by(col(Notification.id)).with_for_update()))
        .values(read=True, read_at=utc_now())
    )
