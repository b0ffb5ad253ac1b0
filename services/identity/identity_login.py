"""Login with an ID token: to the account of its identity, to one that it is linked to now, or to a new one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import VerifiedIdentity
from adapters.rate_limiter import RateLimiter
from jobs import send_verification
from models import LinkedIdentity, User, email_addresses
from services.identity.account_opening import open_account_within
from services.identity.id_tokens import (
    IdentityProof,
    IdentityUnlinked,
    IdTokensService,
    OnUse,
    SentIdToken,
    add_identity,
    find_identity,
    use_id_token,
)
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_opening import Client, LoginOpeningService
from services.identity.logins import LoginTokens
from services.identity.proofs import PasswordProof, PasswordProofs
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import find_user_by_email
from services.safety.barred_identifiers import BarredIdentifiers, Identifier

#: Each repeat finds what another request has committed meanwhile: an account, a link, a removal.
_ATTEMPTS = 5


class FailureLimit(NamedTuple):
    """Wrong passwords of an account, counted where `POST /auth/login` counts them."""

    operation_id: str
    calls: int
    seconds: int


#: As `x-rate-limit` of `login` has it; a test compares them.
PASSWORD_LIMIT = FailureLimit("login", 20, 15 * 60)


@dataclass(frozen=True, slots=True)
class LinkingProof:
    """An ID token of an identity that the login links to the account, by its address or by the account's password."""

    user_id: UUID
    identity: VerifiedIdentity
    password: PasswordProof | None
    on_use: OnUse
    notices: SecurityNoticesService
    proves_second_factor: bool = False

    async def use(self, db: AsyncSession, user: User) -> None:
        """Raise IdTokenInvalid for a token that was used before; PasswordRequired, TooManyLoginMethods."""
        await use_id_token(db, self.identity)
        if self.password is not None:
            await self.password.use(db, user)
        elif not await may_link_by_address(db, user, self.identity):
            raise errors.PasswordRequired()
        row = await add_identity(db, user, self.identity, is_used=True)
        await self.notices.record_change(db, user.id, user.id, "identity_link")
        await self.on_use(db, row)


class IdentityLoginService:
    def __init__(
        self,
        database: Database,
        id_tokens: IdTokensService,
        grants: IdentityGrantsService,
        login_opening: LoginOpeningService,
        password_proofs: PasswordProofs,
        limiter: RateLimiter,
        notices: SecurityNoticesService,
        jobs: Jobs,
        barred: BarredIdentifiers,
    ) -> None:
        self._database = database
        self._id_tokens = id_tokens
        self._grants = grants
        self._login_opening = login_opening
        self._password_proofs = password_proofs
        self._limiter = limiter
        self._notices = notices
        self._jobs = jobs
        self._barred = barred

    async def login(self, sent: SentIdToken, client: Client, password: str | None = None) -> LoginTokens:
        """Log a device in with an ID token; open an account where none has the identity or its address.

        `password` is that of the account with the token's address, to link the identity to it.

        Raises what `IdTokensService.verify` and `LoginOpeningService.open` raise; EmailMissing; PasswordRequired, and
        InvalidCredentials or RateLimited for a wrong password; TooManyLoginMethods; EmailTaken for an address that its
        last account may still get back; AccountBanned or AccountSuspended for identifiers of a sanctioned account that
        was deleted.
        """
        identity = await self._id_tokens.verify(sent, client.platform)
        on_use = partial(self._keep_grant, identity=identity, sent=sent)
        for _ in range(_ATTEMPTS):
            try:
                proof = await self._find_account(identity, password, on_use)
                if proof is None:
                    return await self._open_account(identity, client, on_use)
                return await self._login_opening.open(proof, client)
            except (IntegrityError, IdentityUnlinked, errors.Unauthenticated):
                # Another request has opened the account or linked the identity; or unlinked it, or deleted the account.
                continue
        raise errors.Unavailable("The account is changed by other requests at the moment; try again shortly.")

    async def _keep_grant(
        self, db: AsyncSession, row: LinkedIdentity, *, identity: VerifiedIdentity, sent: SentIdToken
    ) -> None:
        await self._grants.keep_within(db, row, identity, sent)

    async def _find_account(
        self, identity: VerifiedIdentity, password: str | None, on_use: OnUse
    ) -> IdentityProof | LinkingProof | None:
        """Return the proof of the account that has the identity, else of the one with its address; None without."""
        async with self._database.transaction() as db:
            # In this order: of an account that is opened meanwhile the identity is seen wherever the address is.
            user = await find_user_by_email(db, identity.email) if identity.email is not None else None
            row = await find_identity(db, identity)
            if row is not None:
                return IdentityProof(row.user_id, identity, on_use)
            if user is None:
                return None
            is_linked = password is not None or await may_link_by_address(db, user, identity)
        if not is_linked:
            raise errors.PasswordRequired()
        proven = await self._check_password(user, password) if password is not None else None
        return LinkingProof(user.id, identity, proven, on_use, self._notices)

    async def _check_password(self, user: User, password: str) -> PasswordProof:
        """Check the password of the account; a wrong one stays counted."""
        account = email_addresses.account_key(user.email)
        operation_id, calls, seconds = PASSWORD_LIMIT
        taken = await self._limiter.take(f"{operation_id}:account:{account}", calls, seconds)
        proof = await self._password_proofs.verify_of(user, password)
        if proof is None:
            raise errors.InvalidCredentials("The password of the account with this e-mail address is wrong.")
        await self._limiter.give_back(taken)
        return proof

    async def _open_account(self, identity: VerifiedIdentity, client: Client, on_use: OnUse) -> LoginTokens:
        if identity.email is None:
            raise errors.EmailMissing()
        user = User(email=identity.email, password_hash="", is_verified=identity.is_email_trusted)
        async with self._database.transaction() as db:
            await use_id_token(db, identity)
            await open_account_within(db, self._barred, user)
            await self._barred.refuse_within(db, Identifier("identity", identity.subject, identity.provider))
            row = await add_identity(db, user, identity, is_used=True)
            await on_use(db, row)
            if not user.is_verified:
                await self._jobs.enqueue(db, send_verification, user_id=str(user.id))
            tokens, _ = await self._login_opening.open_within(db, user, client)
        return tokens


async def may_link_by_address(db: AsyncSession, user: User, identity: VerifiedIdentity) -> bool:
    """Return whether an identity's address alone links it to the account with that address.

    Both sides must have verified it, and in the same letters: addresses that are found to be equal may be different
    mailboxes. With another identity of the provider the account belongs to another person there, as when a domain and
    its addresses were sold.
    """
    if not identity.is_email_trusted or not user.is_verified or identity.email is None:
        return False
    if user.email.encode().lower() != identity.email.encode().lower():  # ASCII alone
        return False
    other = select(LinkedIdentity.id).where(
        LinkedIdentity.user_id == user.id,
        LinkedIdentity.provider == identity.provider,
        # This very one may be linked meanwhile.
        LinkedIdentity.subject != identity.subject,
    )
    return (await db.exec(other.limit(1))).first() is None
