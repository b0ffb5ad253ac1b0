"""Review queue: pending reports in the order in which administrators should review them, their counts and deadlines."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import Report, ReportStatus, User
from services.messaging import notification_templates, notifications
from services.pagination import Page

_KEY = (col(Report.rank), col(Report.created_at), col(Report.id))
#: Overdue reports of one transaction.
_OVERDUE_BATCH_SIZE = 100


@dataclass(frozen=True, slots=True)
class LearnerReports:
    """Reports of one learner by status, and until when their pairing is held."""

    pending: int = 0
    actioned: int = 0
    reviewed: int = 0
    dismissed: int = 0
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A report as administrators see it."""

    report: Report
    about: LearnerReports


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Pending reports: all, those with an urgent reason, and those whose deadline has passed."""

    open: int
    urgent: int
    overdue: int


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """A page of reports, with the counts of the whole queue."""

    page: Page[ReviewItem]
    counts: QueueCounts


async def read_queue(
    db: AsyncSession, condition: sa.ColumnElement[bool], *, limit: int, cursor: str | None
) -> Page[Report]:
    """Read a page of the pending reports, the highest rank first; raise RequestInvalid for an invalid cursor."""
    statement = select(Report).where(condition, Report.status == ReportStatus.PENDING)
    if cursor:
        statement = statement.where(sa.tuple_(*_KEY) < sa.tuple_(*decode_cursor(cursor)))
    statement = statement.order_by(*(column.desc() for column in _KEY)).limit(limit + 1)
    rows = list((await db.exec(statement)).all())
    return Page(rows[:limit], encode_cursor(rows[limit - 1]) if len(rows) > limit else None)


def encode_cursor(report: Report) -> str:
    """Write the position of a report in the queue as a cursor."""
    position = f"{report.rank.hex()}|{report.created_at.isoformat()}|{report.id}"
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> tuple[float, datetime, uuid.UUID]:
    """Read the position in a cursor; raise RequestInvalid for anything that `encode_cursor` did not write."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        rank, at, report_id = text.split("|")
        position = float.fromhex(rank), datetime.fromisoformat(at), uuid.UUID(report_id)
        if position[1].tzinfo is None or position[0].hex() != rank:
            raise ValueError(cursor)
        return position
    except (binascii.Error, ValueError, OverflowError):
        raise errors.RequestInvalid(
            "'cursor' was not returned by this list; leave it out to read the first page"
        ) from None


async def count_queue(db: AsyncSession) -> QueueCounts:
    """Count the pending reports."""
    overdue = sa.func.count().filter(col(Report.due_at) < sa.func.now())
    statement = sa.select(sa.func.count(), sa.func.count().filter(col(Report.is_urgent)), overdue)
    row = (await db.execute(statement.where(col(Report.status) == ReportStatus.PENDING))).one()
    return QueueCounts(*row)


async def add_learner_reports(db: AsyncSession, reports: Sequence[Report]) -> list[ReviewItem]:
    """Add to each report the history of the learner that it is about."""
    about = await _read_learner_reports(db, {report.reported_id for report in reports})
    return [ReviewItem(report, about[report.reported_id]) for report in reports]


async def _read_learner_reports(db: AsyncSession, user_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, LearnerReports]:
    ids = list(user_ids)
    counts: defaultdict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    statement = (
        sa.select(col(Report.reported_id), col(Report.status), sa.func.count())
        .where(col(Report.reported_id).in_(ids))
        .group_by(col(Report.reported_id), col(Report.status))
    )
    for user_id, status, count in await db.execute(statement):
        counts[user_id][status.value] = count
    held = sa.select(col(User.id), col(User.pairing_held_until)).where(
        col(User.id).in_(ids), col(User.pairing_held_until) > sa.func.now()
    )
    until = {row[0]: row[1] for row in await db.execute(held)}
    return {each: LearnerReports(**counts[each], held_until=until.get(each)) for each in ids}


async def notify_overdue(database: Database) -> int:
    """Notify the administrators of each report whose deadline has passed, once; return of how many."""
    overdue = (
        sa.select(col(Report.id))
        .where(
            col(Report.status) == ReportStatus.PENDING,
            col(Report.due_at) < sa.func.now(),
            col(Report.overdue_at).is_(None),
        )
        .order_by(col(Report.due_at))
        .limit(_OVERDUE_BATCH_SIZE)
        .with_for_update(skip_locked=True)
    )
    statement = sa.update(Report).where(col(Report.id).in_(overdue)).values(overdue_at=sa.func.now()).returning(Report)
    notified = 0
    while True:
        async with database.transaction() as db:
            reports = (await db.execute(statement)).scalars().all()
            for report in reports:
                await notifications.notify_staff(db, notification_templates.report_overdue(report))
        notified += len(reports)
        if len(reports) < _OVERDUE_BATCH_SIZE:
            return notified
