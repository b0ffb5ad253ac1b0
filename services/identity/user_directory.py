"""Directory of accounts for administrators: search, filters, and the recent rows of one account."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database, plan_by_values
from models import AuditEntry, Profile, Role, User, email_addresses
from services.calls.call_history import Call, CallHistoryService
from services.operations.audit import AuditService
from services.pagination import Page, read_page, seek
from services.payments.orders import AdminOrder, OrdersService
from services.safety.reports import ReportsService
from services.safety.review_queue import ReviewItem

#: Calls, reports and orders that are read with an account, and entries of the audit log about bans.
_RECENT_ROWS, _BAN_ENTRIES = 10, 100
#: An id is searched from this many characters on: otherwise each name of the letters a to f would find ids too.
_ID_PREFIX_LENGTH = 8
#: A query of the keys of accounts.
_Keys = sa.Select[uuid.UUID, datetime]


class UserWithProfile(NamedTuple):
    user: User
    profile: Profile


@dataclass(frozen=True, slots=True)
class UserDetail:
    """An account with its newest calls (from its side), reports, orders and bans."""

    user: User
    profile: Profile
    calls: list[Call]
    reports_about: list[ReviewItem]
    reports_by: list[ReviewItem]
    orders: list[AdminOrder]
    bans: list[AuditEntry]


class UserDirectoryService:
    def __init__(
        self,
        database: Database,
        call_history: CallHistoryService,
        reports: ReportsService,
        orders: OrdersService,
        audit: AuditService,
    ) -> None:
        self._database = database
        self._call_history = call_history
        self._reports = reports
        self._orders = orders
        self._audit = audit

    async def list_all(
        self,
        *,
        limit: int,
        search: str | None = None,
        banned: bool | None = None,
        flagged: bool | None = None,
        role: str | None = None,
        verified: bool | None = None,
        cursor: str | None = None,
    ) -> Page[UserWithProfile]:
        """Read a page of the accounts that are not deleted, newest first.

        `search` is the beginning of an address, a username or (from 8 characters on) an id, in any case.
        """
        users = sa.select(col(User.id), col(User.created_at)).where(col(User.deleted_at).is_(None))
        if banned is not None:
            users = users.where(col(User.is_banned) if banned else ~col(User.is_banned))
        if flagged is not None:
            users = users.where(col(User.flagged_at).is_not(None) if flagged else col(User.flagged_at).is_(None))
        if role:
            users = users.where(col(User.role) == Role(role))
        if verified is not None:
            users = users.where(col(User.is_verified) if verified else ~col(User.is_verified))
        key = (col(User.created_at), col(User.id))
        # One index walk for each searched column, at most a page of each; the union is sorted in memory.
        walks = [
            sa.select(seek(each, key, limit=limit, cursor=cursor).subquery())
            for each in _narrow_by_search(users, search or "")
        ]
        found = sa.union(*walks).subquery()
        statement = (
            select(User, Profile)
            .join(found, found.c.id == col(User.id))
            .join(Profile, col(Profile.user_id) == col(User.id))
        )
        async with self._database.transaction() as db:
            await plan_by_values(db)
            return await read_page(db, statement, key, limit=limit, cursor=None, build=UserWithProfile)

    async def read(self, user_id: str, *, with_orders: bool = True) -> UserDetail:
        """Read an account, also one that is deleted; raise NotFound."""
        statement = select(User, Profile).join(Profile, col(Profile.user_id) == col(User.id))
        async with self._database.transaction() as db:
            found = (await db.exec(statement.where(User.id == uuid.UUID(user_id)))).first()
        if found is None:
            raise errors.NotFound()
        calls = await self._call_history.list_calls(user_id, limit=_RECENT_ROWS, cursor=None)
        about = await self._reports.list_all(reported_id=user_id, limit=_RECENT_ROWS)
        by = await self._reports.list_all(reporter_id=user_id, limit=_RECENT_ROWS)
        orders: list[AdminOrder] = []
        if with_orders:
            orders = (await self._orders.list_all(user_id=user_id, limit=_RECENT_ROWS)).items
        bans = await self._audit.list_all(target_id=user_id, actions=("user.ban", "user.unban"), limit=_BAN_ENTRIES)
        return UserDetail(*found, calls.items, about.page.items, by.page.items, orders, bans.items)


def _narrow_by_search(users: _Keys, search: str) -> list[_Keys]:
    """Narrow a query of accounts in one way for each column that is searched."""
    search = search.strip()
    if not search:
        return [users]
    pattern = sa.func.lower(_escape_like(search) + "%")
    by_name = users.join(Profile, col(Profile.user_id) == col(User.id))
    walks = [
        users.where(col(User.email_canonical).like(_escape_like(email_addresses.to_canonical(search)) + "%")),
        by_name.where(sa.func.lower(col(Profile.username)).like(pattern)),
    ]
    if ids := _find_id_range(search.lower()):
        walks.append(users.where(col(User.id).between(*ids)))
    return walks


def _escape_like(text: str) -> str:
    """Escape the wildcards of LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _find_id_range(prefix: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the first and the last id with a prefix, hyphens included; None for one that no id has."""
    digits = prefix.replace("-", "")
    if len(prefix) < _ID_PREFIX_LENGTH or not re.fullmatch("[0-9a-f]{1,32}", digits):
        return None
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    return (first, last) if str(first).startswith(prefix) else None
