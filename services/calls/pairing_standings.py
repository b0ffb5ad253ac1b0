"""What operators see of a learner's matches: the last outcomes, points and rest; and the end of a rest by hand."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from instants import utc_now
from models import CallSession, MatchOutcome, PairingRecord, User
from services.calls.pairing_records import decay
from services.identity.user_rows import find_user_by_email
from services.operations.audit import AuditService

#: Matches that are shown, the newest first.
SHOWN_MATCHES = 20


class KeptMatch(NamedTuple):
    """A match of a learner that has ended, and how they kept it."""

    began_at: datetime
    outcome: MatchOutcome | None
    call_seconds: int


class PairingStanding(NamedTuple):
    """Record of a learner by now; `resting_until` is None where they do not rest."""

    email: str
    points: float
    warned_at: datetime | None
    resting_until: datetime | None
    matches: list[KeptMatch]


class PairingStandings:
    def __init__(self, database: Database, audit: AuditService) -> None:
        self._database = database
        self._audit = audit

    async def read(self, email: str) -> PairingStanding:
        """Read the record of a learner; raise NotFound."""
        async with self._database.transaction() as db:
            user = await _find_user(db, email)
            record = await db.get(PairingRecord, user.id)
            now = (await db.execute(sa.select(sa.func.now()))).scalar_one()
            matches = await _read_matches(db, user.id)
        points = decay(record.points, now - record.points_at) if record else 0.0
        until = record.resting_until if record and record.resting_until and record.resting_until > now else None
        return PairingStanding(user.email, points, record.warned_at if record else None, until, matches)

    async def end_rest(self, email: str) -> bool:
        """End the rest of a learner now and forget their points; return whether they rested. Raises NotFound.

        The audit log has it.
        """
        async with self._database.transaction() as db:
            user = await _find_user(db, email)
            statement = select(PairingRecord).where(PairingRecord.user_id == user.id).with_for_update()
            record = (await db.exec(statement)).first()
            now = utc_now()
            if record is None or record.resting_until is None or record.resting_until <= now:
                return False
            before = record.resting_until
            record.points, record.points_at, record.resting_until = 0.0, now, now
            record.rests = max(0, record.rests - 1)
            db.add(record)
            await self._audit.write(db, None, "user.end_rest", user.id, before=before.isoformat())
        return True


async def _find_user(db: AsyncSession, email: str) -> User:
    found = await find_user_by_email(db, email)
    if found is None:
        raise errors.NotFound(f"there is no account {email}")
    return found


async def _read_matches(db: AsyncSession, user_id: uuid.UUID) -> list[KeptMatch]:
    is_a = col(CallSession.user_a_id) == user_id
    outcome = sa.case((is_a, col(CallSession.user_a_outcome)), else_=col(CallSession.user_b_outcome))
    # One index walk for each side.
    sides = [
        sa.select(col(CallSession.id))
        .where(side == user_id)
        .order_by(col(CallSession.started_at).desc(), col(CallSession.id).desc())
        .limit(SHOWN_MATCHES)
        .subquery()
        for side in (col(CallSession.user_a_id), col(CallSession.user_b_id))
    ]
    ids = sa.union_all(*(sa.select(side.c.id) for side in sides)).subquery()
    statement = (
        sa.select(col(CallSession.started_at), outcome, sa.func.coalesce(col(CallSession.duration_seconds), 0))
        .where(col(CallSession.id).in_(sa.select(ids.c.id)), col(CallSession.ended_at).is_not(None))
        .order_by(col(CallSession.started_at).desc())
        .limit(SHOWN_MATCHES)
    )
    return [KeptMatch(*row) for row in (await db.execute(statement)).all()]
