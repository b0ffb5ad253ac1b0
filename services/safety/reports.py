"""Reports of learners by learners, and their review by administrators."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from instants import utc_now
from models import CallSession, Report, ReportReason, ReportStatus, User
from services.identity.user_rows import lock_user
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.safety.bans import BansService

#: Learners with a pending report of the same user, from which on that user is flagged for review.
FLAG_REPORTERS = 3


class ReportsService:
    def __init__(self, database: Database, audit: AuditService, bans: BansService) -> None:
        self._database = database
        self._audit = audit
        self._bans = bans

    async def report(
        self, reporter_id: str, reported_id: str, session_id: str | None, reason: str, description: str | None
    ) -> Report:
        """Report a user that the reporter was in a call with.

        Raises NotFound where there was no such call, AlreadyReported, and RequestInvalid for the own account.
        """
        reporter, reported = uuid.UUID(reporter_id), uuid.UUID(reported_id)
        if reporter == reported:
            raise errors.RequestInvalid("you cannot report yourself")
        together = sa.or_(
            sa.and_(col(CallSession.user_a_id) == reporter, col(CallSession.user_b_id) == reported),
            sa.and_(col(CallSession.user_a_id) == reported, col(CallSession.user_b_id) == reporter),
        )
        if session_id is not None:
            together = sa.and_(together, col(CallSession.id) == uuid.UUID(session_id))
        report = Report(
            reporter_id=reporter,
            reported_id=reported,
            session_id=uuid.UUID(session_id) if session_id else None,
            reason=ReportReason(reason),
            description=description,
        )
        try:
            async with self._database.transaction() as db:
                # Locked, so that of three simultaneous reports the last one sees the other two.
                user = await lock_user(db, reported)
                if user is None or (await db.exec(select(CallSession.id).where(together).limit(1))).first() is None:
                    raise errors.NotFound()
                db.add(report)
                await db.flush()
                await notifications.notify_staff(db, notification_templates.new_report(report))
                await self._update_flag(db, user)
        except IntegrityError:
            raise errors.AlreadyReported() from None
        return report

    async def list_mine(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Report]:
        """Read a page of the reports that a user has made, newest first."""
        return await self._list(col(Report.reporter_id) == uuid.UUID(user_id), limit, cursor)

    async def list_all(
        self,
        *,
        limit: int,
        status: str | None = None,
        reporter_id: str | None = None,
        reported_id: str | None = None,
        cursor: str | None = None,
    ) -> Page[Report]:
        """Read a page of all reports, or those of one status, by one learner, about one, newest first."""
        conditions: list[sa.ColumnElement[bool]] = [sa.true()]
        if status:
            conditions.append(col(Report.status) == ReportStatus(status))
        if reporter_id:
            conditions.append(col(Report.reporter_id) == uuid.UUID(reporter_id))
        if reported_id:
            conditions.append(col(Report.reported_id) == uuid.UUID(reported_id))
        return await self._list(sa.and_(*conditions), limit, cursor)

    async def _list(self, condition: sa.ColumnElement[bool], limit: int, cursor: str | None) -> Page[Report]:
        key = (col(Report.created_at), col(Report.id))
        async with self._database.transaction() as db:
            return await read_page(db, select(Report).where(condition), key, limit=limit, cursor=cursor)

    async def review(
        self, actor_id: str, report_id: str, *, status: str | None, admin_note: str | None, ban: bool
    ) -> Report:
        """Review a report, and ban the reported user if `ban`, in one transaction.

        Raises NotFound, Forbidden where the reported user is an administrator, and AlreadyReported where the report
        would be pending again although its reporter has made another since.
        """
        actor = uuid.UUID(actor_id)
        ended: list[str] = []
        try:
            async with self._database.transaction() as db:
                report = (
                    await db.exec(select(Report).where(Report.id == uuid.UUID(report_id)).with_for_update())
                ).first()
                if report is None:
                    raise errors.NotFound()
                before = report.status
                if ban:
                    report.status = ReportStatus.ACTIONED
                elif status is not None:
                    report.status = ReportStatus(status)
                if admin_note is not None:
                    report.admin_note = admin_note
                if report.status is ReportStatus.ACTIONED and report.actioned_at is None:
                    report.actioned_at = utc_now()
                db.add(report)
                await db.flush()
                user = await lock_user(db, report.reported_id)
                assert user is not None
                if ban:
                    ended = await self._bans.ban_within(db, actor, user, admin_note or report.reason.value)
                await self._update_flag(db, user)
                outcome = {"before": before.value, "after": report.status.value, "banned": ban}
                await self._audit.write(db, actor, "report.review", report.id, **outcome)
        except IntegrityError:
            raise errors.AlreadyReported("The reporter has another pending report of the same learner.") from None
        await self._bans.publish_ended_logins(ended)
        return report

    @staticmethod
    async def _update_flag(db: AsyncSession, user: User) -> None:
        if await update_flag(db, user):
            await notifications.notify_staff(db, notification_templates.user_flagged(user.id))


async def update_flag(db: AsyncSession, user: User) -> bool:
    """Flag an account for review, or end the flag, by its pending reporters; return whether it was flagged just now."""
    reporters = select(sa.func.count(sa.distinct(col(Report.reporter_id)))).where(
        Report.reported_id == user.id, Report.status == ReportStatus.PENDING
    )
    flagged = (await db.exec(reporters)).one() >= FLAG_REPORTERS
    if flagged != (user.flagged_at is not None):
        user.flagged_at = utc_now() if flagged else None
        db.add(user)
        return flagged
    return False
