"""Sanctions: warnings, suspensions and bans, issued with reasons and lifted.

The rows are the record. `users.is_banned` and `users.suspended_until` repeat what is in force, for the queries that
each connection and search make; both change in the transaction of the row, under the lock of the account.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from jobs import send_lift_notice, send_statement
from models import (
    Appeal,
    Report,
    Role,
    Sanction,
    SanctionGround,
    SanctionKind,
    User,
)
from services.calls.invitation_rows import end_between
from services.identity.logins import LoginsService
from services.identity.user_rows import lock_active_user, lock_user
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.people.appointment_rows import cancel_of_user
from services.safety.barred_identifiers import release_within
from services.safety.standings import SanctionNotice, close_appeal_within

#: How long after a sanction an appeal is possible (DSA, article 20(1): at least six months).
APPEAL_PERIOD = sa.text("interval '6 months'")
_ISSUE_ACTIONS = {
    SanctionKind.WARNING: "user.warn",
    SanctionKind.SUSPENSION: "user.suspend",
    SanctionKind.BAN: "user.ban",
}
_LIFT_ACTIONS = {
    SanctionKind.WARNING: "user.unwarn",
    SanctionKind.SUSPENSION: "user.unsuspend",
    SanctionKind.BAN: "user.unban",
}


@dataclass(frozen=True, slots=True)
class SanctionOrder:
    """What is to be issued. `days` is the duration of a suspension; without `shows_facts` the facts are internal."""

    kind: SanctionKind
    ground: SanctionGround
    facts: str
    days: int | None = None
    report_id: uuid.UUID | None = None
    shows_facts: bool = True

    def check(self) -> None:
        """Raise RequestInvalid where a suspension has no duration, or another kind has one."""
        if (self.kind is SanctionKind.SUSPENSION) != (self.days is not None):
            raise errors.RequestInvalid("'days' belongs to a suspension: a suspension needs it, others have none")


class SanctionsService:
    def __init__(self, database: Database, audit: AuditService, logins: LoginsService, jobs: Jobs) -> None:
        self._database = database
        self._audit = audit
        self._logins = logins
        self._jobs = jobs

    async def issue(self, actor_id: str | None, user_id: str, order: SanctionOrder) -> Sanction:
        """Sanction an account; without an actor as an operator.

        Raises NotFound; Forbidden for a member of staff; AlreadySanctioned where a ban or another suspension is in
        force; RequestInvalid for a duration that does not fit the kind, or a report that is not about the account.
        """
        order.check()
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id), absent=errors.NotFound)
            await _check_report(db, user, order.report_id)
            sanction, ended = await self.issue_within(db, uuid.UUID(actor_id) if actor_id else None, user, order)
        await self.publish_ended_logins(ended)
        return sanction

    async def issue_within(
        self, db: AsyncSession, actor_id: uuid.UUID | None, user: User, order: SanctionOrder
    ) -> tuple[Sanction, list[str]]:
        """Sanction inside the caller's transaction, which holds the account's row.

        Returns the row and the logins that ended; pass the latter to `publish_ended_logins` after the commit.
        """
        order.check()
        if user.role is not Role.STUDENT:
            raise errors.Forbidden("a member of staff cannot be sanctioned; demote the account first")
        await _restrict(db, actor_id, user, order)
        if order.kind is SanctionKind.BAN:
            await cancel_of_user(db, user.id)
        if order.kind is not SanctionKind.WARNING:
            await end_between(db, user.id)
        sanction = await _add_row(db, actor_id, user, order)
        details: dict[str, object] = {"sanction": str(sanction.id), "ground": order.ground.value}
        if order.days is not None:
            details["days"] = order.days
        await self._audit.write(db, actor_id, _ISSUE_ACTIONS[order.kind], user.id, **details)
        await notifications.notify_user(db, user.id, notification_templates.sanction_issued(sanction))
        await self._jobs.enqueue(db, send_statement, sanction_id=str(sanction.id))
        if order.kind is SanctionKind.WARNING:
            return sanction, []
        return sanction, await self._logins.end_all_within(db, user.id)

    async def ban(self, actor_id: str, user_id: str, reason: str) -> None:
        """Ban an account for an internal reason, unless it is banned; raise NotFound or Forbidden."""
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id), absent=errors.NotFound)
            order = SanctionOrder(SanctionKind.BAN, SanctionGround.OTHER, reason, shows_facts=False)
            ended = await self.ban_within(db, uuid.UUID(actor_id), user, order)
        await self.publish_ended_logins(ended)

    async def ban_within(self, db: AsyncSession, actor_id: uuid.UUID, user: User, order: SanctionOrder) -> list[str]:
        """Ban inside the caller's transaction, unless it is so; then pass the result to `publish_ended_logins`."""
        if user.is_banned:
            return await self._logins.end_all_within(db, user.id)
        _, ended = await self.issue_within(db, actor_id, user, order)
        return ended

    async def lift(self, actor_id: str | None, sanction_id: str, reason: str) -> SanctionNotice:
        """Lift a sanction, also of a deleted account, and close an open appeal; raise NotFound or SanctionLifted."""
        async with self._database.transaction() as db:
            found = await db.get(Sanction, uuid.UUID(sanction_id))
            if found is None:
                raise errors.NotFound()
            user = await lock_user(db, found.user_id)
            assert user is not None, "rows of accounts are never deleted"
            sanction = await self.lift_within(db, uuid.UUID(actor_id) if actor_id else None, user, found.id, reason)
            if user.deleted_at is None:
                await self._announce_lift(db, sanction)
            appeal = (await db.exec(select(Appeal).where(Appeal.sanction_id == sanction.id))).first()
        return SanctionNotice(sanction, appeal)

    async def unban(self, actor_id: str, user_id: str) -> None:
        """Lift the ban of an account, if it has one; raise NotFound."""
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id), absent=errors.NotFound)
            if not user.is_banned:
                return
            statement = select(Sanction.id).where(
                Sanction.user_id == user.id, Sanction.kind == SanctionKind.BAN, col(Sanction.lifted_at).is_(None)
            )
            ban = (await db.exec(statement)).first()
            if ban is None:  # from a process of the release before, during an upgrade
                await _restore(db, user, SanctionKind.BAN)
                await self._audit.write(db, uuid.UUID(actor_id), _LIFT_ACTIONS[SanctionKind.BAN], user.id)
                return
            lifted = await self.lift_within(db, uuid.UUID(actor_id), user, ban, "An administrator has lifted the ban.")
            await self._announce_lift(db, lifted)

    async def lift_within(
        self, db: AsyncSession, actor_id: uuid.UUID | None, user: User, sanction_id: uuid.UUID, reason: str
    ) -> Sanction:
        """Lift a sanction inside the caller's transaction, which holds the account's row; raise SanctionLifted."""
        lifted = (
            sa.update(Sanction)
            .where(col(Sanction.id) == sanction_id, col(Sanction.lifted_at).is_(None))
            .values(
                lifted_at=sa.func.now(),
                lifted_by=actor_id,
                # An account that is deleted keeps no text about its owner.
                lift_reason=reason if user.deleted_at is None else None,
            )
            .returning(Sanction)
            .execution_options(populate_existing=True)
        )
        sanction: Sanction | None = (await db.execute(lifted)).scalars().first()
        if sanction is None:
            raise errors.SanctionLifted()
        await _restore(db, user, sanction.kind)
        await release_within(db, sanction)
        details = {"sanction": str(sanction.id)}
        await self._audit.write(db, actor_id, _LIFT_ACTIONS[sanction.kind], user.id, **details)
        await close_appeal_within(db, col(Appeal.sanction_id) == sanction.id, "The sanction was lifted.")
        return sanction

    async def _announce_lift(self, db: AsyncSession, sanction: Sanction) -> None:
        await notifications.notify_user(db, sanction.user_id, notification_templates.sanction_lifted(sanction))
        await self._jobs.enqueue(db, send_lift_notice, sanction_id=str(sanction.id))

    async def list_for_user(self, user_id: str, *, limit: int, cursor: str | None) -> Page[SanctionNotice]:
        """Read a page of an account's sanctions with their appeals, newest first."""
        statement = (
            select(Sanction, Appeal)
            .join(Appeal, col(Appeal.sanction_id) == col(Sanction.id), isouter=True)
            .where(Sanction.user_id == uuid.UUID(user_id))
        )
        key = (col(Sanction.starts_at), col(Sanction.id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=SanctionNotice)

    async def list_for_account(self, user_id: str, *, limit: int, cursor: str | None) -> Page[SanctionNotice]:
        """Read a page of the sanctions of any account, also a deleted one; raise NotFound."""
        async with self._database.transaction() as db:
            if await db.get(User, uuid.UUID(user_id)) is None:
                raise errors.NotFound()
        return await self.list_for_user(user_id, limit=limit, cursor=cursor)

    async def acknowledge(self, user_id: str, sanction_id: str) -> None:
        """Record that a learner has read a warning; raise NotFound where they have no such warning."""
        statement = (
            sa.update(Sanction)
            .where(
                col(Sanction.id) == uuid.UUID(sanction_id),
                col(Sanction.user_id) == uuid.UUID(user_id),
                col(Sanction.kind) == SanctionKind.WARNING,
            )
            .values(acknowledged_at=sa.func.coalesce(col(Sanction.acknowledged_at), sa.func.now()))
            .returning(col(Sanction.id))
        )
        async with self._database.transaction() as db:
            if (await db.execute(statement)).first() is None:
                raise errors.NotFound()

    async def is_banned(self, user_id: str) -> bool:
        async with self._database.transaction() as db:
            return bool((await db.exec(select(User.is_banned).where(User.id == uuid.UUID(user_id)))).first())

    async def publish_ended_logins(self, ended: list[str]) -> None:
        """Publish which logins a sanction has ended; call it after the commit."""
        await self._logins.publish_ended(ended)


async def _add_row(db: AsyncSession, actor_id: uuid.UUID | None, user: User, order: SanctionOrder) -> Sanction:
    values: dict[str, object] = {
        "user_id": user.id,
        "kind": order.kind,
        "ground": order.ground,
        "facts": order.facts,
        "shows_facts": order.shows_facts,
        "ends_at": _plus_days(order.days) if order.days is not None else None,
        "appeal_until": sa.func.now() + APPEAL_PERIOD,
        "issued_by": actor_id,
        "report_id": order.report_id,
    }
    row: Sanction = (await db.scalars(sa.insert(Sanction).values(values).returning(Sanction))).one()
    return row


def _plus_days(days: int) -> sa.ColumnElement[datetime]:
    return sa.func.now() + timedelta(days=days)


async def _check_report(db: AsyncSession, user: User, report_id: uuid.UUID | None) -> None:
    """Raise RequestInvalid for a report that is not about the account."""
    if report_id is None:
        return
    about = select(Report.id).where(Report.id == report_id, Report.reported_id == user.id)
    if (await db.exec(about)).first() is None:
        raise errors.RequestInvalid("'reportId' is not a report about this account")


async def _restrict(db: AsyncSession, actor_id: uuid.UUID | None, user: User, order: SanctionOrder) -> None:
    """Set what is in force on the account's row, from the state before; raise AlreadySanctioned."""
    if order.kind is SanctionKind.WARNING:
        return
    values: dict[str, object]
    free = ~col(User.is_banned)
    if order.kind is SanctionKind.BAN:
        values = {
            "is_banned": True,
            "ban_reason": order.facts,
            "banned_at": sa.func.now(),
            "banned_by": actor_id,
        }
    else:
        assert order.days is not None
        until = col(User.suspended_until)
        free = sa.and_(free, sa.or_(until.is_(None), until <= sa.func.now()))
        values = {"suspended_until": _plus_days(order.days)}
    changed = await db.execute(
        sa.update(User).where(col(User.id) == user.id, free).values(**values).returning(col(User.id))
    )
    if changed.first() is None:
        raise errors.AlreadySanctioned()
    await db.refresh(user)


async def _restore(db: AsyncSession, user: User, kind: SanctionKind) -> None:
    """Take back what a lifted sanction set on the account's row."""
    if kind is SanctionKind.BAN:
        values: dict[str, object] = {"is_banned": False, "ban_reason": None, "banned_at": None, "banned_by": None}
    elif kind is SanctionKind.SUSPENSION:
        others = sa.select(sa.func.max(col(Sanction.ends_at))).where(
            col(Sanction.user_id) == user.id,
            col(Sanction.kind) == SanctionKind.SUSPENSION,
            col(Sanction.lifted_at).is_(None),
        )
        values = {"suspended_until": others.scalar_subquery()}
    else:
        return
    await db.execute(sa.update(User).where(col(User.id) == user.id).values(**values))
    await db.refresh(user)
