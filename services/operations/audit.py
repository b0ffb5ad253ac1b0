"""Audit log: one entry for each change by an administrator, in the transaction of the change.

Entries form a chain: each holds the hash of the one before, so one that is changed, removed or inserted is found.
The detail of an old entry may be erased (GDPR art. 5(1)(e)): a later entry, `audit.erase`, has a digest of all that is
left of the erased ones, their own hashes included, so the chain still proves them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from adapters.json_text import encode_json
from digests import compute_digest
from errors import Refused
from instants import utc_now
from models import AuditEntry
from services.pagination import Page, read_page

GENESIS = "0" * 64
#: Action of the entries that record an erasure.
ERASE = "audit.erase"
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
        self, db: AsyncSession, actor_id: uuid.UUID | None, action: str, subject_id: uuid.UUID | None, **detail: object
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

    async def erase_detail(self, before: datetime, rows: int) -> int:
        """Erase the detail of the oldest entries before a time, in one transaction; return of how many, `rows` at most.

        Raises AuditBroken where an entry does not fit its hash: an erasure would hide that.
        """
        old = (
            select(AuditEntry)
            .where(
                col(AuditEntry.erased_by).is_(None),
                AuditEntry.action != ERASE,
                # Literals, so that the planner sees that they imply the predicate of the partial index.
                sa.text("detail <> '{}' AND action <> 'audit.erase'"),
                col(AuditEntry.at) < before,
            )
            .order_by(col(AuditEntry.at))
            .limit(rows)
        )
        async with self._database.transaction() as db:
            # The lock of writers, before the entries are read: of two job workers the second finds them erased.
            await db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_ID)))
            entries = sorted((await db.exec(old)).all(), key=lambda entry: entry.number)
            if not entries:
                return 0
            digest = ErasureDigest()
            for entry in entries:
                if entry.hash != compute_hash(entry):
                    raise AuditBroken(f"entry {entry.number} of the audit log does not fit its hash; nothing is erased")
                digest.add(entry)
            await self.write(db, None, ERASE, None, entries=len(entries), digest=digest.value)
            last = sa.select(sa.func.max(AuditEntry.number)).scalar_subquery()
            numbers = [entry.number for entry in entries]
            await db.execute(
                sa.update(AuditEntry)
                .where(col(AuditEntry.number).in_(numbers))
                .values(detail={}, erased_by=last)
                .execution_options(synchronize_session=False)
            )
        return len(entries)

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
        #: Of entries without detail, by the entry that is to prove them: the first number, and their digest.
        erased: dict[int, tuple[int, ErasureDigest]] = {}
        async with self._database.transaction() as db:
            entries = await db.stream_scalars(
                sa.select(AuditEntry).order_by(col(AuditEntry.number)).execution_options(yield_per=1000)
            )
            async for entry in entries:
                if entry.number != expected or entry.previous_hash != previous:
                    return ChainCheck(expected - 1, expected, previous, knows)
                if entry.erased_by is not None:
                    erased.setdefault(entry.erased_by, (entry.number, ErasureDigest()))[1].add(entry)
                elif entry.hash != compute_hash(entry):
                    return ChainCheck(expected - 1, expected, previous, knows)
                if entry.action == ERASE:
                    first, digest = erased.pop(entry.number, (entry.number, ErasureDigest()))
                    if entry.erased_by is not None or not digest.fits(entry.detail):
                        return ChainCheck(first - 1, first, previous, knows)
                expected, previous, knows = expected + 1, entry.hash, knows or entry.hash == known
        unproved = min((first for first, _ in erased.values()), default=None)
        return ChainCheck(expected - 1, unproved, previous, knows)


class AuditBroken(Refused):
    """An entry was changed; `parlance audit verify` names the first one."""


class ErasureDigest:
    """Digest of entries without their detail, in the order of their numbers."""

    def __init__(self) -> None:
        self._entries = 0
        self.value = GENESIS

    def add(self, entry: AuditEntry) -> None:
        fields = [self.value, entry.number, entry.hash, *_list_fields(entry)]
        self._entries, self.value = self._entries + 1, compute_digest(encode_json(fields))

    def fits(self, detail: Mapping[str, object]) -> bool:
        """Return whether the detail of an `audit.erase` entry names these entries."""
        return detail == {"entries": self._entries, "digest": self.value}


def compute_hash(entry: AuditEntry) -> str:
    """Compute the hash of an entry: SHA-256 over its fields and the hash before it."""
    fields = [entry.previous_hash, entry.number, *_list_fields(entry), entry.detail]
    return compute_digest(encode_json(fields, sort_keys=True))


def _list_fields(entry: AuditEntry) -> list[str | None]:
    return [
        entry.at.isoformat(),  # with microseconds, as it has been hashed from the first entry on
        str(entry.actor_id) if entry.actor_id else None,
        entry.action,
        str(entry.subject_id) if entry.subject_id else None,
    ]
