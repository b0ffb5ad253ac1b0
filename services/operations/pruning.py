"""Deletion of rows that are no longer needed.

Those are read notifications, tokens and codes of mails, spent tokens, age refusals, appointments, invitations
and provider events.

In bounded batches, each found by an index. Never deleted: achievements, whose row keeps one from being granted twice;
unhandled events; refresh tokens, because a rotated one reveals a theft (`LoginsService.delete_expired` deletes expired
ones).
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from adapters.database import Database
from instants import utc_now

#: Rows of one transaction.
BATCH_ROWS = 1000
#: How long an appointment is kept after its beginning, so that its note can be reported; an invitation after its end.
APPOINTMENT_LIFETIME = INVITATION_LIFETIME = timedelta(days=30)

# Literals, not parameters: the planner must see that they imply the predicates of the partial indexes.
# Occasions other than those of achievements name what happens within days of the row: a match, a payment's one change
# to `paid`, an upload. No event repeats them after `PRUNE_NOTIFICATIONS_AFTER`.
_NOTIFICATIONS = "read AND type <> 'achievement' AND read_at < :before"
_TOKENS = "expires_at < :before"
_EVENTS = "handled_at IS NOT NULL AND handled_at < :before"


class PruningService:
    def __init__(
        self,
        database: Database,
        *,
        notifications_after: timedelta,
        mailed_tokens_after: timedelta,
        webhook_events_after: timedelta,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        """Each time is how long a row is kept after it was read, has expired or was handled."""
        self._database = database
        self._batch_rows = batch_rows
        self._rules = (
            ("notifications", _NOTIFICATIONS, "read_at", notifications_after),
            ("password_reset_tokens", _TOKENS, "expires_at", mailed_tokens_after),
            ("email_verification_tokens", _TOKENS, "expires_at", mailed_tokens_after),
            ("account_deletion_tokens", _TOKENS, "expires_at", mailed_tokens_after),
            ("appeal_tokens", _TOKENS, "expires_at", mailed_tokens_after),
            ("spent_tokens", _TOKENS, "expires_at", timedelta()),
            ("age_refusals", _TOKENS, "expires_at", timedelta()),
            ("barred_identifiers", "until < :before", "until", timedelta()),
            ("email_codes", _TOKENS, "expires_at", timedelta()),
            ("email_changes", "undo_until < :before", "undo_until", timedelta()),
            ("appointments", "starts_at < :before", "starts_at", APPOINTMENT_LIFETIME),
            ("invitations", "answered_at < :before", "answered_at", INVITATION_LIFETIME),
            ("webhook_events", _EVENTS, "handled_at", webhook_events_after),
        )

    async def prune(self) -> dict[str, int]:
        """Delete what is old enough; return how many rows of each table."""
        return {
            table: await self._prune(table, condition, order, utc_now() - after)
            for table, condition, order, after in self._rules
        }

    async def _prune(self, table: str, condition: str, order: str, before: object) -> int:
        # Rows that a transaction has locked are left to the next night.
        statement = sa.text(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {condition}"  # noqa: S608
            f" ORDER BY {order} LIMIT :rows FOR UPDATE SKIP LOCKED)"
        )
        deleted = 0
        while True:
            async with self._database.transaction() as db:
                result = await db.execute(statement, {"before": before, "rows": self._batch_rows})
            count = int(getattr(result, "rowcount", 0))
            deleted += count
            if count < self._batch_rows:
                return deleted
