"""Changes of passwords: the link that is mailed to the account's address, and the reset that it permits."""

from __future__ import annotations

import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords
from adapters.ports import Mailer
from jobs import send_password_reset
from models import PasswordResetToken, email_addresses
from services.identity.email_verification import can_receive_mail, require_deliverable
from services.identity.logins import LoginsService
from services.identity.one_time_tokens import is_usable, make_token
from services.identity.user_rows import find_user_by_email, lock_user
from services.messaging import emails

RESET_LIFETIME = timedelta(hours=1)


class PasswordsService:
    def __init__(
        self, database: Database, passwords: Passwords, logins: LoginsService, jobs: Jobs, mailer: Mailer, site: str
    ) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def request_reset(self, email: str) -> None:
        """Enqueue a mail with a reset link; raise RequestInvalid for an address that no mail may be sent to.

        The work is the same for every address, so that its duration does not show which have an account.
        """
        canonical = email_addresses.to_canonical(require_deliverable(email))
        async with self._database.transaction() as db:
            await self._jobs.enqueue(db, send_password_reset, email=canonical)

    async def send_reset(self, email: str) -> None:
        """Mail a reset link, where the address has an account."""
        async with self._database.transaction() as db:
            user = await find_user_by_email(db, email)
            if user is None or not can_receive_mail(user):
                return
            token, row = make_token(PasswordResetToken, user.id, RESET_LIFETIME)
            db.add(row)
        mail = emails.password_reset(user.email, f"{self._site}/reset-password?token={token}")
        await self._mailer.send(mail, idempotency_key=f"password-reset-{row.id}")

    async def reset(self, token: str, new_password: str) -> None:
        """Set a new password and end every login; raise TokenInvalid, or for the password what `hash_new` raises."""
        usable = is_usable(PasswordResetToken, token)
        async with self._database.transaction() as db:
            user_id = (await db.exec(select(PasswordResetToken.user_id).where(usable))).first()
        if user_id is None:  # before the hashing, which takes a quarter of a second
            raise errors.TokenInvalid()
        password_hash = await self._passwords.hash_new(new_password, "newPassword")
        ended = await self._set_password(user_id, password_hash, usable)
        await self._logins.publish_ended(ended)

    async def _set_password(self, user_id: uuid.UUID, password_hash: str, usable: sa.ColumnElement[bool]) -> list[str]:
        """Use up a token, set the hash and end every login in one transaction; return the logins."""
        async with self._database.transaction() as db:
            user = await lock_user(db, user_id)
            used = await db.execute(
                sa.update(PasswordResetToken).where(usable).values(used=True).returning(col(PasswordResetToken.id))
            )
            if user is None or used.first() is None:
                raise errors.TokenInvalid()
            # The account's other links stop working with this one.
            await db.execute(
                sa.update(PasswordResetToken).where(col(PasswordResetToken.user_id) == user_id).values(used=True)
            )
            user.password_hash = password_hash
            db.add(user)
            return await self._logins.end_all_within(db, user_id)
