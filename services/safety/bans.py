"""Owns bans: who may not take part any more, why, since when and by whose word."""

from __future__ import annotations

import uuid

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import User
from models.columns import now
from services.identity.logins import LoginsService, lock_user
from services.operations.audit import AuditService


class BansService:
    def __init__(self, database: Database, audit: AuditService, sign_ins: LoginsService) -> None:
        self._database = database
        self._audit = audit
        self._sign_ins = sign_ins

    async def ban(self, actor_id: str, user_id: str, reason: str) -> User:
        """Ban an account: its sign-ins end, its sockets are cut and leave search and room within a second.

        Raises NotFound, and Forbidden for oneself or another administrator.
        """
        async with self._database.transaction() as db:
            user = await lock_user(db, uuid.UUID(user_id))
            if user is None or user.deleted_at is not None:
                raise errors.NotFound()
            ended = await self.ban_within(db, uuid.UUID(actor_id), user, reason)
        await self.announce(ended)
        return user

    async def ban_within(self, db: AsyncSession, actor_id: uuid.UUID, user: User, reason: str) -> list[str]:
        """Ban inside the caller's transaction, which holds the row; `announce` the answer after its commit."""
        if user.role == "admin":
            raise errors.Forbidden("an administrator is demoted before being banned")
        if not user.is_banned:
            user.is_banned, user.ban_reason, user.banned_at, user.banned_by = True, reason, now(), actor_id
            db.add(user)
            await self._audit.write(db, actor_id, "user.ban", user.id)
        return await self._sign_ins.end_all_within(db, user.id)

    async def unban(self, actor_id: str, user_id: str) -> User:
        """Let an account back in; raise NotFound."""
        async with self._database.transaction() as db:
            user = await lock_user(db, uuid.UUID(user_id))
            if user is None or user.deleted_at is not None:
                raise errors.NotFound()
            if user.is_banned:
                user.is_banned, user.ban_reason, user.banned_at, user.banned_by = False, None, None, None
                db.add(user)
                await self._audit.write(db, uuid.UUID(actor_id), "user.unban", user.id)
        return user

    async def is_banned(self, user_id: str) -> bool:
        async with self._database.transaction() as db:
            return bool((await db.exec(select(User.is_banned).where(User.id == uuid.UUID(user_id)))).first())

    async def announce(self, ended: list[str]) -> None:
        """Make known which sign-ins a ban ended, once it is committed."""
        await self._sign_ins.announce(ended)
