"""Rows of partnerships: who are partners, who may meet, and the locks under which both change.

Two learners are partners if each has a wish for the other. They may meet as long as neither is deleted or banned,
neither has blocked or reported the other, and both are of one age band whose learners may meet others.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Block, CallSession, EnglishLevel, PartnerWish, Profile, Report, User
from services.calls import invitation_rows
from services.calls.call_history import FORMER_LEARNER
from services.people.appointment_rows import cancel_of_pair
from services.safety.gates import DEFAULT_BAND, Gates
from services.safety.hidden_pictures import shown_avatar

#: A user's id: a value, or a column of the caller's query.
UserId: TypeAlias = uuid.UUID | Mapped[uuid.UUID] | sa.ColumnElement[uuid.UUID]

#: The longest wait for others who change the same pair.
LOCK_SECONDS = 2


class PartnerCard(NamedTuple):
    """A partner as the other sees them."""

    user_id: uuid.UUID
    name: str
    avatar_url: str | None
    level: EnglishLevel | None


async def lock_pair(db: AsyncSession, one: uuid.UUID, other: uuid.UUID) -> dict[uuid.UUID, User]:
    """Lock the rows of two accounts, in one order; return those that exist, by id.

    What makes or ends a partnership, a block or an appointment of the two locks them first. Each wait for a lock in the
    transaction ends after `LOCK_SECONDS`, as where PostgreSQL is unavailable: those who queue for one pair hold
    connections of the pool, which others need.
    """
    await db.execute(sa.select(sa.func.set_config("lock_timeout", f"{LOCK_SECONDS}s", True)))
    statement = (
        select(User)
        .where(col(User.id).in_([one, other]))
        .order_by(col(User.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {user.id: user for user in (await db.exec(statement)).all()}


def has_wished(user_id: UserId, other_id: UserId) -> sa.ColumnElement[bool]:
    """Return the condition that a learner has asked for partnership with another."""
    wish = aliased(PartnerWish)
    return sa.exists().where(col(wish.user_id) == user_id, col(wish.wished_id) == other_id)


def are_partners(one: UserId, other: UserId) -> sa.ColumnElement[bool]:
    """Return the condition that each of two learners has asked for partnership with the other."""
    return sa.and_(has_wished(one, other), has_wished(other, one))


def may_meet(one: UserId, other: UserId, gates: Gates) -> sa.ColumnElement[bool]:
    """Return the condition that two learners may meet; see the module."""
    first, second = aliased(User), aliased(User)
    bands = [sa.func.coalesce(col(each.age_band), DEFAULT_BAND) for each in (first, second)]
    conditions: list[sa.ColumnElement[bool]] = [
        col(first.id) == one,
        col(second.id) == other,
        bands[0] == bands[1],
        *(~col(each.is_banned) for each in (first, second)),
        *(col(each.deleted_at).is_(None) for each in (first, second)),
    ]
    if gates.is_age_required:
        conditions.append(bands[0].in_(gates.allowed_bands))
    return sa.and_(
        sa.exists().where(*conditions),
        ~_either_way(Block, Block.blocker_id, Block.blocked_id, one, other),
        ~_either_way(Report, Report.reporter_id, Report.reported_id, one, other),
    )


def _either_way(table: Any, by: Any, about: Any, one: UserId, other: UserId) -> sa.ColumnElement[bool]:
    """Return the condition that one of two learners has a row of `table` about the other."""
    forth, back = sa.and_(col(by) == one, col(about) == other), sa.and_(col(by) == other, col(about) == one)
    return sa.exists().select_from(table).where(sa.or_(forth, back))


async def have_talked(db: AsyncSession, one: uuid.UUID, other: uuid.UUID) -> bool:
    """Whether two learners have had a call that connected."""
    a, b = col(CallSession.user_a_id), col(CallSession.user_b_id)
    together = sa.or_(sa.and_(a == one, b == other), sa.and_(a == other, b == one))
    statement = select(CallSession.id).where(together, col(CallSession.connected_at).is_not(None)).limit(1)
    return (await db.exec(statement)).first() is not None


async def find_partner(
    db: AsyncSession, user_id: uuid.UUID, partner_id: uuid.UUID, gates: Gates, picture_hide_weight: float
) -> PartnerCard | None:
    """Find a learner's partner whom they may meet; return None for anybody else."""
    statement = sa.select(Profile, shown_avatar(picture_hide_weight)).where(
        col(Profile.user_id) == partner_id,
        are_partners(user_id, partner_id),
        may_meet(user_id, partner_id, gates),
    )
    found = (await db.execute(statement)).first()
    return build_card(*found) if found is not None else None


def build_card(profile: Profile, avatar_url: str | None) -> PartnerCard:
    """Build what others see of a partner."""
    name = profile.display_name or profile.username or FORMER_LEARNER
    return PartnerCard(profile.user_id, name, avatar_url, profile.english_level)


async def end_partnership(db: AsyncSession, user_id: uuid.UUID, other_id: uuid.UUID) -> None:
    """End a partnership of one of two learners, or take back a wish, and their appointments and invitations.

    In the caller's transaction, which has locked the pair. The other's wish ends with the partnership: a new one needs
    both again. Before it is answered it stays, for its end would show that it was seen.
    """
    ended = await db.execute(
        sa.delete(PartnerWish)
        .where(col(PartnerWish.user_id) == user_id, col(PartnerWish.wished_id) == other_id)
        .returning(col(PartnerWish.user_id))
    )
    if ended.first() is not None:
        await db.execute(
            sa.delete(PartnerWish).where(col(PartnerWish.user_id) == other_id, col(PartnerWish.wished_id) == user_id)
        )
    await cancel_of_pair(db, user_id, other_id)
    await invitation_rows.end_between(db, user_id, other_id)


async def delete_wishes(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Delete the wishes of an account and those about it, inside the transaction that deletes it."""
    wishes = sa.delete(PartnerWish)
    await db.execute(wishes.where(sa.or_(col(PartnerWish.user_id) == user_id, col(PartnerWish.wished_id) == user_id)))
