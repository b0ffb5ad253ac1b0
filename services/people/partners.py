"""Partners: learners who have both asked to meet again.

A wish that is not answered shows in nothing that another user can read, measure or count.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import Block, Notification, PartnerWish, Profile, User
from services.messaging import notification_templates
from services.messaging.notifications import notify_user
from services.pagination import Page, read_page
from services.people import partner_rows
from services.people.partner_rows import PartnerCard, build_card
from services.people.presence import Presence, PresenceService
from services.safety.gates import Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar

#: With as many partners, or wishes in all, a learner can ask nobody else. Answers to earlier wishes still count.
MAX_PARTNERS, MAX_WISHES = 200, 500
#: Two who part and meet again are notified once in this time.
NOTIFICATION_PAUSE = timedelta(days=1)


class Partnership(NamedTuple):
    """A partner, since when, and their presence where they share it."""

    card: PartnerCard
    since: datetime
    presence: Presence | None


class _Row(NamedTuple):
    profile: Profile
    avatar_url: str | None
    since: datetime


class PartnersService:
    def __init__(
        self,
        database: Database,
        gates: Gates,
        presence: PresenceService,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    ) -> None:
        self._database = database
        self._gates = gates
        self._presence = presence
        self._picture_hide_weight = picture_hide_weight

    async def ask(self, user_id: str, other_id: str) -> None:
        """Ask for partnership; notify both where the other has asked before.

        Raises NotFound for a learner with whom there was no call, or whom the user has blocked; TooManyPartners. A
        block or a report by the other changes nothing in the answer: the wish waits.
        """
        me, other = uuid.UUID(user_id), uuid.UUID(other_id)
        if me == other:
            raise errors.NotFound()
        async with self._database.transaction() as db:
            users = await partner_rows.lock_pair(db, me, other)
            if me not in users or users[me].deleted_at is not None:
                raise errors.Unauthenticated()
            if other not in users or users[other].deleted_at is not None or await _has_blocked(db, me, other):
                raise errors.NotFound()
            if (await db.execute(sa.select(partner_rows.has_wished(me, other)))).scalar_one():
                return
            if not await partner_rows.have_talked(db, me, other):
                raise errors.NotFound()
            await _check_limits(db, me)
            await db.execute(insert(PartnerWish).values(user_id=me, wished_id=other).on_conflict_do_nothing())
            for one, partner in ((me, other), (other, me)):
                card = await partner_rows.find_partner(db, one, partner, self._gates, self._picture_hide_weight)
                if card is not None and not await _is_notified(db, one, partner):
                    await notify_user(db, one, notification_templates.new_partner(card.name, partner))

    async def remove(self, user_id: str, other_id: str) -> None:
        """End a partnership or take back a wish, where there is one, and cancel the appointments of the two."""
        me, other = uuid.UUID(user_id), uuid.UUID(other_id)
        async with self._database.transaction() as db:
            await partner_rows.lock_pair(db, me, other)
            await partner_rows.end_partnership(db, me, other)

    async def read(self, user_id: str, partner_id: str) -> PartnerCard:
        """Read a partner whom the user may meet; raise NotFound for anybody else."""
        async with self._database.transaction() as db:
            found = await partner_rows.find_partner(
                db, uuid.UUID(user_id), uuid.UUID(partner_id), self._gates, self._picture_hide_weight
            )
        if found is None:
            raise errors.NotFound()
        return found

    async def list_ids(self, user_id: str) -> list[str]:
        """List the ids of all partners whom a user may meet."""
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            return [str(each) for each in (await db.execute(_select_partners(me, self._gates, User.id))).scalars()]

    async def list_for_user(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Partnership]:
        """Read a page of a user's partners whom they may meet, newest first."""
        me = uuid.UUID(user_id)
        statement: Any = _select_partners(me, self._gates, Profile, shown_avatar(self._picture_hide_weight), _SINCE)
        key: Any = (_SINCE, col(_MINE.wished_id))
        async with self._database.transaction() as db:
            page = await read_page(db, statement, key, limit=limit, cursor=cursor, build=_Row)
        sharing = [str(row.profile.user_id) for row in page.items if row.profile.shares_presence]
        presences = await self._presence.read(sharing)
        items = [
            Partnership(build_card(row.profile, row.avatar_url), row.since, presences.get(str(row.profile.user_id)))
            for row in page.items
        ]
        return Page(items, page.next_cursor)


_MINE, _THEIRS = aliased(PartnerWish), aliased(PartnerWish)
_SINCE = sa.func.greatest(col(_MINE.created_at), col(_THEIRS.created_at), type_=sa.DateTime(timezone=True))


def _select_partners(me: uuid.UUID, gates: Gates, *columns: Any) -> sa.Select[Any]:
    """Select columns of the accounts and profiles of a user's partners whom they may meet."""
    return (
        sa.select(*columns)
        .select_from(_MINE)
        .join(
            _THEIRS,
            sa.and_(col(_THEIRS.user_id) == col(_MINE.wished_id), col(_THEIRS.wished_id) == col(_MINE.user_id)),
        )
        .join(User, col(User.id) == col(_MINE.wished_id))
        .join(Profile, col(Profile.user_id) == col(User.id))
        .where(col(_MINE.user_id) == me, partner_rows.may_meet(me, col(_MINE.wished_id), gates))
    )


async def _has_blocked(db: AsyncSession, blocker: uuid.UUID, blocked: uuid.UUID) -> bool:
    statement = select(Block.blocked_id).where(Block.blocker_id == blocker, Block.blocked_id == blocked)
    return (await db.exec(statement)).first() is not None


async def _check_limits(db: AsyncSession, me: uuid.UUID) -> None:
    """Raise TooManyPartners; the count of the user's own wishes and partners alone, so that no wish of others shows."""
    answered = partner_rows.has_wished(col(PartnerWish.wished_id), col(PartnerWish.user_id))
    counts = sa.select(sa.func.count(), sa.func.count().filter(answered)).select_from(PartnerWish)
    wishes, partners = (await db.execute(counts.where(col(PartnerWish.user_id) == me))).one()
    if wishes >= MAX_WISHES or partners >= MAX_PARTNERS:
        raise errors.TooManyPartners()


async def _is_notified(db: AsyncSession, user_id: uuid.UUID, partner_id: uuid.UUID) -> bool:
    """Whether a user was notified of this partner lately."""
    data: Any = col(Notification.data)
    statement = select(Notification.id).where(
        Notification.user_id == user_id,
        col(Notification.created_at) > sa.func.now() - NOTIFICATION_PAUSE,
        data["kind"].astext == notification_templates.PARTNER_KIND,
        data["userId"].astext == str(partner_id),
    )
    return (await db.exec(statement.limit(1))).first() is not None
