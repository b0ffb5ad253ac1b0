"""Owns the audit log: one entry for each thing an administrator does, in the transaction that does it.

Entries form a chain: each holds the hash of the one before, so one that is changed, removed or slipped in is found.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from adapters.json_text import encode_json
from models import AuditEntry
from models.columns import now
from services import pagination
from services.pagination import Page

GENESIS = "0" * 64
#: Writers queue up here, so that each knows the entry before its own.
_LOCK = 5503_0002


@dataclass(frozen=True, slots=True)
class Verdict:
    """`broken_at` is the number of the first entry that does not fit, or None; `last_hash` seals all that fit.

    `knows` says whether an entry has the hash that was asked for. A chain whose end was cut off fits, but no longer
    holds a hash that it once ended with.
    """

    entries: int
    broken_at: int | None
    last_hash: str
    knows: bool


class AuditService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(
        self, db: AsyncSession, actor_id: uuid.UUID | None, action: str, subject_id: uuid.UUID, **detail: object
    ) -> None:
        """Add an entry inside the caller's transaction. `detail` must hold no personal data: entries are for ever."""
        await db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        last = (await db.exec(select(AuditEntry).order_by(col(AuditEntry.number).desc()).limit(1))).first()
        # JSONB normalises numbers and keys, so the seal is of what PostgreSQL makes of the detail. An entry cannot be
        # changed later: that is read before the insert, and what the insert returns has to have the same seal.
        as_stored: dict[str, object] = (await db.scalars(sa.select(sa.cast(detail, JSONB)))).one()
        entry = AuditEntry(
            number=last.number + 1 if last else 1,
            at=now(),
            actor_id=actor_id,
            action=action,
            subject_id=subject_id,
            detail=as_stored,
            hash="",
            previous_hash=last.hash if last else GENESIS,
        )
        entry.hash = seal(entry)
        insert = sa.insert(AuditEntry).values(entry.model_dump()).returning(AuditEntry)
        stored = (await db.scalars(insert)).one()
        if seal(stored) != stored.hash:
            raise RuntimeError(f"audit_entry_unverifiable action={action}")

    async def list_all(
        self,
        *,
        limit: int,
        actor_id: str | None = None,
        actions: Sequence[str] = (),
        target_id: str | None = None,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """Read a page of the log, newest first: by whom, which of some actions, about what."""
        statement = select(AuditEntry).order_by(col(AuditEntry.number).desc()).limit(limit + 1)
        if actor_id:
            statement = statement.where(AuditEntry.actor_id == uuid.UUID(actor_id))
        if actions:
            statement = statement.where(col(AuditEntry.action).in_(actions))
        if target_id:
            statement = statement.where(AuditEntry.subject_id == uuid.UUID(target_id))
        if cursor:
            statement = statement.where(AuditEntry.number < pagination.decode_number(cursor))
        async with self._database.transaction() as db:
            rows = list((await db.exec(statement)).all())
        return pagination.numbered(rows, limit, lambda entry: entry.number)

    async def verify(self, known: str | None = None) -> Verdict:
        """Walk the chain from its beginning, looking for an entry with the hash `known`."""
        expected, previous, knows = 1, GENESIS, known in (None, GENESIS)
        async with self._database.transaction() as db:
            entries = await db.stream_scalars(
                sa.select(AuditEntry).order_by(col(AuditEntry.number)).execution_options(yield_per=1000)
            )
            async for entry in entries:
                if entry.number != expected or entry.previous_hash != previous or entry.hash != seal(entry):
                    return Verdict(expected - 1, expected, previous, knows)
                expected, previous, knows = expected + 1, entry.hash, knows or entry.hash == known
        return Verdict(expected - 1, None, previous, knows)


def seal(entry: AuditEntry) -> str:
    """The hash of an entry: SHA-256 over its fields and the hash before it."""
    fields = [
        entry.previous_hash,
        entry.number,
        entry.at.isoformat(),
        str(entry.actor_id) if entry.actor_id else None,
        entry.action,
        str(entry.subject_id) if entry.subject_id else None,
        entry.detail,
    ]
    return hashlib.sha256(encode_json(fields, sort_keys=True)).hexdigest()
