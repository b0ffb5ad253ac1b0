"""Holds: learners who are not paired for at most a day, while an urgent report of them is checked.

A hold is a time in the learner's row: it ends by PostgreSQL's clock, without a job. Its end is a full hour, so that it
does not say when the report was made.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.jobs import enqueue_each
from jobs import check_pairing
from models import Role, User

log = logging.getLogger("parlance.safety")


async def place_hold(db: AsyncSession, user_id: uuid.UUID, lasts: timedelta, pause: timedelta) -> bool:
    """Hold a learner's pairing inside the caller's transaction; return whether that is so since now.

    Not while a hold lasts, nor within `pause` after its end unless a review came between, and never for staff.
    """
    now, until = sa.func.now(), col(User.pairing_held_until)
    statement = (
        sa.update(User)
        .where(
            col(User.id) == user_id,
            col(User.role) == Role.STUDENT,
            col(User.deleted_at).is_(None),
            ~col(User.is_banned),
            sa.or_(until.is_(None), until < now - pause),
        )
        .values(pairing_held_until=sa.func.date_trunc("hour", now + lasts))
        .returning(col(User.id))
        # The caller's object of the row must not write its older value.
        .execution_options(synchronize_session="fetch")
    )
    if (await db.execute(statement)).first() is None:
        return False
    await enqueue_each(db, check_pairing, [{"user_id": str(user_id)}])
    log.warning("pairing_held user_id=%s", user_id)
    return True


async def release_hold(db: AsyncSession, user_id: uuid.UUID) -> bool:
    """End a hold, or the pause after one, inside the caller's transaction: its reports were reviewed."""
    statement = (
        sa.update(User)
        .where(col(User.id) == user_id, col(User.pairing_held_until).is_not(None))
        .values(pairing_held_until=None)
        .returning(col(User.id))
        .execution_options(synchronize_session="fetch")
    )
    return (await db.execute(statement)).first() is not None
