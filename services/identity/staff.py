"""Staff: the accounts of administrators and moderators, with their logins."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import Passkey, Platform, RefreshToken, Role, SecondFactor, User
from services.identity.logins import MAX_LISTED_DEVICES, LoginsService
from services.identity.user_rows import find_user_by_email, lock_user
from services.operations.audit import AuditService
from services.pagination import Page, read_page


@dataclass(frozen=True, slots=True)
class StaffAccount:
    """An account of staff; `logins` have not ended, and `last_used_at` is of the one that was used last."""

    user: User
    is_enrolled: bool
    logins: int
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class StaffLogin:
    id: uuid.UUID
    device_id: str
    platform: Platform
    logged_in_at: datetime
    last_used_at: datetime
    factor_proven_at: datetime | None


class StaffService:
    def __init__(self, database: Database, logins: LoginsService, audit: AuditService) -> None:
        self._database = database
        self._logins = logins
        self._audit = audit

    async def list_all(self, *, limit: int, cursor: str | None = None) -> Page[StaffAccount]:
        """Read a page of the accounts of staff, newest first."""
        statement = select(User).where(col(User.role) != Role.STUDENT)
        async with self._database.transaction() as db:
            page = await read_page(db, statement, (col(User.created_at), col(User.id)), limit=limit, cursor=cursor)
            ids = [user.id for user in page.items]
            apps = sa.select(col(SecondFactor.user_id)).where(
                col(SecondFactor.user_id).in_(ids), col(SecondFactor.enrolled_at).is_not(None)
            )
            passkeys = sa.select(col(Passkey.user_id)).where(col(Passkey.user_id).in_(ids))
            enrolled = set(await db.scalars(apps.union(passkeys)))
            used = (
                sa.select(col(RefreshToken.user_id), sa.func.count(), sa.func.max(col(RefreshToken.created_at)))
                .where(col(RefreshToken.user_id).in_(ids), _is_open())
                .group_by(col(RefreshToken.user_id))
            )
            logins = {user_id: (count, at) for user_id, count, at in (await db.execute(used)).all()}
        items = [StaffAccount(user, user.id in enrolled, *logins.get(user.id, (0, None))) for user in page.items]
        return Page(items, page.next_cursor)

    async def list_logins(self, user_id: str) -> list[StaffLogin]:
        """List the logins of a staff account that have not ended, the last used first; raise NotFound."""
        async with self._database.transaction() as db:
            _require_staff(await db.get(User, uuid.UUID(user_id)))
            return await _read_logins(db, uuid.UUID(user_id))

    async def find_logins(self, email: str) -> list[StaffLogin]:
        """The same, of the account of an address."""
        async with self._database.transaction() as db:
            user = _require_staff(await find_user_by_email(db, email))
            return await _read_logins(db, user.id)

    async def end_login(self, actor_id: str, user_id: str, login_id: str) -> None:
        """End a login of a staff account; raise NotFound."""
        async with self._database.transaction() as db:
            user = _require_staff(await lock_user(db, uuid.UUID(user_id)))
            ended = await self._end(db, uuid.UUID(actor_id), user, uuid.UUID(login_id))
        await self._logins.publish_ended(ended)

    async def end_login_of(self, email: str, login_id: uuid.UUID) -> None:
        """The same from the command line, of the account of an address."""
        async with self._database.transaction() as db:
            found = _require_staff(await find_user_by_email(db, email))
            user = _require_staff(await lock_user(db, found.id))
            ended = await self._end(db, None, user, login_id)
        await self._logins.publish_ended(ended)

    async def _end(self, db: AsyncSession, actor_id: uuid.UUID | None, user: User, login_id: uuid.UUID) -> list[str]:
        ended = await self._logins.end_login_within(db, user.id, login_id)
        if not ended:
            raise errors.NotFound("this account has no such login")
        await self._audit.write(db, actor_id, "staff.logout", user.id, login=str(login_id))
        return ended


def _require_staff(user: User | None) -> User:
    if user is None or not user.role.is_staff:
        raise errors.NotFound("there is no such account of staff")
    return user


def _is_open() -> sa.ColumnElement[bool]:
    """Return the condition of the token that a login exchanges next, of logins that have not ended."""
    return sa.and_(
        col(RefreshToken.rotated_at).is_(None),
        ~col(RefreshToken.revoked),
        col(RefreshToken.expires_at) > sa.func.now(),
    )


async def _read_logins(db: AsyncSession, user_id: uuid.UUID) -> list[StaffLogin]:
    began = (
        sa.select(col(RefreshToken.family_id), sa.func.min(col(RefreshToken.created_at)).label("at"))
        .where(col(RefreshToken.user_id) == user_id)
        .group_by(col(RefreshToken.family_id))
        .subquery()
    )
    statement = (
        sa.select(
            col(RefreshToken.family_id),
            col(RefreshToken.device_id),
            col(RefreshToken.platform),
            began.c.at,
            col(RefreshToken.created_at),
            col(RefreshToken.factor_proven_at),
        )
        .join(began, began.c.family_id == col(RefreshToken.family_id))
        .where(col(RefreshToken.user_id) == user_id, _is_open())
        .order_by(col(RefreshToken.created_at).desc())
        .limit(MAX_LISTED_DEVICES)
    )
    return [StaffLogin(*row) for row in (await db.execute(statement)).all()]
