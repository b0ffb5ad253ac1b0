"""E-mail addresses of accounts: which ones are accepted, and the link that verifies one."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from jobs import send_verification
from models import EmailVerificationToken, User, email_addresses
from services.identity.one_time_tokens import is_usable, make_token
from services.identity.user_rows import lock_user
from services.messaging import emails

log = logging.getLogger("parlance.auth")

VERIFICATION_LIFETIME = timedelta(days=1)


class EmailVerificationService:
    def __init__(self, database: Database, jobs: Jobs, mailer: Mailer, site: str) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def request(self, user_id: str) -> None:
        """Enqueue another mail with a verification link; the job sends none to a verified address."""
        async with self._database.transaction() as db:
            await self._jobs.enqueue(db, send_verification, user_id=user_id)

    async def send(self, user_id: str) -> None:
        """Mail a verification link, unless the address is verified."""
        token, row = make_token(EmailVerificationToken, uuid.UUID(user_id), VERIFICATION_LIFETIME)
        async with self._database.transaction() as db:
            user = await db.get(User, uuid.UUID(user_id))
            if user is None or user.is_verified or not can_receive_mail(user):
                return
            db.add(row)
        mail = emails.verification(user.email, f"{self._site}/verify-email?token={token}")
        await self._mailer.send(mail, idempotency_key=f"verification-{row.id}")

    async def verify(self, token: str) -> None:
        """Mark the address as verified; raise TokenInvalid."""
        usable = is_usable(EmailVerificationToken, token)
        used = sa.update(EmailVerificationToken).where(usable).values(used=True)
        async with self._database.transaction() as db:
            user_id = (await db.exec(select(EmailVerificationToken.user_id).where(usable))).first()
            # The account first, in the order of all changes of it; of two requests the second finds the link used.
            user = await lock_user(db, user_id) if user_id else None
            if user is None or (await db.execute(used.returning(col(EmailVerificationToken.id)))).first() is None:
                raise errors.TokenInvalid()
            user.is_verified = True
            db.add(user)


def require_deliverable(typed: str, name: str = "email") -> str:
    """Return an address as mail is sent to it; raise RequestInvalid if mail programs could interpret it differently.

    `name` is that of the property in the request.
    """
    address = email_addresses.to_deliverable(typed)
    if address is None:
        raise errors.RequestInvalid(f"'{name}' is not an address that mail can be sent to; check how it is spelled")
    return address


def can_receive_mail(user: User) -> bool:
    """Return whether an account's address would be accepted today; older accounts may have others."""
    if email_addresses.to_deliverable(user.email) is not None:
        return True
    log.warning("email_not_sent reason=address_not_deliverable user_id=%s", user.id)
    return False
