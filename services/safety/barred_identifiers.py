"""Identifiers with which no account can be opened: those of sanctioned accounts that were deleted.

They are the verified address and the identities at providers. A deletion erases them; a keyed hash of each stays while
the sanction would last, and of a ban for a limited time, because the erasure may not end the sanction (GDPR, article
17(3)(e)). Addresses that were never verified may be of others, and are not kept.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from instants import format_instant
from models import BarredIdentifier, EmailChange, LinkedIdentity, Sanction, SanctionKind, User, email_addresses
from services.safety.standings import read_sanction_in_force


class Identifier(NamedTuple):
    """What a learner would register with again: an address in any spelling, or the subject of a provider."""

    kind: Literal["email", "identity"]
    value: str
    #: Of an identity.
    provider: str = ""

    @property
    def noun(self) -> str:
        return "address" if self.kind == "email" else "identity"


class Bar(NamedTuple):
    """The sanction that keeps an identifier out, and until when."""

    sanction: Sanction
    until: datetime


class BarredIdentifiers:
    def __init__(self, database: Database, get_keys: Callable[[], Sequence[bytes]], ban_lifetime: timedelta) -> None:
        """Of the keys the first hashes and all are looked for. `ban_lifetime` counts from the deletion."""
        self._database = database
        self._get_keys = get_keys
        self._ban_lifetime = ban_lifetime

    async def add_within(self, db: AsyncSession, user: User) -> None:
        """Keep the identifiers of a sanctioned account that the caller's transaction deletes; call it before that.

        Also addresses that it had until lately: a change of the address must not free one for another account.
        """
        sanction = await read_sanction_in_force(db, user.id)
        if sanction is None:
            return
        linked = await db.exec(select(LinkedIdentity).where(LinkedIdentity.user_id == user.id))
        # Each of these was verified (`EmailChange.undo_until`).
        earlier = sa.select(col(EmailChange.old_email)).where(
            col(EmailChange.user_id) == user.id,
            col(EmailChange.undo_until) > col(EmailChange.created_at),
            col(EmailChange.undone_at).is_(None),
        )
        emails = set((await db.execute(earlier)).scalars()) | ({user.email} if user.is_verified else set())
        identifiers = [Identifier("identity", row.subject, row.provider) for row in linked]
        for each in [*identifiers, *(Identifier("email", email) for email in sorted(emails))]:
            await self._keep(db, each, sanction)

    async def _keep(self, db: AsyncSession, identifier: Identifier, sanction: Sanction) -> None:
        until = sanction.ends_at or sa.func.now() + self._ban_lifetime
        first, *_ = self._hash(identifier)
        values = {"identifier_hash": first, "sanction_id": sanction.id, "until": until}
        statement = insert(BarredIdentifier).values(id=sa.func.gen_random_uuid(), **values)
        await db.execute(
            statement.on_conflict_do_update(
                index_elements=["identifier_hash"],
                set_={"sanction_id": statement.excluded.sanction_id, "until": statement.excluded.until},
            )
        )

    async def refuse_within(self, db: AsyncSession, identifier: Identifier) -> None:
        """Raise AccountBanned or AccountSuspended for an identifier that is kept out.

        Call it after the account's row is written: a deletion that commits meanwhile is then seen.
        """
        found = await self._read(db, identifier)
        if found is None:
            return
        is_ban = found.sanction.kind is SanctionKind.BAN
        # The request does not prove that the address is its sender's: neither reasons nor a token for an appeal.
        raise (errors.AccountBanned if is_ban else errors.AccountSuspended)(
            f"An account with this {identifier.noun} was {'banned' if is_ban else 'suspended'} and deleted. No account"
            f" can be opened with it until {format_instant(found.until)}. To contest this, write to the operator:"
            " /contact"
        )

    async def find(self, email: str) -> Bar:
        """Find what keeps an address out after its account was deleted; raise NotFound."""
        async with self._database.transaction() as db:
            found = await self._read(db, Identifier("email", email))
        if found is None:
            raise errors.NotFound("no sanction of a deleted account keeps this address out")
        return found

    async def _read(self, db: AsyncSession, identifier: Identifier) -> Bar | None:
        statement = (
            select(Sanction, BarredIdentifier.until)
            .join(BarredIdentifier, col(BarredIdentifier.sanction_id) == col(Sanction.id))
            .where(
                col(BarredIdentifier.identifier_hash).in_(self._hash(identifier)),
                col(BarredIdentifier.until) > sa.func.now(),
            )
            .limit(1)
        )
        row = (await db.exec(statement)).first()
        return Bar(*row) if row else None

    def _hash(self, identifier: Identifier) -> list[str]:
        """Return the hashes of an identifier, one with each key."""
        # Subjects are compared as they are: two may differ by their case alone.
        is_email = identifier.kind == "email"
        named = (
            email_addresses.to_canonical(identifier.value) if is_email else f"{identifier.provider}\0{identifier.value}"
        )
        value = f"{identifier.kind}\0{named}".encode()
        return [hmac.digest(key, value, "sha256").hex() for key in self._get_keys()]


async def release_within(db: AsyncSession, sanction: Sanction) -> None:
    """Let identifiers be used again whose sanction is lifted, inside the caller's transaction."""
    await db.execute(sa.delete(BarredIdentifier).where(col(BarredIdentifier.sanction_id) == sanction.id))
