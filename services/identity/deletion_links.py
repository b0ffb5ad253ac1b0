"""Deletion of an account and a copy of its data by a link in an e-mail: for those who cannot log in.

Banned learners have the rights to both (GDPR, articles 15, 17 and 20), and no login.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from jobs import send_deletion_link
from models import AccountDeletionToken, Role, User, email_addresses
from services.identity.account_deletion import AccountDeletionService
from services.identity.email_verification import can_receive_mail, require_deliverable
from services.identity.logins import LoginsService
from services.identity.one_time_tokens import is_usable, make_token
from services.identity.user_rows import lock_user, lock_user_by_email
from services.messaging import emails

log = logging.getLogger("parlance.auth")

DELETION_LINK_LIFETIME = timedelta(hours=1)


class DeletionLinksService:
    def __init__(
        self,
        database: Database,
        deletion: AccountDeletionService,
        logins: LoginsService,
        jobs: Jobs,
        mailer: Mailer,
        site: str,
    ) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._deletion = deletion
        self._logins = logins
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def request(self, email: str) -> None:
        """Enqueue a mail with a link; raise RequestInvalid for an address that no mail may be sent to.

        The work is the same for every address, so that its duration does not show which have an account.
        """
        canonical = email_addresses.to_canonical(require_deliverable(email))
        async with self._database.transaction() as db:
            await self._jobs.enqueue(db, send_deletion_link, email=canonical)

    async def send(self, email: str) -> None:
        """Mail a link, where the address has the account of a learner, also of one who is banned."""
        async with self._database.transaction() as db:
            # Locked: a link that is mailed to an address must not be added after the account has got another.
            user = await lock_user_by_email(db, email)
            if user is None or not can_receive_mail(user):
                return
            if user.role != Role.STUDENT:
                log.warning("deletion_link_not_sent reason=administrator user_id=%s", user.id)
                return
            token, row = make_token(AccountDeletionToken, user.id, DELETION_LINK_LIFETIME)
            db.add(row)
        mail = emails.account_deletion(user.email, f"{self._site}/delete-account?token={token}")
        await self._mailer.send(mail, idempotency_key=f"account-deletion-{row.id}")

    async def is_usable(self, token: str) -> bool:
        """Return whether a link still works; it stays usable."""
        usable = select(AccountDeletionToken.id).where(is_usable(AccountDeletionToken, token))
        async with self._database.transaction() as db:
            return (await db.exec(usable)).first() is not None

    async def read_account(self, token: str) -> str:
        """Return the id of the learner's account of a link, which stays usable; raise TokenInvalid."""
        of_learner = (
            select(AccountDeletionToken.user_id)
            .join(User, col(User.id) == col(AccountDeletionToken.user_id))
            .where(is_usable(AccountDeletionToken, token), User.role == Role.STUDENT)
        )
        async with self._database.transaction() as db:
            user_id = (await db.exec(of_learner)).first()
        if user_id is None:
            raise errors.TokenInvalid()
        return str(user_id)

    async def delete(self, token: str) -> None:
        """Delete the account of a link; raise TokenInvalid, or Forbidden for an administrator."""
        usable = is_usable(AccountDeletionToken, token)
        async with self._database.transaction() as db:
            found = await db.exec(select(AccountDeletionToken.user_id).where(usable))
            user_id = found.first()
            # The account first, in the order of all changes of it; of two requests the second finds the link used.
            if user_id is None or await lock_user(db, user_id) is None:
                raise errors.TokenInvalid()
            used = sa.update(AccountDeletionToken).where(usable).values(used=True)
            if (await db.execute(used.returning(col(AccountDeletionToken.id)))).first() is None:
                raise errors.TokenInvalid()
            ended = await self._deletion.delete_within(db, user_id)
        log.info("account_deleted_by_link user_id=%s", user_id)
        await self._logins.publish_ended(ended)
