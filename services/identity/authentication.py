"""Registration, login with a password, and the identity behind a socket."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import nullcontext

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords, Verdict
from adapters.tokens import AccessTokens, Identity, PublicKey
from instants import format_instant, utc_now
from jobs import send_verification
from models import AgeBand, AgeSource, Profile, User
from services.identity.email_verification import require_deliverable
from services.identity.logins import LoginsService, LoginTokens
from services.identity.second_factors import SecondFactorsService
from services.identity.user_rows import find_user_by_email, lock_user
from services.safety.barred_identifiers import BarredIdentifiers, Identifier
from services.safety.consents import add_consents
from services.safety.standings import make_login_notice, read_sanction_in_force

__all__ = ["AuthenticationService", "PublicKey"]

#: The hash of a password may change while it is checked: another login may have renewed it.
_LOGIN_ATTEMPTS = 2

_STANDING_QUERY = "SELECT is_banned, coalesce(suspended_until > now(), false) FROM users WHERE id = $1"


class AuthenticationService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        tokens: AccessTokens,
        logins: LoginsService,
        second_factors: SecondFactorsService,
        jobs: Jobs,
        barred: BarredIdentifiers,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._logins = logins
        self._second_factors = second_factors
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
                db.add(user)
                await db.flush()
                await self._barred.refuse_within(db, Identifier("email", user.email))
                db.add(Profile(user_id=user.id, last_active_at=utc_now()))
                await self._jobs.enqueue(db, send_verification, user_id=str(user.id))
                add_consents(db, user.id, consents or {})
                tokens, _ = await self._logins.open(db, user, device_id, platform)
        except IntegrityError:
            raise errors.EmailTaken() from None
        return tokens

    async def login(
        self, email: str, password: str, device_id: str, platform: str, second_factor_code: str | None = None
    ) -> LoginTokens:
        """Log a device in, which ends its earlier login.

        Raises InvalidCredentials; after a right password AccountBanned or AccountSuspended, and where the account has
        a second factor LoginNeedsSecondFactor without a code, SecondFactorInvalid or RateLimited.
        """
        for _ in range(_LOGIN_ATTEMPTS):
            tokens = await self._attempt_login(email, password, device_id, platform, second_factor_code)
            if tokens is not None:
                return tokens
        raise errors.InvalidCredentials()

    async def _attempt_login(
        self, email: str, password: str, device_id: str, platform: str, code: str | None
    ) -> LoginTokens | None:
        """Log in once; return None where the password was right and has been changed meanwhile."""
        async with self._database.transaction() as db:
            found = await find_user_by_email(db, email)
        # Outside the transaction: a check takes a quarter of a second, and would hold a connection for that long.
        verdict = await self._passwords.verify(password, found.password_hash if found else None)
        if found is None or verdict is Verdict.WRONG:
            raise errors.InvalidCredentials()
        renewed = await self._passwords.hash(password) if verdict is Verdict.OUTDATED else None
        needs_code = found.role.is_staff and not found.is_banned and await self._second_factors.is_enrolled(found.id)
        if needs_code and code is None:
            raise errors.LoginNeedsSecondFactor()
        proven_at = utc_now() if needs_code else None
        attempt = self._second_factors.attempt(found.id) if needs_code else nullcontext()
        refusal: errors.ProductError | None = None
        async with attempt, self._database.transaction() as db:
            user = await lock_user(db, found.id)
            # The account may have changed during the check: a ban, a new password.
            if user is None or user.password_hash != found.password_hash:
                return None
            if user.is_banned or user.suspended_until is not None:
                refusal = await _read_refusal(db, user)
            if refusal is None:
                if renewed is not None:
                    user.password_hash = renewed
                    db.add(user)
                profile = sa.update(Profile).where(col(Profile.user_id) == user.id)
                await db.execute(profile.values(last_active_at=utc_now()))
                if user.role.is_staff and await self._second_factors.is_enrolled_within(db, user.id):
                    if not needs_code:  # enrolled during the check
                        return None
                    await self._second_factors.use(db, user.id, code)
                tokens, ended = await self._logins.open(db, user, device_id, platform, factor_proven_at=proven_at)
        if refusal is not None:  # after the commit of the token for an appeal
            raise refusal
        await self._logins.publish_ended(ended)
        return tokens

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


async def _read_refusal(db: AsyncSession, user: User) -> errors.ProductError | None:
    """Return the refusal of a login by the sanction in force, with what the learner may know; None without one."""
    sanction = await read_sanction_in_force(db, user.id)
    notice = await make_login_notice(db, sanction) if sanction else None
    if user.is_banned:
        return errors.AccountBanned(notice=notice)
    if sanction is None:
        return None
    assert sanction.ends_at is not None
    return errors.AccountSuspended(
        f"This account is suspended until {format_instant(sanction.ends_at)}.", notice=notice
    )
