"""Bans: accounts that may not log in, with reason, time and administrator."""

from __future__ import annotations

import uuid

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from instants import utc_now
from models import User
from services.identity.logins import LoginsService
from services.identity.user_rows import lock_active_user
from services.operations.audit import AuditService


class BansService:
    def __init__(self, database: Database, audit: AuditService, logins: LoginsService) -> None:
        self._database = database
        self._audit = audit
        self._logins = logins

    async def ban(self, actor_id: str, user_id: str, reason: str) -> User:
        """Ban an account: its logins end; within a second its sockets are disconnected and leave search and room.

        Raises NotFound, and Forbidden for an account of staff.
        """
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id), absent=errors.NotFound)
            ended = await self.ban_within(db, uuid.UUID(actor_id), user, reason)
        await self.publish_ended_logins(ended)
        return user

    async def ban_within(self, db: AsyncSession, actor_id: uuid.UUID, user: User, reason: str) -> list[str]:
        """Ban inside the caller's transaction, which locks the row; then pass the result to `publish_ended_logins`."""
        if user.role.is_staff:
            raise errors.Forbidden("an account of staff cannot be banned; demote it first")
        if not user.is_banned:
            user.is_banned, user.ban_reason, user.banned_at, user.banned_by = True, reason, utc_now(), actor_id
            db.add(user)
            await self._audit.write(db, actor_id, "user.ban", user.id)
        return await self._logins.end_all_within(db, user.id)

    async def unban(self, actor_id: str, user_id: str) -> User:
        """End a ban; raise NotFound."""
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id), absent=errors.NotFound)
            if user.is_banned:
                user.is_banned, user.ban_reason, user.banned_at, user.banned_by = False, None, None, None
                db.add(user)
                await self._audit.write(db, uuid.UUID(actor_id), "user.unban", user.id)
        return user

    async def is_banned(self, user_id: str) -> bool:
        async with self._database.transaction() as db:
            return bool((await db.exec(select(User.is_banned).where(User.id == uuid.UUID(user_id)))).first())

    async def publish_ended_logins(self, ended: list[str]) -> None:
        """Publish which logins a ban has ended; call it after the commit."""
        await self._logins.publish_ended(ended)
