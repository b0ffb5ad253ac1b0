"""Second factors of staff: an authenticator app (TOTP, RFC 6238) with recovery codes, and passkeys beside it.

A code is accepted one time step early or late, and once: the step of the last one is kept, and a code of it or of an
earlier one is refused. Wrong codes are counted by account, wherever they are entered, in Redis or else in memory.

A login that has proven the factor carries the time in its refresh token, and its access tokens have it as a claim.
"""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
import segno
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passwords import Passwords
from adapters.rate_limiter import RateLimiter
from adapters.secret_box import SecretBox
from adapters.tokens import Identity
from instants import utc_now
from models import Passkey, RecoveryCode, Role, SecondFactor, User
from services.identity.logins import AccessToken, LoginsService
from services.identity.recovery_codes import is_totp_code, make_recovery_codes, to_canonical_code, use_recovery_code
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import lock_active_user, lock_user_of

#: The name of the service in authenticator apps.
_ISSUER = "Parlance"
_PENDING_LIFETIME = timedelta(minutes=10)
#: Wrong codes of an account, and the seconds in which they count.
_MAX_WRONG_CODES, _WRONG_CODES_SECONDS = 5, 15 * 60
_STEP_SECONDS = 30
#: How recently a factor was proven where staff change their factors; that of `x-second-factor` beside DELETE.
_RECENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SecondFactorState:
    """`enrolled_at` is of the app; `proven_at` is when the login of the request last proved a factor."""

    is_required: bool
    enrolled_at: datetime | None
    proven_at: datetime | None
    recovery_codes_left: int
    passkey_count: int

    @property
    def is_enrolled(self) -> bool:
        return self.enrolled_at is not None or self.passkey_count > 0


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret for an authenticator app; `qr_code` has the rows of the QR code of `uri`, of the digits 0 and 1."""

    secret: str
    uri: str
    qr_code: list[str]
    expires_at: datetime


class SecondFactorsService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        logins: LoginsService,
        notices: SecurityNoticesService,
        limiter: RateLimiter,
        secrets: SecretBox,
        *,
        required: bool,
    ) -> None:
        """`required`: whether operations of staff need a login that has proven a second factor."""
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._notices = notices
        self._limiter = limiter
        self._secrets = secrets
        self.is_required = required

    # --- What operations need ---------------------------------------------------------------------------

    def is_missing(self, identity: Identity) -> bool:
        """Return whether a login of staff may use no operation of staff, because it has proven no second factor."""
        return self.is_required and identity.factor_proven_at is None

    def acts_as_admin(self, identity: Identity | None) -> bool:
        """Return whether a login sees what administrators see in operations of learners."""
        return identity is not None and identity.role == Role.ADMIN and not self.is_missing(identity)

    def check(self, identity: Identity, within: timedelta | None = None) -> None:
        """Raise SecondFactorRequired unless the login has proven its factor, `within` a time where one is given.

        Where none is required, a login without a factor passes. One that has proven a factor must do so again in time.
        """
        if self.is_missing(identity):
            raise errors.SecondFactorRequired(
                "This needs a second factor: enroll one with POST /auth/second-factor, or log in with a code."
            )
        proven_at = identity.factor_proven_at
        if within is not None and proven_at is not None and time.time() - proven_at > within.total_seconds():
            raise errors.SecondFactorRequired()

    async def require_recent_within(self, db: AsyncSession, user: User, identity: Identity) -> None:
        """Raise SecondFactorRequired where staff have a factor that this login has not proven within ten minutes.

        Inside the caller's transaction, which locks the account: who has only the password of an account, or only an
        access token, must add no factor and remove none.
        """
        if not user.role.is_staff or not await self.is_enrolled_within(db, user.id):
            return
        proven_at = await self._logins.read_factor_proof(db, identity)
        if proven_at is None or utc_now() - proven_at > _RECENT:
            raise errors.SecondFactorRequired()

    # --- Enrollment ------------------------------------------------------------------------------------

    async def read(self, identity: Identity) -> SecondFactorState:
        """Read the state of an account's factor."""
        user_id = uuid.UUID(identity.user_id)
        left = sa.select(sa.func.count()).where(
            col(RecoveryCode.user_id) == user_id, col(RecoveryCode.used_at).is_(None)
        )
        async with self._database.transaction() as db:
            factor = await db.get(SecondFactor, user_id)
            count = (await db.execute(left)).scalar_one()
            proven_at = await self._logins.read_factor_proof(db, identity)
            passkeys = sa.select(sa.func.count()).where(col(Passkey.user_id) == user_id)
            passkey_count = (await db.execute(passkeys)).scalar_one()
        enrolled_at = factor.enrolled_at if factor else None
        return SecondFactorState(self.is_required, enrolled_at, proven_at, count, passkey_count)

    async def start(self, identity: Identity, password: str, code: str | None) -> NewSecret:
        """Make a secret, which counts once it is confirmed.

        Raises InvalidCredentials for a wrong password; to replace an app SecondFactorRequired without a code of it, and
        SecondFactorInvalid or RateLimited for a wrong one; beside a passkey SecondFactorRequired unless the login has
        proven one lately.
        """
        user_id = uuid.UUID(identity.user_id)
        async with self._database.transaction() as db:
            found = await db.get(User, user_id)
        # A stolen access token alone must not add a factor that its owner lacks.
        if found is None or not await self._passwords.matches(password, found.password_hash):
            raise errors.InvalidCredentials("The password is wrong.")
        async with self._database.transaction() as db:
            has_app = await self._read_enrolled(db, user_id) is not None
        if has_app and code is None:
            raise errors.SecondFactorRequired("Replacing a second factor needs a code of the present one.")
        secret = pyotp.random_base32()
        uri = pyotp.TOTP(secret).provisioning_uri(name=found.email, issuer_name=_ISSUER)
        expires_at = utc_now() + _PENDING_LIFETIME
        pending = {"pending_secret": self._secrets.seal(secret), "pending_until": expires_at}
        async with self.attempt(user_id), self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            if user.password_hash != found.password_hash:
                raise errors.InvalidCredentials("The password is wrong.")
            if await self._read_enrolled(db, user_id) is not None:
                await self.use(db, user_id, code)
            else:
                await self.require_recent_within(db, user, identity)
            await db.execute(
                insert(SecondFactor)
                .values(user_id=user_id, **pending)
                .on_conflict_do_update(index_elements=[col(SecondFactor.user_id)], set_=pending)
            )
        rows = ["".join(map(str, row)) for row in segno.make(uri, error="m", micro=False).matrix]
        return NewSecret(secret, uri, rows, expires_at)

    async def confirm(self, identity: Identity, code: str) -> tuple[list[str], AccessToken]:
        """Let a pending secret count; return its recovery codes and an access token that has proven it.

        The account's other logins end. Raises NotFound without a pending secret, SecondFactorInvalid and RateLimited.
        """
        user_id = uuid.UUID(identity.user_id)
        async with self.attempt(user_id), self._database.transaction() as db:
            user = await lock_active_user(db, user_id)
            factor = await db.get(SecondFactor, user_id, populate_existing=True)
            if factor is None or factor.pending_secret is None or (factor.pending_until or utc_now()) <= utc_now():
                raise errors.NotFound("No secret is waiting to be confirmed; begin with POST /auth/second-factor.")
            step = _find_step(self._secrets.open(factor.pending_secret), code)
            if step is None:
                raise errors.SecondFactorInvalid()
            factor.secret, factor.last_step, factor.enrolled_at = factor.pending_secret, step, utc_now()
            factor.pending_secret = factor.pending_until = None
            db.add(factor)
            codes = await make_recovery_codes(db, user_id)
            token = await self._logins.record_factor_proof(db, user, identity)
            ended = await self._logins.end_others_within(db, identity)
            await self._notices.record_change(db, user_id, user_id, "second_factor_enroll")
        await self._logins.publish_ended(ended)
        return codes, token

    async def replace_recovery_codes(self, identity: Identity) -> list[str]:
        """Replace the recovery codes of an account; raise NotFound where it has no factor."""
        user_id = uuid.UUID(identity.user_id)
        async with self._database.transaction() as db:
            await lock_active_user(db, user_id)
            if await self._read_enrolled(db, user_id) is None:
                raise errors.NotFound()
            codes = await make_recovery_codes(db, user_id)
            await self._notices.record_change(db, user_id, user_id, "second_factor_codes")
        return codes

    async def remove(self, identity: Identity) -> None:
        """Remove an account's factor and end its logins; raise NotFound where it has none."""
        user_id = uuid.UUID(identity.user_id)
        async with self._database.transaction() as db:
            await lock_active_user(db, user_id)
            if not await self.remove_within(db, user_id):
                raise errors.NotFound()
            ended = await self._logins.end_all_within(db, user_id)
            await self._notices.record_change(db, user_id, user_id, "second_factor_remove")
        await self._logins.publish_ended(ended)

    @staticmethod
    async def remove_within(db: AsyncSession, user_id: uuid.UUID) -> bool:
        """Remove a factor inside the caller's transaction, which locks the account; return whether there was one."""
        statement = sa.delete(SecondFactor).where(col(SecondFactor.user_id) == user_id)
        removed = (await db.execute(statement.returning(col(SecondFactor.enrolled_at)))).first()
        return removed is not None and removed.enrolled_at is not None

    # --- Codes -----------------------------------------------------------------------------------------

    async def is_enrolled_within(self, db: AsyncSession, user_id: uuid.UUID) -> bool:
        """Return whether logins of staff need a factor, an app or a passkey, inside the caller's transaction."""
        if await self._read_enrolled(db, user_id) is not None:
            return True
        return (await db.exec(select(Passkey.id).where(Passkey.user_id == user_id).limit(1))).first() is not None

    async def prove(self, identity: Identity, code: str) -> AccessToken:
        """Return an access token of the same login that has just proven its factor.

        Raises NotFound where the account has no app, SecondFactorInvalid, and RateLimited. Passkeys are proven by
        `PasskeysService.prove_factor`.
        """
        user_id = uuid.UUID(identity.user_id)
        async with self.attempt(user_id), self._database.transaction() as db:
            user = await lock_active_user(db, user_id)
            if await self._read_enrolled(db, user_id) is None:
                raise errors.NotFound(
                    "This account has no authenticator app; enroll one with POST /auth/second-factor."
                )
            await self.use(db, user_id, code)
            return await self._logins.record_factor_proof(db, user, identity)

    @asynccontextmanager
    async def attempt(self, user_id: uuid.UUID) -> AsyncIterator[None]:
        """Count a code while it is checked; only a wrong one stays counted. Raise RateLimited beyond the limit.

        It is counted first, so that a hundred at once are not a hundred guesses. It begins before the transaction,
        which must not wait for Redis.
        """
        taken = await self._limiter.take(f"second_factor:{user_id}", _MAX_WRONG_CODES, _WRONG_CODES_SECONDS)
        try:
            yield
        except errors.SecondFactorInvalid:
            raise
        except Exception:
            await self._limiter.give_back(taken)
            raise
        await self._limiter.give_back(taken)

    async def use(self, db: AsyncSession, user_id: uuid.UUID, code: str | None) -> None:
        """Use up a code inside the caller's transaction, which locks the account; raise SecondFactorInvalid."""
        given = to_canonical_code(code or "")
        if not is_totp_code(given):
            if not await use_recovery_code(db, user_id, given):
                raise errors.SecondFactorInvalid()
            await self._notices.record_change(db, user_id, user_id, "second_factor_recovery")
            return
        factor = await self._read_enrolled(db, user_id)
        stored = factor.secret if factor else None
        step = _find_step(self._secrets.open(stored), given) if stored else None
        if stored is None or step is None:
            raise errors.SecondFactorInvalid()
        secret = stored if self._secrets.is_current(stored) else self._secrets.seal(self._secrets.open(stored))
        used = await db.execute(
            sa.update(SecondFactor)
            .where(col(SecondFactor.user_id) == user_id, col(SecondFactor.last_step) < step)
            .values(last_step=step, secret=secret)
            .returning(col(SecondFactor.user_id))
        )
        if used.first() is None:
            raise errors.SecondFactorInvalid()

    @staticmethod
    async def _read_enrolled(db: AsyncSession, user_id: uuid.UUID) -> SecondFactor | None:
        enrolled = select(SecondFactor).where(
            SecondFactor.user_id == user_id, col(SecondFactor.enrolled_at).is_not(None)
        )
        return (await db.exec(enrolled.execution_options(populate_existing=True))).first()


def _find_step(secret: str, code: str) -> int | None:
    """Return the time step whose code this is, of the present one and its neighbours; None for another code."""
    code, now = to_canonical_code(code), int(time.time()) // _STEP_SECONDS
    totp = pyotp.TOTP(secret)
    found = None
    for step in (now - 1, now, now + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            found = step
    return found
