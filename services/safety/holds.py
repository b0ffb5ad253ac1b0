"""Holds: learners who are not paired for at most a day, while an urgent report of them is checked.

A hold is a time in the learner's row: it ends by PostgreSQL's clock, without a job. Its end is a full hour, so that it
does not say when the report was made.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Set
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import lock_name
from adapters.jobs import enqueue_each
from jobs import check_pairing
from models import Role, User
from services.safety.report_weights import Assessment, HoldGround

log = logging.getLogger("parlance.safety")


@dataclass(frozen=True, slots=True)
class HoldRules:
    """Settings of holds.

    `lasts`: how long one is at most. `pause`: the time until the next one of the same learner without a review.
    `reasons`: those for which one full report by anybody suffices. `record_limit`: how many learners may be held at one
    time by the record of a reporter alone.
    """

    lasts: timedelta
    pause: timedelta
    reasons: frozenset[str] = frozenset()
    record_limit: int = 3


async def place_hold(db: AsyncSession, user: User, assessment: Assessment, rules: HoldRules) -> bool:
    """Hold the pairing of a learner whose row is locked, if the assessment has a ground; return whether since now.

    Not while a hold lasts, nor within the pause after its end unless a review came between, and never for staff.
    """
    if assessment.ground is None:
        return False
    holder = None
    if assessment.ground is HoldGround.RECORD:
        holder = await _find_holder(db, user.id, assessment.holders, rules.record_limit)
        if holder is None:
            return False
    elif user.pairing_held_by is not None:
        # The reporter may hold another learner: there is another ground now.
        user.pairing_held_by = None
        db.add(user)
        await db.flush()
    now, until = sa.func.now(), col(User.pairing_held_until)
    statement = (
        sa.update(User)
        .where(
            col(User.id) == user.id,
            col(User.role) == Role.STUDENT,
            col(User.deleted_at).is_(None),
            ~col(User.is_banned),
            sa.or_(until.is_(None), until < now - rules.pause),
        )
        .values(pairing_held_until=sa.func.date_trunc("hour", now + rules.lasts), pairing_held_by=holder)
        .returning(col(User.id))
        .execution_options(synchronize_session=False)
    )
    if (await db.execute(statement)).first() is None:
        return False
    # The caller's object of the row must not write its older value.
    await db.refresh(user, ["pairing_held_until", "pairing_held_by"])
    await enqueue_each(db, check_pairing, [{"user_id": str(user.id)}])
    log.warning("pairing_held user_id=%s ground=%s", user.id, assessment.ground)
    return True


async def _find_holder(db: AsyncSession, user_id: uuid.UUID, holders: Set[uuid.UUID], limit: int) -> uuid.UUID | None:
    """Find a reporter whose record may hold one more learner: each holds one at a time, and all together `limit`."""
    # Until the end of the transaction, so that simultaneous reports keep both limits.
    await lock_name(db, "holds by a record")
    held = sa.select(col(User.pairing_held_by)).where(
        col(User.pairing_held_by).is_not(None), col(User.pairing_held_until) > sa.func.now(), col(User.id) != user_id
    )
    busy = (await db.execute(held)).scalars().all()
    if len(busy) >= limit:
        log.warning("record_holds_used_up user_id=%s limit=%d", user_id, limit)
        return None
    return min(holders - set(busy), default=None)


async def release_hold(db: AsyncSession, user: User) -> None:
    """End the hold of a learner whose row is locked, or the pause after one: its reports were reviewed."""
    user.pairing_held_until = user.pairing_held_by = None
    db.add(user)
    await db.flush()
