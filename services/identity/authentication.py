"""Registration and login with a password, and the identity behind a socket."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy.exc import IntegrityError

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords
from adapters.tokens import AccessTokens, Identity, PublicKey
from instants import format_instant, utc_now
from jobs import send_verification
from models import AgeBand, AgeSource, User
from services.identity.account_opening import open_account_within
from services.identity.email_verification import require_deliverable
from services.identity.login_opening import Client, LoginOpeningService
from services.identity.logins import LoginsService, LoginTokens
from services.identity.proofs import PasswordProofs
from services.identity.user_rows import find_user_by_email
from services.safety.barred_identifiers import BarredIdentifiers
from services.safety.consents import add_consents
from services.safety.standings import read_sanction_in_force

__all__ = ["AuthenticationService", "PublicKey"]

#: The hash of a password may change while it is checked: another login may have renewed it.
_LOGIN_ATTEMPTS = 2

_STANDING_QUERY = "SELECT is_banned, coalesce(suspended_until > now(), false) FROM users WHERE id = $1"


class AuthenticationService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        password_proofs: PasswordProofs,
        tokens: AccessTokens,
        logins: LoginsService,
        login_opening: LoginOpeningService,
        jobs: Jobs,
        barred: BarredIdentifiers,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._password_proofs = password_proofs
        self._tokens = tokens
        self._logins = logins
        self._login_opening = login_opening
        self._jobs = jobs
        self._barred = barred

    async def register(
        self,
        email: str,
        password: str,
        device_id: str,
        platform: str,
        *,
        age_band: AgeBand | None = None,
        consents: Mapping[str, str] | None = None,
    ) -> LoginTokens:
        """Create an account with its profile, log the device in and enqueue the mail that verifies the address.

        `age_band` was declared, and may have an account; `consents` are current versions, by document.

        Raises EmailTaken; AccountBanned or AccountSuspended for the address of a sanctioned account that was deleted;
        and RequestInvalid for an address or a password that may not be used.
        """
        user = User(
            email=require_deliverable(email), password_hash=await self._passwords.hash_new(password, "password")
        )
        if age_band is not None:
            user.age_band, user.age_source, user.age_declared_at = age_band, AgeSource.DECLARED, utc_now()
        try:
            async with self._database.transaction() as db:
                await open_account_within(db, self._barred, user)
                await self._jobs.enqueue(db, send_verification, user_id=str(user.id))
                add_consents(db, user.id, consents or {})
                tokens, _ = await self._logins.open(db, user, device_id, platform)
        except IntegrityError:
            raise errors.EmailTaken() from None
        return tokens

    async def login(self, email: str, password: str, client: Client) -> LoginTokens:
        """Log a device in, which ends its earlier login.

        Raises InvalidCredentials; after a right password what `LoginOpeningService.open` raises.
        """
        for _ in range(_LOGIN_ATTEMPTS):
            async with self._database.transaction() as db:
                found = await find_user_by_email(db, email)
            proof = await self._password_proofs.verify_of(found, password)
            if proof is None:
                raise errors.InvalidCredentials()
            with suppress(errors.InvalidCredentials):
                return await self._login_opening.open(proof, client)
        raise errors.InvalidCredentials()

    async def authenticate_socket(self, access_token: str) -> Identity:
        """Return the identity behind a connecting socket; raise Unauthenticated, Banned or AccountSuspended."""
        identity = self._tokens.verify(access_token)
        # After a restart every client connects at the same time: hence `fetch_one`, without models.
        found = await self._database.fetch_one(_STANDING_QUERY, identity.user_id)
        if found is None:
            raise errors.Unauthenticated()
        is_banned, is_suspended = found
        if is_banned or is_suspended:
            refusal = errors.Banned() if is_banned else errors.AccountSuspended()
            refusal.members = await self._describe_sanction(identity.user_id)
            raise refusal
        # Last: a banned user gets `banned` although the ban ended the login too; and a login that ended during the
        # query has no socket yet that its end would disconnect.
        return self._logins.identify(access_token)

    async def _describe_sanction(self, user_id: str) -> dict[str, object]:
        """Read ground and end of the sanction in force, as data of a refused handshake."""
        async with self._database.transaction() as db:
            sanction = await read_sanction_in_force(db, uuid.UUID(user_id))
        if sanction is None:
            return {}
        return {"ground": sanction.ground.value, "until": format_instant(sanction.ends_at)}

    def list_public_keys(self) -> list[PublicKey]:
        """List the public keys that verify access tokens."""
        return self._tokens.list_public_keys()
