"""Reports of learners by learners, and their review by administrators."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import enqueue_each
from adapters.tokens import Identity
from instants import utc_now
from jobs import weigh_reports
from models import URGENT_REASONS, Block, Report, ReportReason, ReportStatus, SanctionGround, SanctionKind, User
from services.calls import match_outcomes
from services.identity.user_rows import lock_user
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.people.partner_rows import end_partnership, lock_pair
from services.safety import report_evidence, review_queue
from services.safety.holds import HoldRules, place_hold, release_hold
from services.safety.report_weights import HOLD_RANK, assess
from services.safety.review_queue import ReviewItem, ReviewPage
from services.safety.sanctions import SanctionOrder, SanctionsService

log = logging.getLogger("parlance.safety")

#: Learners whose reports are weighed again after a review, the latest reported.
MAX_REWEIGHED_LEARNERS = 1000


@dataclass(frozen=True, slots=True)
class ReportRules:
    """Settings of reports.

    `flag_weight`: the independent weight of pending reports from which on a learner is flagged. `due`, `urgent_due`:
    time for a review. `contact`: where reporters answer a decision, an address or a link.
    """

    flag_weight: float
    due: timedelta
    urgent_due: timedelta
    holds: HoldRules
    prune_traits_after: timedelta
    contact: str


class ReportSanction(NamedTuple):
    """The sanction that a review issues; its ground is the reason of the report, unless another one is given."""

    kind: SanctionKind
    facts: str
    days: int | None = None
    ground: SanctionGround | None = None

    def build_order(self, report: Report) -> SanctionOrder:
        return SanctionOrder(self.kind, self.ground or _find_ground(report), self.facts, self.days, report.id)


class ReportsService:
    def __init__(
        self,
        database: Database,
        audit: AuditService,
        sanctions: SanctionsService,
        rules: ReportRules,
        get_trait_key: Callable[[], bytes],
    ) -> None:
        """`get_trait_key` returns the key of the hashes of reporters' devices and networks."""
        self._database = database
        self._audit = audit
        self._sanctions = sanctions
        self._rules = rules
        self._get_trait_key = get_trait_key

    async def report(
        self,
        identity: Identity,
        reported_id: str,
        session_id: str | None,
        reason: str,
        description: str | None,
        *,
        block: bool = False,
        address: str = "",
    ) -> Report:
        """Report a user that the reporter is or was in a call with, and block them too with `block`.

        Raises NotFound where there was no such call, AlreadyReported, and RequestInvalid for the own account.
        """
        reporter, reported = uuid.UUID(identity.user_id), uuid.UUID(reported_id)
        if reporter == reported:
            raise errors.RequestInvalid("you cannot report yourself")
        key = self._get_trait_key()
        try:
            async with self._database.transaction() as db:
                # Locked, so that of simultaneous reports each is weighed with those before it.
                user = (await lock_pair(db, reporter, reported)).get(reported)
                call = await report_evidence.find_call(db, reporter, reported, session_id)
                if user is None or call is None:
                    raise errors.NotFound()
                traits = await report_evidence.read_reporter(db, key, identity.family_id, address)
                urgent = ReportReason(reason) in URGENT_REASONS
                report = Report(
                    reporter_id=reporter,
                    reported_id=reported,
                    session_id=uuid.UUID(session_id) if session_id else None,
                    reason=ReportReason(reason),
                    description=description,
                    is_urgent=urgent,
                    has_block=block,
                    call_seconds=call.seconds,
                    call_days=call.days,
                    reporter_device=traits.device,
                    reporter_network=traits.network,
                    due_at=sa.func.now() + (self._rules.urgent_due if urgent else self._rules.due),  # type: ignore[arg-type]
                )
                db.add(report)
                await db.flush()
                await db.refresh(report)
                if block and user.deleted_at is None:
                    values = {"blocker_id": reporter, "blocked_id": reported}
                    await db.execute(insert(Block).values(values).on_conflict_do_nothing())
                await match_outcomes.forgive(db, reporter, reported)
                await end_partnership(db, reporter, reported)
                await notifications.notify_staff(db, notification_templates.new_report(report))
                await self._weigh(db, user, after="report")
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
        urgent: bool | None = None,
        overdue: bool | None = None,
        cursor: str | None = None,
        order: str = "newest",
    ) -> ReviewPage:
        """Read a page of all reports, or those of one status, by one learner, about one.

        Newest first; or, by the order `queue`, the pending ones that should be reviewed first.
        """
        conditions: list[sa.ColumnElement[bool]] = [sa.true()]
        if status:
            conditions.append(col(Report.status) == ReportStatus(status))
        if reporter_id:
            conditions.append(col(Report.reporter_id) == uuid.UUID(reporter_id))
        if reported_id:
            conditions.append(col(Report.reported_id) == uuid.UUID(reported_id))
        if urgent is not None:
            conditions.append(col(Report.is_urgent).is_(urgent))
        if overdue is not None:
            is_overdue = sa.and_(col(Report.status) == ReportStatus.PENDING, col(Report.due_at) < sa.func.now())
            conditions.append(is_overdue if overdue else ~is_overdue)
        condition = sa.and_(*conditions)
        key = (col(Report.created_at), col(Report.id))
        async with self._database.transaction() as db:
            if order == "queue":
                page = await review_queue.read_queue(db, condition, limit=limit, cursor=cursor)
            else:
                page = await read_page(db, select(Report).where(condition), key, limit=limit, cursor=cursor)
            items = await review_queue.add_learner_reports(db, page.items)
            return ReviewPage(Page(items, page.next_cursor), await review_queue.count_queue(db))

    async def _list(self, condition: sa.ColumnElement[bool], limit: int, cursor: str | None) -> Page[Report]:
        key = (col(Report.created_at), col(Report.id))
        async with self._database.transaction() as db:
            return await read_page(db, select(Report).where(condition), key, limit=limit, cursor=cursor)

    async def review(
        self,
        actor_id: str,
        report_id: str,
        *,
        status: str | None,
        admin_note: str | None,
        ban: bool,
        sanction: ReportSanction | None = None,
    ) -> ReviewItem:
        """Review a report, and ban the reported user if `ban`, or sanction them, in one transaction.

        Each outcome notifies the reporter once. Raises NotFound; Forbidden where the reported user is a member of
        staff; AlreadySanctioned; AlreadyReported where the report would be pending again although its reporter has made
        another since.
        """
        actor = uuid.UUID(actor_id)
        ended: list[str] = []
        try:
            async with self._database.transaction() as db:
                user, report = await _lock_report(db, uuid.UUID(report_id))
                before = report.status
                if ban or sanction:
                    report.status = ReportStatus.ACTIONED
                elif status is not None:
                    report.status = ReportStatus(status)
                if admin_note is not None:
                    report.admin_note = admin_note
                if report.status is ReportStatus.ACTIONED and report.actioned_at is None:
                    report.actioned_at = utc_now()
                db.add(report)
                await db.flush()
                if sanction:
                    _, ended = await self._sanctions.issue_within(db, actor, user, sanction.build_order(report))
                elif ban:
                    ended = await self._sanctions.ban_within(db, actor, user, _build_ban(report, admin_note))
                if report.status is not before:
                    await self._settle(db, report)
                await self._weigh(db, user, after="review")
                outcome = {"before": before.value, "after": report.status.value, "banned": ban}
                if sanction:
                    outcome["sanction"] = sanction.kind.value
                await self._audit.write(db, actor, "report.review", report.id, **outcome)
                await db.flush()
                (item,) = await review_queue.add_learner_reports(db, [report])
        except IntegrityError:
            raise errors.AlreadyReported("The reporter has another pending report of the same learner.") from None
        await self._sanctions.publish_ended_logins(ended)
        return item

    async def _settle(self, db: AsyncSession, report: Report) -> None:
        """Note a decision, notify the reporter once of each outcome, and have what depends on it weighed again."""
        if report.status is ReportStatus.PENDING:
            report.decided_at = None
        else:
            report.decided_at = report.decided_at or utc_now()
            template = notification_templates.report_decided(report, self._rules.contact)
            await notifications.notify_user(db, report.reporter_id, template)
        db.add(report)
        await db.flush()
        # The reporter's record, and whom the reporters of this learner have in common.
        reporters = sa.select(col(Report.reporter_id)).where(col(Report.reported_id) == report.reported_id)
        concerned = (
            sa.select(col(Report.reported_id))
            .where(
                col(Report.status) == ReportStatus.PENDING,
                col(Report.reporter_id).in_(reporters),
                col(Report.reported_id) != report.reported_id,
            )
            .group_by(col(Report.reported_id))
            .order_by(sa.func.max(col(Report.created_at)).desc())
            .limit(MAX_REWEIGHED_LEARNERS)
        )
        users = (await db.execute(concerned)).scalars().all()
        await enqueue_each(db, weigh_reports, [{"user_id": str(each)} for each in users])

    async def weigh_again(self, user_id: str) -> None:
        """Weigh the pending reports of a learner again, after a review that concerns their reporters."""
        async with self._database.transaction() as db:
            if (user := await lock_user(db, uuid.UUID(user_id))) is not None:
                await self._weigh(db, user, after="review of others")

    async def _weigh(
        self, db: AsyncSession, user: User, *, after: Literal["report", "review", "review of others"]
    ) -> None:
        """Weigh the pending reports of a user whose row is locked; flag and hold the user accordingly.

        A report ends no hold, so that nobody can end one by reporting; a review begins none.
        """
        holds = self._rules.holds
        pending = await report_evidence.read_pending(db, user.id)
        assessment = assess(pending.evidence, pending.partners, holds.reasons)
        if await set_flag(db, user, is_flagged=assessment.total >= self._rules.flag_weight):
            await notifications.notify_staff(db, notification_templates.user_flagged(user.id))
        if after != "review" and await place_hold(db, user, assessment, holds):
            await notifications.notify_staff(db, notification_templates.pairing_held(user.id))
        elif after != "report" and not assessment.keeps_hold and user.pairing_held_until is not None:
            await release_hold(db, user)
        # A hold that has ended without a review too: its reports are still the first to be reviewed.
        is_first = user.pairing_held_until is not None
        await report_evidence.store_weights(db, pending, assessment.rank + (HOLD_RANK if is_first else 0))

    async def notify_overdue(self) -> int:
        """Notify the administrators of reports whose deadline has passed; return of how many."""
        return await review_queue.notify_overdue(self._database)

    async def prune_traits(self) -> int:
        """Delete the traits of reporters that are old enough; return of how many reports."""
        return await report_evidence.prune_traits(self._database, self._rules.prune_traits_after)


async def _lock_report(db: AsyncSession, report_id: uuid.UUID) -> tuple[User, Report]:
    """Lock the reported user's row, then the report with the pending ones about that user; raise NotFound."""
    about = (await db.exec(select(Report.reported_id).where(Report.id == report_id))).first()
    user = await lock_user(db, about) if about is not None else None
    # All at once, in the order in which the deletion of a reporter's account locks them: one after another, the two
    # would wait for each other.
    weighed = sa.and_(col(Report.reported_id) == about, col(Report.status) == ReportStatus.PENDING)
    statement = sa.select(col(Report.id)).where(sa.or_(weighed, col(Report.id) == report_id))
    await db.execute(statement.order_by(col(Report.id)).with_for_update())
    report = await db.get(Report, report_id)
    if user is None or report is None:
        raise errors.NotFound()
    return user, report


def _build_ban(report: Report, admin_note: str | None) -> SanctionOrder:
    """A ban whose reason is the note of the administrators, which the learner does not read."""
    reason = admin_note or report.reason.value
    return SanctionOrder(SanctionKind.BAN, _find_ground(report), reason, report_id=report.id, shows_facts=False)


def _find_ground(report: Report) -> SanctionGround:
    """Return the ground that is named as the reason of the report."""
    try:
        return SanctionGround(report.reason.value)
    except ValueError:
        return SanctionGround.OTHER


async def set_flag(db: AsyncSession, user: User, *, is_flagged: bool) -> bool:
    """Flag an account for review, or end the flag; return whether it was flagged just now."""
    if is_flagged != (user.flagged_at is not None):
        user.flagged_at = utc_now() if is_flagged else None
        db.add(user)
        await db.flush()
        return is_flagged
    return False
