"""E-mails to owners of accounts about changes of ways to log in, so that one by another person is noticed."""

from __future__ import annotations

import uuid
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from instants import format_instant, utc_now
from jobs import send_security_notice
from models import EmailChange, User, email_addresses
from services.identity.email_verification import can_receive_mail
from services.identity.user_rows import is_undoable
from services.messaging import emails
from services.operations.audit import AuditService

SecurityChange = Literal[
    "second_factor_enroll",
    "second_factor_remove",
    "second_factor_reset",
    "second_factor_codes",
    "second_factor_recovery",
    "password_change",
    "password_reset",
    "email_change_request",
    "email_change",
    "email_undo",
    "credentials_remove",
    "identity_link",
    "identity_unlink",
    "passkey_add",
    "passkey_remove",
]


class ChangeText(NamedTuple):
    """The action that the audit log gets for a change, and the sentence that the owner gets."""

    action: str
    sentence: str


_TEXTS: dict[str, ChangeText] = {
    "second_factor_enroll": ChangeText(
        "second_factor.enroll", "An authenticator app was set up as the second factor of your account."
    ),
    "second_factor_remove": ChangeText(
        "second_factor.remove",
        "The second factor of your account was removed, with its recovery codes. All devices were signed out.",
    ),
    "second_factor_reset": ChangeText(
        "second_factor.reset",
        "An operator removed the second factor of your account, with its recovery codes. All devices were signed out.",
    ),
    "second_factor_codes": ChangeText(
        "second_factor.codes", "The recovery codes of your account were replaced. The earlier ones no longer work."
    ),
    "second_factor_recovery": ChangeText(
        "second_factor.recovery",
        "A recovery code of your account was used in place of a code of its authenticator app.",
    ),
    "password_change": ChangeText(
        "password.change", "The password of your account was changed. All other devices were signed out."
    ),
    "password_reset": ChangeText(
        "password.reset",
        "The password of your account was set with the link of an e-mail. All devices were signed out.",
    ),
    "email_change_request": ChangeText(
        "email.change_request",
        "A change of the e-mail address of your account was requested. It becomes effective when the code that the new"
        " address has got is entered within ten minutes.",
    ),
    "email_change": ChangeText("email.change", "The e-mail address of your account was changed."),
    "email_undo": ChangeText(
        "email.undo",
        "A change of the e-mail address of your account was undone, with the link that the earlier address had. All"
        " devices were signed out. The password was removed, and so were passkeys and linked identities that were added"
        ' lately. Sign in with a code by e-mail, or set a new password with the link "I forgot my password".',
    ),
    "credentials_remove": ChangeText(
        "credentials.remove",
        "You have shown that this address is yours. Because it had not been confirmed before, what was set up"
        " for the account then was removed: the earlier password, passkeys, linked identities and signed-in devices.",
    ),
    "identity_link": ChangeText(
        "identity.link", "An identity was linked to your account, with which it is signed in to."
    ),
    "identity_unlink": ChangeText("identity.unlink", "A linked identity was removed from your account."),
    "passkey_add": ChangeText("passkey.add", "A passkey was added to your account."),
    "passkey_remove": ChangeText("passkey.remove", "A passkey was removed from your account."),
}


class SecurityNoticesService:
    def __init__(self, database: Database, audit: AuditService, jobs: Jobs, mailer: Mailer, site: str) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def record_change(
        self, db: AsyncSession, actor_id: uuid.UUID | None, user_id: uuid.UUID, change: SecurityChange
    ) -> None:
        """Enqueue the mail about a change and, for staff, write it to the audit log, inside the caller's transaction.

        `actor_id` is None for an operator at the command line.
        """
        await self.audit_change(db, actor_id, user_id, change)
        at = format_instant(utc_now())
        await self._jobs.enqueue(db, send_security_notice, user_id=str(user_id), change=change, at=at)

    async def audit_change(
        self, db: AsyncSession, actor_id: uuid.UUID | None, user_id: uuid.UUID, change: SecurityChange
    ) -> None:
        """Write a change that has mails of its own to the audit log, for staff, inside the caller's transaction."""
        user = await db.get(User, user_id)
        # A second factor is of staff, also of one who has just been demoted.
        if change.startswith("second_factor") or (user is not None and user.role.is_staff):
            await self._audit.write(db, actor_id, _TEXTS[change].action, user_id)

    async def send(self, user_id: str, change: str, at: str) -> None:
        """Mail what was changed at a time, RFC 3339, to the owner of the account.

        Where a change of the address can still be undone, the earlier address gets the mail too: who has changed it
        may be another person, and so may be who changes more.
        """
        # A job from before these names were general.
        text = _TEXTS.get(change) or _TEXTS[f"second_factor_{change}"]
        earlier = sa.select(col(EmailChange.old_email)).where(
            col(EmailChange.user_id) == uuid.UUID(user_id), is_undoable()
        )
        async with self._database.transaction() as db:
            user = await db.get(User, uuid.UUID(user_id))
            addresses = list((await db.execute(earlier)).scalars())
        if user is None or user.deleted_at is not None or not can_receive_mail(user):
            return
        link = f"{self._site}/admin-ui" if user.role.is_staff else f"{self._site}/"
        # The account's own address last, where one address has two spellings: that one gets the mail.
        by_account = {email_addresses.account_key(each): each for each in (*addresses, user.email)}
        for account, address in by_account.items():
            mail = emails.security_notice(address, f"{text.sentence} Time: {at}.", link, is_staff=user.role.is_staff)
            await self._mailer.send(mail, idempotency_key=f"security-{change}-{user_id}-{account[:8]}-{at}")
