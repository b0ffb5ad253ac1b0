"""Owns accounts: making one, signing in with a password, setting a new one, verifying the address."""

from __future__ import annotations

import hashlib
import logging
import secrets
import uuid
from datetime import timedelta
from typing import cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords, Verdict
from adapters.ports import Mailer
from adapters.tokens import AccessTokens, Identity
from jobs import send_password_reset, send_verification
from models import EmailVerificationToken, PasswordResetToken, Profile, User, email_addresses
from models.columns import now
from services.identity.logins import LoginsService, SignedIn, find_by_email, lock_user
from services.messaging import emails
from wire import rest

log = logging.getLogger("parlance.auth")

RESET_LIFETIME = timedelta(hours=1)
VERIFICATION_LIFETIME = timedelta(days=1)

#: How often a login is tried whose hash changes meanwhile.
_LOGIN_ATTEMPTS = 2

_IS_BANNED = "SELECT is_banned FROM users WHERE id = $1"


class AuthenticationService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        tokens: AccessTokens,
        sign_ins: LoginsService,
        jobs: Jobs,
        mailer: Mailer,
        site: str,
    ) -> None:
        """`site` is where the links in mails lead."""
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._sign_ins = sign_ins
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def register(self, email: str, password: str, device_id: str, platform: str) -> SignedIn:
        """Create an account with its profile, sign the device in and ask to verify the address.

        Raises EmailTaken, and RequestInvalid for an address or a password that may not be used.
        """
        user = User(email=checked_email(email), password_hash=await self._passwords.hash_new(password, "password"))
        try:
            async with self._database.transaction() as db:
                db.add(user)
                await db.flush()
                db.add(Profile(user_id=user.id, last_active_at=now()))
                await self._jobs.enqueue(db, send_verification, user_id=str(user.id))
                signed_in, _ = await self._sign_ins.open(db, user, device_id, platform)
        except IntegrityError:
            raise errors.EmailTaken() from None
        return signed_in

    async def login(self, email: str, password: str, device_id: str, platform: str) -> SignedIn:
        """Sign a device in, which ends its earlier login.

        Raises InvalidCredentials, or AccountBanned after a right password.
        """
        # Again, where the hash changed while it was checked: another login may have brought it into today's form.
        for _ in range(_LOGIN_ATTEMPTS):
            signed_in = await self._attempt_login(email, password, device_id, platform)
            if signed_in is not None:
                return signed_in
        raise errors.InvalidCredentials()

    async def _attempt_login(self, email: str, password: str, device_id: str, platform: str) -> SignedIn | None:
        """Log in once; None where the password was right and is not the account's any more."""
        async with self._database.transaction() as db:
            found = await find_by_email(db, email)
        # Outside the transaction: a check takes a quarter of a second, and no connection should wait for it.
        verdict = await self._passwords.verify(password, found.password_hash if found else None)
        if found is None or verdict is Verdict.WRONG:
            raise errors.InvalidCredentials()
        renewed = await self._passwords.hash(password) if verdict is Verdict.OUTDATED else None
        async with self._database.transaction() as db:
            user = await lock_user(db, found.id)
            # What was checked may have changed while it was checked: a ban, a new password.
            if user is None or user.password_hash != found.password_hash:
                return None
            if user.is_banned:
                raise errors.AccountBanned()
            if renewed is not None:
                user.password_hash = renewed
                db.add(user)
            await db.execute(sa.update(Profile).where(col(Profile.user_id) == user.id).values(last_active_at=now()))
            signed_in, ended = await self._sign_ins.open(db, user, device_id, platform)
        await self._sign_ins.announce(ended)
        return signed_in

    async def admit_socket(self, access_token: str) -> Identity:
        """Answer whose socket this is; raise Unauthenticated, or Banned."""
        identity = self._tokens.verify(access_token)
        # A restart brings every phone back at once: hence `fetch_one`.
        found = await self._database.fetch_one(_IS_BANNED, identity.user_id)
        if found is None:
            raise errors.Unauthenticated()
        if found[0]:
            raise errors.Banned()
        # Last: whoever is banned should hear so, although their sign-ins have ended too; and this one may have ended
        # during the query, when nobody knew of this socket yet.
        return self._sign_ins.identify(access_token)

    async def forgot_password(self, email: str) -> None:
        """Ask for a mail with a link; raise RequestInvalid for what no mail may be sent to.

        The work is the same for every address, so that nothing shows which are known.
        """
        canonical = email_addresses.canonical(checked_email(email))
        async with self._database.transaction() as db:
            await self._jobs.enqueue(db, send_password_reset, email=canonical)

    async def send_password_reset(self, email: str) -> None:
        """Mail a link to set a new password, where the address has an account."""
        token = secrets.token_urlsafe(32)
        row = PasswordResetToken(token_hash=_hash(token), expires_at=now() + RESET_LIFETIME, user_id=uuid.UUID(int=0))
        async with self._database.transaction() as db:
            user = await find_by_email(db, email)
            if user is None or not _can_be_mailed(user):
                return
            row.user_id = user.id
            db.add(row)
        mail = emails.password_reset(user.email, f"{self._site}/reset-password?token={token}")
        await self._mailer.send(mail, idempotency_key=f"password-reset-{row.id}")

    async def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password and end every sign-in; raise TokenInvalid, or for the password what `hash_new` raises."""
        unused = (
            col(PasswordResetToken.token_hash) == _hash(token),
            ~col(PasswordResetToken.used),
            col(PasswordResetToken.expires_at) > sa.func.now(),
        )
        async with self._database.transaction() as db:
            user_id = (await db.exec(select(PasswordResetToken.user_id).where(*unused))).first()
        if user_id is None:  # before the hashing, which is dear
            raise errors.TokenInvalid()
        password_hash = await self._passwords.hash_new(new_password, "newPassword")
        async with self._database.transaction() as db:
            user = await lock_user(db, user_id)
            used = await db.execute(
                sa.update(PasswordResetToken).where(*unused).values(used=True).returning(PasswordResetToken.id)  # type: ignore[call-overload]
            )
            if user is None or used.first() is None:
                raise errors.TokenInvalid()
            # The other links that were asked for die with this one.
            await db.execute(
                sa.update(PasswordResetToken).where(col(PasswordResetToken.user_id) == user_id).values(used=True)
            )
            user.password_hash = password_hash
            db.add(user)
            ended = await self._sign_ins.end_all_within(db, user_id)
        await self._sign_ins.announce(ended)

    async def resend_verification(self, user_id: str) -> None:
        """Ask for another mail that verifies the address; does nothing for one that is verified."""
        async with self._database.transaction() as db:
            await self._jobs.enqueue(db, send_verification, user_id=user_id)

    async def send_verification(self, user_id: str) -> None:
        """Mail a link that verifies the address, unless it is verified."""
        token = secrets.token_urlsafe(32)
        row = EmailVerificationToken(
            user_id=uuid.UUID(user_id), token_hash=_hash(token), expires_at=now() + VERIFICATION_LIFETIME
        )
        async with self._database.transaction() as db:
            user = await db.get(User, uuid.UUID(user_id))
            if user is None or user.is_verified or not _can_be_mailed(user):
                return
            db.add(row)
        mail = emails.verification(user.email, f"{self._site}/verify-email?token={token}")
        await self._mailer.send(mail, idempotency_key=f"verification-{row.id}")

    async def verify_email(self, token: str) -> None:
        """Mark the address as verified; raise TokenInvalid."""
        statement = (
            sa.update(EmailVerificationToken)
            .where(
                col(EmailVerificationToken.token_hash) == _hash(token),
                ~col(EmailVerificationToken.used),
                col(EmailVerificationToken.expires_at) > sa.func.now(),
            )
            .values(used=True)
            .returning(col(EmailVerificationToken.user_id))
        )
        async with self._database.transaction() as db:
            user_id = (await db.execute(statement)).scalar()
            if user_id is None:
                raise errors.TokenInvalid()
            await db.execute(sa.update(User).where(col(User.id) == user_id).values(is_verified=True))

    def jwks(self) -> rest.JsonWebKeySet:
        """The public keys that verify access tokens."""
        return cast(rest.JsonWebKeySet, self._tokens.jwks())


def checked_email(typed: str) -> str:
    """Answer an address as mail is sent to it; raise RequestInvalid for one that mail programs read otherwise."""
    address = email_addresses.deliverable(typed)
    if address is None:
        raise errors.RequestInvalid("'email' is not an address that mail can be sent to; check how it is spelled")
    return address


def _can_be_mailed(user: User) -> bool:
    """Say whether an account's address is one that would be accepted today; older accounts may have others."""
    if email_addresses.deliverable(user.email) is not None:
        return True
    log.warning("email_not_sent reason=address_not_deliverable user_id=%s", user.id)
    return False


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
