"""Codes in e-mails: requested, mailed by a job, tried a few times, and used once.

A code belongs to a challenge, whose id only its requester gets, and to the address that it was mailed to. A try is
counted and committed before the code is compared, so that a hundred at once are not a hundred guesses. The codes of an
account over all challenges are limited by the operations that take them.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from adapters.rate_limiter import RateLimiter
from jobs import send_email_code
from models import EmailCode, EmailCodePurpose, User, email_addresses
from services.identity.email_verification import can_receive_mail, require_deliverable
from services.identity.user_rows import find_user_by_email
from services.messaging import emails
from wire import rest

CODE_LIFETIME = timedelta(minutes=10)
#: Codes that may be tried for one challenge.
MAX_TRIES = 5
_DIGITS = 6
#: Wrong codes by which a login proves that it is of the account's owner, and the seconds in which they count.
_MAX_WRONG_PROOFS, _WRONG_PROOFS_SECONDS = 10, 60 * 60


@dataclass(frozen=True, slots=True)
class EmailChallenge:
    id: str
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class CheckedCode:
    """A right code, which is still to be used. `email` is the address that it was mailed to, in that spelling."""

    challenge_id: uuid.UUID
    email: str
    code_hash: str

    async def use(self, db: AsyncSession) -> None:
        """Use it up inside the caller's transaction; raise CodeInvalid where another has, or it has expired."""
        statement = (
            sa.update(EmailCode)
            .where(
                col(EmailCode.id) == self.challenge_id,
                col(EmailCode.code_hash) == self.code_hash,
                ~col(EmailCode.used),
                col(EmailCode.expires_at) > sa.func.now(),
            )
            .values(used=True)
        )
        if (await db.execute(statement.returning(col(EmailCode.id)))).first() is None:
            raise errors.CodeInvalid()


class EmailCodesService:
    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        mailer: Mailer,
        get_key: Callable[[], bytes],
        site: str,
        *,
        is_offered: bool,
    ) -> None:
        """`get_key` reads the key of the codes' hashes; `site` is the origin of links in mails.

        `is_offered`: whether codes log in. A change of an address is confirmed by one in any case.
        """
        self._database = database
        self._jobs = jobs
        self._mailer = mailer
        self._get_key = get_key
        self._site = site
        self.is_offered = is_offered

    async def request(self, email: str) -> EmailChallenge:
        """Request a code that logs in, or proves that a request is of the account's owner.

        The work is the same for every address, so that its duration does not show which have an account. Raises
        NotFound where codes are not offered, and RequestInvalid for an address that no mail may be sent to.
        """
        self.require_offered()
        address = require_deliverable(email)
        async with self._database.transaction() as db:
            return await self.request_within(db, EmailCodePurpose.LOGIN, address)

    async def request_within(
        self, db: AsyncSession, purpose: EmailCodePurpose, address: str, user_id: uuid.UUID | None = None
    ) -> EmailChallenge:
        """Add a challenge and the job that mails its code, inside the caller's transaction.

        `user_id` names the account whose address is to be changed.
        """
        challenge_id = uuid.uuid4()
        await db.execute(
            sa.insert(EmailCode).values(
                id=challenge_id,
                purpose=purpose,
                user_id=user_id,
                email=address,
                email_canonical=email_addresses.to_canonical(address),
                code_hash="",  # no code has this hash
                expires_at=sa.func.now() + CODE_LIFETIME,
            )
        )
        await self._jobs.enqueue(db, send_email_code, challenge_id=str(challenge_id))
        return EmailChallenge(str(challenge_id), int(CODE_LIFETIME.total_seconds()))

    async def send(self, challenge_id: str) -> None:
        """Mail a new code for a challenge that nobody has used, and that has not expired or been withdrawn.

        An attempt after a failed one mails another code in its place: whether the first was delivered is not known.
        """
        code = "".join(secrets.choice("0123456789") for _ in range(_DIGITS))
        is_open = sa.and_(
            col(EmailCode.id) == uuid.UUID(challenge_id),
            ~col(EmailCode.used),
            col(EmailCode.expires_at) > sa.func.now(),
        )
        async with self._database.transaction() as db:
            row = (await db.execute(sa.select(EmailCode).where(is_open).with_for_update())).scalar()
            if row is None:
                return
            if row.purpose is EmailCodePurpose.LOGIN:
                # In the account's own spelling: at some servers another one is the mailbox of another person.
                account = await find_user_by_email(db, row.email_canonical)
                if account is not None and not can_receive_mail(account):
                    return
                row.email = account.email if account else row.email
            row.code_hash = self._hash(row, code)
            address, purpose = row.email, row.purpose
            db.add(row)
            await db.flush()
            renewed = sa.update(EmailCode).where(col(EmailCode.id) == row.id)
            await db.execute(renewed.values(expires_at=sa.func.now() + CODE_LIFETIME))
        write = emails.login_code if purpose is EmailCodePurpose.LOGIN else emails.email_change_code
        key = f"email-code-{challenge_id}-{secrets.token_hex(4)}"
        await self._mailer.send(write(address, code, f"{self._site}/"), idempotency_key=key)

    async def check(
        self,
        challenge_id: str,
        code: str,
        purpose: EmailCodePurpose,
        *,
        email: str | None = None,
        user_id: uuid.UUID | None = None,
    ) -> CheckedCode:
        """Count a try and compare the code; raise CodeInvalid.

        A login names the address, in any spelling, and a change of it the account.
        """
        counted = (
            sa.update(EmailCode)
            .where(
                col(EmailCode.id) == uuid.UUID(challenge_id),
                col(EmailCode.purpose) == purpose,
                ~col(EmailCode.used),
                col(EmailCode.expires_at) > sa.func.now(),
                col(EmailCode.tries) < MAX_TRIES,
                col(EmailCode.user_id).is_(None) if user_id is None else col(EmailCode.user_id) == user_id,
            )
            .values(tries=col(EmailCode.tries) + 1)
            .returning(EmailCode)
        )
        if email is not None:
            counted = counted.where(col(EmailCode.email_canonical) == email_addresses.to_canonical(email))
        async with self._database.transaction() as db:
            row = (await db.execute(counted)).scalar()
        if row is None or not row.code_hash:
            # No code would have been right. Counted, made-up challenges would lock the owner of the address out.
            raise errors.CodeInvalid(is_guess=False)
        if not hmac.compare_digest(row.code_hash, self._hash(row, code)):
            raise errors.CodeInvalid()
        return CheckedCode(row.id, row.email, row.code_hash)

    def require_offered(self) -> None:
        """Raise NotFound where this installation does not offer codes."""
        if not self.is_offered:
            raise errors.NotFound("Codes by e-mail are not offered here; GET /auth/methods lists what is.")

    def _hash(self, row: EmailCode, code: str) -> str:
        said = "\0".join((row.purpose.value, str(row.id), row.email_canonical, code))
        return hmac.digest(self._get_key(), said.encode(), "sha256").hex()


async def withdraw_changes(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Delete the account's requested changes of its address, so that none can be confirmed any more."""
    await db.execute(sa.delete(EmailCode).where(col(EmailCode.user_id) == user_id))


@dataclass(frozen=True, slots=True)
class EmailCodeProof:
    """A right code of the account's present address."""

    user_id: uuid.UUID
    code: CheckedCode
    proves_second_factor: bool = False

    async def use(self, db: AsyncSession, user: User) -> None:
        """Use up the code; raise CodeInvalid, also where the address has been changed meanwhile."""
        if user.email != self.code.email:
            raise errors.CodeInvalid()
        await self.code.use(db)


class EmailCodeProofs:
    def __init__(self, database: Database, codes: EmailCodesService, limiter: RateLimiter) -> None:
        self._database = database
        self._codes = codes
        self._limiter = limiter

    async def verify(self, user_id: uuid.UUID, body: rest.EmailCodeProof) -> EmailCodeProof:
        """Verify a code of an account that is logged in; raise CodeInvalid, or RateLimited after too many wrong ones.

        The wrong ones of all operations count together: the operations alone would multiply the guesses.
        """
        if not self._codes.is_offered:
            raise errors.CodeInvalid("Codes by e-mail are not offered here; GET /auth/methods lists what is.")
        async with self._database.transaction() as db:
            user = await db.get(User, user_id)
        if user is None or user.deleted_at is not None:
            raise errors.Unauthenticated()
        taken = await self._limiter.take(f"email_code:{user_id}", _MAX_WRONG_PROOFS, _WRONG_PROOFS_SECONDS)
        try:
            code = await self._codes.check(body["challengeId"], body["code"], EmailCodePurpose.LOGIN, email=user.email)
        except Exception as error:
            if not (isinstance(error, errors.CodeInvalid) and error.is_guess):
                await self._limiter.give_back(taken)
            raise
        await self._limiter.give_back(taken)
        return EmailCodeProof(user.id, code)
