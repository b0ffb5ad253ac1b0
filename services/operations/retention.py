"""Erasure of what the retention schedule no longer keeps: calls, wishes, texts of reports and sanctions, audit detail.

In bounded batches, each one transaction that an index finds: a batch that is cut off leaves nothing half done, and the
next run goes on. Several job workers may run it at once. `retention_schedule.py` has the schedule, `pruning.py` the
rest of its deletions.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from adapters.database import Database
from instants import utc_now
from services.operations.audit import AuditService

#: Rows of one transaction.
BATCH_ROWS = 1000

# A call lasts two hours at most, so its age is counted from the index of beginnings. A call that a report refers to is
# kept until that report's texts are erased.
_DELETE_CALLS = """
    WITH old AS (
        SELECT id FROM call_sessions
        WHERE started_at < :before AND ended_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM reports WHERE session_id = call_sessions.id)
        ORDER BY started_at LIMIT :rows FOR UPDATE SKIP LOCKED
    ), rated AS (
        DELETE FROM session_ratings USING old WHERE session_id = old.id
    )
    DELETE FROM call_sessions USING old WHERE call_sessions.id = old.id
"""
# Unanswered: a partnership has the other's wish too.
_DELETE_WISHES = """
    DELETE FROM partner_wishes WHERE (user_id, wished_id) IN (
        SELECT user_id, wished_id FROM partner_wishes AS wish
        WHERE created_at < :before AND NOT EXISTS (
            SELECT FROM partner_wishes AS answer
            WHERE answer.user_id = wish.wished_id AND answer.wished_id = wish.user_id
        )
        ORDER BY created_at LIMIT :rows FOR UPDATE SKIP LOCKED
    )
"""
# Decided: the audit log has each decision about a report, the latest of which counts.
_ERASE_REPORTS = """
    UPDATE reports SET description = NULL, admin_note = NULL, session_id = NULL WHERE id IN (
        SELECT id FROM reports
        WHERE status <> 'pending' AND (description IS NOT NULL OR admin_note IS NOT NULL OR session_id IS NOT NULL)
            AND created_at < :before
            AND NOT EXISTS (SELECT FROM audit_log WHERE subject_id = reports.id AND at >= :before)
        ORDER BY created_at LIMIT :rows FOR UPDATE SKIP LOCKED
    )
"""
# Ended: lifted, over, or a warning; a ban in force keeps its facts. An appeal is decided, or no longer possible.
_ERASE_SANCTIONS = """
    WITH old AS (
        SELECT sanctions.id FROM sanctions LEFT JOIN appeals ON appeals.sanction_id = sanctions.id
        WHERE (sanctions.facts IS NOT NULL OR sanctions.lift_reason IS NOT NULL)
            AND sanctions.starts_at < :before AND sanctions.appeal_until < now()
            AND coalesce(lifted_at, ends_at, CASE WHEN kind = 'warning' THEN starts_at END) < :before
            AND (appeals.id IS NULL OR appeals.decided_at < :before)
        ORDER BY sanctions.starts_at LIMIT :rows FOR UPDATE OF sanctions SKIP LOCKED
    ), appealed AS (
        UPDATE appeals SET text = NULL, decision_reason = NULL FROM old WHERE appeals.sanction_id = old.id
    )
    UPDATE sanctions SET facts = NULL, lift_reason = NULL FROM old WHERE sanctions.id = old.id
"""


class RetentionService:
    def __init__(
        self,
        database: Database,
        audit: AuditService,
        *,
        calls: timedelta,
        reports: timedelta,
        sanctions: timedelta,
        audit_detail: timedelta,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        """Each time is how long something is kept."""
        self._database = database
        self._audit = audit
        self._calls, self._reports, self._sanctions, self._audit_detail = calls, reports, sanctions, audit_detail
        self._batch_rows = batch_rows

    async def erase(self) -> dict[str, int]:
        """Erase what is old enough; return how many rows of each table."""
        now = utc_now()
        # Reports first: they let go of their calls.
        return {
            "reports": await self._repeat(_ERASE_REPORTS, now - self._reports),
            "sanctions": await self._repeat(_ERASE_SANCTIONS, now - self._sanctions),
            "call_sessions": await self._repeat(_DELETE_CALLS, now - self._calls),
            # As long as the calls from which they come.
            "partner_wishes": await self._repeat(_DELETE_WISHES, now - self._calls),
            "audit_log": await self._erase_audit_detail(now - self._audit_detail),
        }

    async def _repeat(self, statement: str, before: datetime) -> int:
        # Rows that a transaction has locked are left to the next night.
        erased = 0
        while True:
            async with self._database.transaction() as db:
                result = await db.execute(sa.text(statement), {"before": before, "rows": self._batch_rows})
            count = int(getattr(result, "rowcount", 0))
            erased += count
            if count < self._batch_rows:
                return erased

    async def _erase_audit_detail(self, before: datetime) -> int:
        erased = 0
        while count := await self._audit.erase_detail(before, self._batch_rows):
            erased += count
        return erased
