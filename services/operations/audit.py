"""Audit log: one entry for each change by an administrator, in the transaction of the change.

Entries form a chain: each holds the hash of the one before, so one that is changed, removed or inserted is found.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from adapters.json_text import encode_json
from digests import compute_digest
from instants import utc_now
from models import AuditEntry
from services.pagination import Page, read_page

GENESIS = "0" * 64
#: PostgreSQL advisory lock of writers, so that each reads the entry before its own.
#: A number, because a name would not keep out writers of the release before, while both run.
_LOCK_ID = 5503_0002


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """`broken_at` is the number of the first entry that does not fit, or None; `last_hash` is the hash of the last one.

    `has_known_hash`: whether an entry has the given hash. A chain whose end was cut off fits, but
    lacks the hash that it once ended with.
    """

    entries: int
    broken_at: int | None
    last_hash: str
    has_known_hash: bool


class AuditService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(
        self, db: AsyncSession, actor_id: uuid.UUID | None, action: str, subject_id: uuid.UUID, **detail: object
    ) -> None:
        """Add an entry inside the caller's transaction. `detail` has no personal data: entries are never deleted."""
        await db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_ID)))
        last = (await db.exec(select(AuditEntry).order_by(col(AuditEntry.number).desc()).limit(1))).first()
        # JSONB normalises numbers and keys, so the hash is of the detail as PostgreSQL stores it. An entry cannot be
        # changed later: the stored form is read before the insert, and the inserted row must have the same hash.
        as_stored: dict[str, object] = (await db.scalars(sa.select(sa.cast(detail, JSONB)))).one()
        entry = AuditEntry(
            number=last.number + 1 if last else 1,
            at=utc_now(),
            actor_id=actor_id,
            action=action,
            subject_id=subject_id,
            detail=as_stored,
            hash="",
            previous_hash=last.hash if last else GENESIS,
        )
        entry.hash = compute_hash(entry)
        insert = sa.insert(AuditEntry).values(entry.model_dump()).returning(AuditEntry)
        stored = (await db.scalars(insert)).one()
        if compute_hash(stored) != stored.hash:
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
        """Read a page of the log, newest first: by actor, actions and subject."""
        statement = select(AuditEntry)
        if actor_id:
            statement = statement.where(AuditEntry.actor_id == uuid.UUID(actor_id))
        if actions:
            statement = statement.where(col(AuditEntry.action).in_(actions))
        if target_id:
            statement = statement.where(AuditEntry.subject_id == uuid.UUID(target_id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, (col(AuditEntry.number),), limit=limit, cursor=cursor)

    async def verify(self, known: str | None = None) -> ChainCheck:
        """Walk the chain from its beginning, looking for an entry with the hash `known`."""
        expected, previous, knows = 1, GENESIS, known in (None, GENESIS)
        async with self._database.transaction() as db:
            entries = await db.stream_scalars(
                sa.select(AuditEntry).order_by(col(AuditEntry.number)).execution_options(yield_per=1000)
            )
            async for entry in entries:
                if entry.number != expected or entry.previous_hash != previous or entry.hash != compute_hash(entry):
                    return ChainCheck(expected - 1, expected, previous, knows)
                expected, previous, knows = expected + 1, entry.hash, knows or entry.hash == known
        return ChainCheck(expected - 1, None, previous, knows)


def compute_hash(entry: AuditEntry) -> str:
    """Compute the hash of an entry: SHA-256 over its fields and the hash before it."""
    fields = [
        entry.previous_hash,
        entry.number,
        entry.at.isoformat(),  # with microseconds, as it has been hashed from the first entry on
        str(entry.actor_id) if entry.actor_id else None,
        entry.action,
        str(entry.subject_id) if entry.subject_id else None,
        entry.detail,
    ]
    return compute_digest(encode_json(fields, sort_keys=True))
