"""E-mails to owners of accounts about changes of their second factor, so that one by another person is noticed."""

from __future__ import annotations

import uuid
from typing import Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from instants import format_instant, utc_now
from jobs import send_security_notice
from models import User
from services.identity.email_verification import can_receive_mail
from services.messaging import emails
from services.operations.audit import AuditService

#: Changes of a second factor: the last part of the audit log's actions.
FactorChange = Literal["enroll", "remove", "reset", "codes", "recovery"]

_SENTENCES: dict[str, str] = {
    "enroll": "An authenticator app was set up as the second factor of your account.",
    "remove": "The second factor of your account was removed, with its recovery codes. All devices were signed out.",
    "reset": "An operator removed the second factor of your account, with its recovery codes. All devices were signed"
    " out.",
    "codes": "The recovery codes of your account were replaced. The earlier ones no longer work.",
    "recovery": "A recovery code of your account was used in place of a code of its authenticator app.",
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
        self, db: AsyncSession, actor_id: uuid.UUID | None, user_id: uuid.UUID, change: FactorChange
    ) -> None:
        """Write a change to the audit log and enqueue its mail, inside the caller's transaction."""
        await self._audit.write(db, actor_id, f"second_factor.{change}", user_id)
        at = format_instant(utc_now())
        await self._jobs.enqueue(db, send_security_notice, user_id=str(user_id), change=change, at=at)

    async def send(self, user_id: str, change: str, at: str) -> None:
        """Mail what was changed at a time, RFC 3339, to the owner of the account."""
        async with self._database.transaction() as db:
            user = await db.get(User, uuid.UUID(user_id))
        if user is None or user.deleted_at is not None or not can_receive_mail(user):
            return
        mail = emails.security_notice(user.email, f"{_SENTENCES[change]} Time: {at}.", f"{self._site}/admin-ui")
        await self._mailer.send(mail, idempotency_key=f"security-{change}-{user_id}-{at}")
