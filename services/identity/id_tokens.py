"""ID tokens of identity providers: verified, used once, and as a proof of an account."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.ports import IdentityProvider, VerifiedIdentity
from instants import utc_now
from models import LinkedIdentity, User, email_addresses
from services.identity.spent_tokens import spend_token
from wire import rest

#: How lately a token was issued that proves that the owner of an account sends a request.
PROOF_MAX_AGE = timedelta(minutes=10)
#: Equal to `maxItems` of the contract.
MAX_IDENTITIES = 10

#: Is called in the transaction in which an identity is used, with its row.
OnUse = Callable[[AsyncSession, LinkedIdentity], Awaitable[None]]


class SentIdToken(NamedTuple):
    """An ID token as a client sends it, with one of the two by which its grant can be revoked later."""

    provider: str
    id_token: str
    nonce: str
    #: A code of a native SDK.
    authorization_code: str | None = None
    #: The `grant` of a login in a browser.
    grant: str | None = None


class IdentityUnlinked(errors.IdTokenInvalid):
    """The identity is no longer linked to the account that it was found to be linked to."""


class IdTokensService:
    def __init__(self, providers: Mapping[str, IdentityProvider]) -> None:
        self._providers = providers

    def find_provider(self, provider: str) -> IdentityProvider:
        """Return a provider by its id; raise RequestInvalid."""
        found = self._providers.get(provider)
        if found is None:
            raise errors.RequestInvalid("'provider' should be one that GET /auth/methods lists")
        return found

    async def verify(self, sent: SentIdToken, platform: str | None = None) -> VerifiedIdentity:
        """Verify a token for a client of a platform, of any without one; it is still to be used.

        Its address is as mail is sent to it, or None. Raises RequestInvalid for an unknown provider, IdTokenInvalid,
        and Unavailable where the provider's keys cannot be had.
        """
        identity = await self.find_provider(sent.provider).verify(sent.id_token, sent.nonce, platform)
        email = email_addresses.to_deliverable(identity.email) if identity.email is not None else None
        return replace(identity, email=email, is_email_trusted=identity.is_email_trusted and email is not None)


@dataclass(frozen=True, slots=True)
class IdentityProof:
    """An ID token of an identity that is linked to the account."""

    user_id: uuid.UUID
    identity: VerifiedIdentity
    on_use: OnUse | None = None
    proves_second_factor: bool = False

    async def use(self, db: AsyncSession, user: User) -> None:
        """Raise IdTokenInvalid for a token that was used before, and IdentityUnlinked."""
        await use_id_token(db, self.identity)
        row = await find_identity(db, self.identity)
        if row is None or row.user_id != user.id:
            raise IdentityUnlinked()
        row.last_used_at, row.email = utc_now(), self.identity.email or row.email
        db.add(row)
        if self.on_use is not None:
            await self.on_use(db, row)


class IdTokenProofs:
    """Proofs of the kind `idToken`."""

    def __init__(self, database: Database, id_tokens: IdTokensService) -> None:
        self._database = database
        self._id_tokens = id_tokens

    async def verify(self, user_id: uuid.UUID, body: rest.IdTokenProof) -> IdentityProof:
        """Verify a new token of an identity that is linked to the account; raise IdTokenInvalid."""
        identity = await self._id_tokens.verify(SentIdToken(body["provider"], body["idToken"], body["nonce"]))
        if identity.issued_at < utc_now() - PROOF_MAX_AGE:
            raise errors.IdTokenInvalid("The ID token was issued too long ago; get a new one from the provider.")
        async with self._database.transaction() as db:
            row = await find_identity(db, identity)
        if row is None or row.user_id != user_id:
            raise errors.IdTokenInvalid("The ID token is of an identity that is not linked to this account.")
        return IdentityProof(user_id, identity)


async def find_identity(db: AsyncSession, identity: VerifiedIdentity) -> LinkedIdentity | None:
    """Read the row of an identity again; None where no account has it."""
    statement = select(LinkedIdentity).where(
        LinkedIdentity.provider == identity.provider, LinkedIdentity.subject == identity.subject
    )
    return (await db.exec(statement.execution_options(populate_existing=True))).first()


async def use_id_token(db: AsyncSession, identity: VerifiedIdentity) -> None:
    """Use up a token inside the caller's transaction; raise IdTokenInvalid where it was used before."""
    if not await spend_token(db, identity.token_key, identity.expires_at):
        raise errors.IdTokenInvalid("The ID token was used before; get a new one from the provider.")


async def add_identity(db: AsyncSession, user: User, identity: VerifiedIdentity, *, is_used: bool) -> LinkedIdentity:
    """Link an identity inside the caller's transaction, which locks the account or makes it.

    Raises TooManyLoginMethods, and IntegrityError where it is linked to an account already.
    """
    count = sa.select(sa.func.count()).where(col(LinkedIdentity.user_id) == user.id)
    if (await db.execute(count)).scalar_one() >= MAX_IDENTITIES:
        raise errors.TooManyLoginMethods()
    row = LinkedIdentity(
        user_id=user.id,
        provider=identity.provider,
        subject=identity.subject,
        email=identity.email,
        last_used_at=utc_now() if is_used else None,
    )
    db.add(row)
    await db.flush()
    return row
