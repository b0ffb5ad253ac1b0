"""Feedback about the pace of a call, counted in the skills of both learners."""

from __future__ import annotations

import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import CallSession, LearnerSkill, Profile, SessionRating, User
from services.calls.skills import Skill, bound, prior, update

#: The shortest call whose feedback is counted.
MIN_CALL_SECONDS = 60
#: How long one learner's feedback about another is counted once.
COUNTED_ONCE_WITHIN = timedelta(days=7)


async def count_pace(db: AsyncSession, call: CallSession, rating: SessionRating) -> None:
    """Move the skills of both learners by a rating that has a pace, in the transaction that writes it."""
    if rating.pace is None or (call.duration_seconds or 0) < MIN_CALL_SECONDS:
        return
    rows = await _lock_skills(db, rating.rater_id, rating.rated_id)
    # After the locks: of two ratings of the same partner at once, the second sees the first.
    if len(rows) < 2 or await _is_counted_already(db, rating):
        return
    rater, rated = rows[rating.rater_id], rows[rating.rated_id]
    today = (await db.execute(sa.select(sa.cast(sa.func.timezone("UTC", sa.func.now()), sa.Date)))).scalar_one()
    before = Skill(rater.mu, rater.sigma), Skill(rated.mu, rated.sigma)
    for row, old, new in zip((rater, rated), before, update(*before, rating.pace), strict=True):
        if row.day < today:
            row.day, row.day_mu, row.day_sigma, row.day_calls = today, row.mu, row.sigma, row.calls
        row.mu, row.sigma = bound(old, new, row.day_mu)
        row.calls += 1
        row.updated_at = sa.func.now()  # type: ignore[assignment]
        db.add(row)
    rating.is_pace_counted = True
    db.add(rating)
    await db.flush()


async def _lock_skills(db: AsyncSession, *user_ids: uuid.UUID) -> dict[uuid.UUID, LearnerSkill]:
    """Lock the skills of learners, by their ids; who has none yet gets the prior, a deleted account none."""
    levels = (
        sa.select(col(Profile.user_id), col(Profile.english_level))
        .join(User, col(User.id) == col(Profile.user_id))
        .where(col(Profile.user_id).in_(user_ids), col(User.deleted_at).is_(None))
        .order_by(col(Profile.user_id))
    )
    today = sa.cast(sa.func.timezone("UTC", sa.func.now()), sa.Date)
    # In the same order as the locks, so that no two wait for each other.
    for user_id, level in (await db.execute(levels)).all():
        skill = prior(level)
        values = {"user_id": user_id, "mu": skill.mu, "sigma": skill.sigma, "calls": 0}
        values |= {"day": today, "day_mu": skill.mu, "day_sigma": skill.sigma, "day_calls": 0}
        await db.execute(insert(LearnerSkill).values(values).on_conflict_do_nothing())
    statement = (
        select(LearnerSkill)
        .join(User, col(User.id) == col(LearnerSkill.user_id))
        .where(col(LearnerSkill.user_id).in_(user_ids), col(User.deleted_at).is_(None))
        .order_by(col(LearnerSkill.user_id))
        .with_for_update(of=LearnerSkill)
        .execution_options(populate_existing=True)
    )
    return {row.user_id: row for row in (await db.exec(statement)).all()}


async def _is_counted_already(db: AsyncSession, rating: SessionRating) -> bool:
    counted = sa.select(col(SessionRating.id)).where(
        col(SessionRating.rater_id) == rating.rater_id,
        col(SessionRating.rated_id) == rating.rated_id,
        col(SessionRating.is_pace_counted),
        col(SessionRating.created_at) > sa.func.now() - COUNTED_ONCE_WITHIN,
    )
    return (await db.execute(counted.limit(1))).first() is not None
