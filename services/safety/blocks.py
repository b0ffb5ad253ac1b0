"""Owns blocks: two learners who are never paired again, because one of them said so."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

import errors
from adapters.database import Database
from models import Block, Profile, User
from services import pagination
from services.pagination import Page


class BlocksService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def block(self, user_id: str, other_id: str) -> None:
        """Block somebody; again is the same. Raises NotFound, and RequestInvalid for oneself."""
        me, other = uuid.UUID(user_id), uuid.UUID(other_id)
        if me == other:
            raise errors.RequestInvalid("one cannot block oneself")
        async with self._database.transaction() as db:
            there = select(User.id).where(User.id == other, col(User.deleted_at).is_(None))
            if (await db.exec(there)).first() is None:
                raise errors.NotFound()
            await db.execute(insert(Block).values(blocker_id=me, blocked_id=other).on_conflict_do_nothing())

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Take a block back; raise NotFound where there is none."""
        statement = (
            sa.delete(Block)
            .where(col(Block.blocker_id) == uuid.UUID(user_id), col(Block.blocked_id) == uuid.UUID(other_id))
            .returning(col(Block.blocked_id))
        )
        async with self._database.transaction() as db:
            if (await db.execute(statement)).first() is None:
                raise errors.NotFound()

    async def list_of(self, user_id: str, *, limit: int, cursor: str | None) -> Page[tuple[Block, Profile]]:
        """Read a page of those one has blocked, newest first."""
        statement = (
            select(Block, Profile)
            .join(Profile, col(Profile.user_id) == col(Block.blocked_id))
            .where(Block.blocker_id == uuid.UUID(user_id))
            .order_by(col(Block.created_at).desc(), col(Block.blocked_id).desc())
            .limit(limit + 1)
        )
        if cursor:
            statement = statement.where(
                sa.tuple_(col(Block.created_at), col(Block.blocked_id)) < sa.tuple_(*pagination.decode(cursor))
            )
        async with self._database.transaction() as db:
            rows = [(row[0], row[1]) for row in (await db.execute(statement)).all()]
        return pagination.page(rows, limit, lambda row: (row[0].created_at, row[0].blocked_id))
