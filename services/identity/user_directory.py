"""Owns accounts as operators see them: finding one among all, and what it has done lately."""

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
from models import AuditEntry, Profile, Report, Role, User, email_addresses
from services import pagination
from services.calls.call_history import Call, CallHistoryService
from services.operations.audit import AuditService
from services.pagination import Page
from services.payments.orders import AdminOrder, OrdersService
from services.safety.reports import ReportsService

#: How many of its calls, reports and orders are read with an account, and how many bans.
_LATELY, _BANS = 10, 100
#: An id is searched by this many characters at least: each name that begins with a digit or `a` would find ids, too.
_ID_PREFIX = 8
#: A query of accounts: what the pages of a list are ordered by.
_Keys = sa.Select[uuid.UUID, datetime]


class Account(NamedTuple):
    user: User
    profile: Profile


@dataclass(frozen=True, slots=True)
class AccountDetail:
    """An account with the newest of what it has done; `calls` are seen from its side."""

    user: User
    profile: Profile
    calls: list[Call]
    reports_about: list[Report]
    reports_by: list[Report]
    orders: list[AdminOrder]
    bans: list[AuditEntry]


class UserDirectoryService:
    def __init__(
        self,
        database: Database,
        sessions: CallHistoryService,
        reports: ReportsService,
        orders: OrdersService,
        audit: AuditService,
    ) -> None:
        self._database = database
        self._sessions = sessions
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
    ) -> Page[Account]:
        """Read a page of the accounts that are not deleted, newest first.

        `search` is how an address, a username or (from 8 characters on) an id begins, whatever the case.
        """
        one = sa.select(col(User.id), col(User.created_at)).where(col(User.deleted_at).is_(None))
        if banned is not None:
            one = one.where(col(User.is_banned) if banned else ~col(User.is_banned))
        if flagged is not None:
            one = one.where(col(User.flagged_at).is_not(None) if flagged else col(User.flagged_at).is_(None))
        if role:
            one = one.where(col(User.role) == Role(role))
        if verified is not None:
            one = one.where(col(User.is_verified) if verified else ~col(User.is_verified))
        if cursor:
            one = one.where(sa.tuple_(col(User.created_at), col(User.id)) < sa.tuple_(*pagination.decode(cursor)))
        newest_first = (col(User.created_at).desc(), col(User.id).desc())
        # One index walk for each thing that is searched, `limit` rows of each at most; the union is sorted in memory.
        walks = [
            sa.select(each.order_by(*newest_first).limit(limit + 1).subquery()) for each in _searched(one, search or "")
        ]
        found = sa.union(*walks).subquery()
        statement = (
            select(User, Profile)
            .join(found, found.c.id == col(User.id))
            .join(Profile, col(Profile.user_id) == col(User.id))
            .order_by(*newest_first)
            .limit(limit + 1)
        )
        async with self._database.transaction() as db:
            await plan_by_values(db)
            rows = [Account(*row) for row in (await db.exec(statement)).all()]
        return pagination.page(rows, limit, lambda row: (row.user.created_at, row.user.id))

    async def read(self, user_id: str) -> AccountDetail:
        """Read an account, also one that is deleted; raise NotFound."""
        statement = select(User, Profile).join(Profile, col(Profile.user_id) == col(User.id))
        async with self._database.transaction() as db:
            found = (await db.exec(statement.where(User.id == uuid.UUID(user_id)))).first()
        if found is None:
            raise errors.NotFound()
        calls = await self._sessions.list_calls(user_id, limit=_LATELY, cursor=None)
        about = await self._reports.list_all(reported_id=user_id, limit=_LATELY)
        by = await self._reports.list_all(reporter_id=user_id, limit=_LATELY)
        orders = await self._orders.list_all(user_id=user_id, limit=_LATELY)
        bans = await self._audit.list_all(target_id=user_id, actions=("user.ban", "user.unban"), limit=_BANS)
        return AccountDetail(*found, calls.items, about.items, by.items, orders.items, bans.items)


def _searched(one: _Keys, search: str) -> list[_Keys]:
    """Narrow a query of accounts by each of what a search may mean."""
    search = search.strip()
    if not search:
        return [one]
    begins_so = sa.func.lower(_escaped(search) + "%")
    by_name = one.join(Profile, col(Profile.user_id) == col(User.id))
    walks = [
        one.where(col(User.email_canonical).like(_escaped(email_addresses.canonical(search)) + "%")),
        by_name.where(sa.func.lower(col(Profile.username)).like(begins_so)),
    ]
    if ids := _ids(search.lower()):
        walks.append(one.where(col(User.id).between(*ids)))
    return walks


def _escaped(text: str) -> str:
    """Make a text match itself alone in LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _ids(prefix: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The first and the last id that begin so, hyphens included; None where none can."""
    digits = prefix.replace("-", "")
    if len(prefix) < _ID_PREFIX or not re.fullmatch("[0-9a-f]{1,32}", digits):
        return None
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    return (first, last) if str(first).startswith(prefix) else None
