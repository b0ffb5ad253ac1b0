"""Blocks: pairs of users who are never matched again."""

from __future__ import annotations

import uuid
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

import errors
from adapters.database import Database
from models import Block, Profile
from services.calls import match_outcomes
from services.pagination import Page, read_page
from services.people.partner_rows import end_partnership, lock_pair
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar


class BlockedUser(NamedTuple):
    block: Block
    profile: Profile
    avatar_url: str | None


class BlocksService:
    def __init__(self, database: Database, picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT) -> None:
        self._database = database
        self._picture_hide_weight = picture_hide_weight

    async def block(self, user_id: str, other_id: str) -> None:
        """Block a user, where that is not so yet, and end a partnership with them.

        Raises NotFound, and RequestInvalid for the user's own account.
        """
        me, other = uuid.UUID(user_id), uuid.UUID(other_id)
        if me == other:
            raise errors.RequestInvalid("you cannot block yourself")
        async with self._database.transaction() as db:
            users = await lock_pair(db, me, other)
            if other not in users or users[other].deleted_at is not None:
                raise errors.NotFound()
            await db.execute(insert(Block).values(blocker_id=me, blocked_id=other).on_conflict_do_nothing())
            await match_outcomes.forgive(db, me, other)
            await end_partnership(db, me, other)

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Remove a block; raise NotFound where there is none."""
        statement = (
            sa.delete(Block)
            .where(col(Block.blocker_id) == uuid.UUID(user_id), col(Block.blocked_id) == uuid.UUID(other_id))
            .returning(col(Block.blocked_id))
        )
        async with self._database.transaction() as db:
            if (await db.execute(statement)).first() is None:
                raise errors.NotFound()

    async def list_for_user(self, user_id: str, *, limit: int, cursor: str | None) -> Page[BlockedUser]:
        """Read a page of the users that a user has blocked, newest first."""
        statement = (
            select(Block, Profile, shown_avatar(self._picture_hide_weight))
            .join(Profile, col(Profile.user_id) == col(Block.blocked_id))
            .where(Block.blocker_id == uuid.UUID(user_id))
        )
        key = (col(Block.created_at), col(Block.blocked_id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=BlockedUser)
