"""Changes of passwords: by who is logged in, and by the link that is mailed to the account's address."""

from __future__ import annotations

import uuid
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords
from adapters.ports import Mailer
from jobs import send_password_reset
from models import PasswordResetToken, email_addresses
from services.identity.address_claims import AddressClaims
from services.identity.email_codes import withdraw_changes
from services.identity.email_verification import can_receive_mail, require_deliverable
from services.identity.logins import Identity, LoginsService
from services.identity.one_time_tokens import is_usable, make_token
from services.identity.proofs import PasswordProof, Proof
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import lock_user, lock_user_by_email, lock_user_of
from services.messaging import emails

RESET_LIFETIME = timedelta(hours=1)


class PasswordsService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        logins: LoginsService,
        claims: AddressClaims,
        notices: SecurityNoticesService,
        jobs: Jobs,
        mailer: Mailer,
        site: str,
    ) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._claims = claims
        self._notices = notices
        self._jobs = jobs
        self._mailer = mailer
        self._site = site

    async def change(self, identity: Identity, new_password: str, proof: Proof) -> None:
        """Set a new password, and end the other logins of the account.

        The proof is the present password where the account has one: otherwise RequestInvalid. Raises what `proof.use`
        raises, and for the password what `hash_new` raises.
        """
        password_hash = await self._passwords.hash_new(new_password, "newPassword")
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            if user.password_hash and not isinstance(proof, PasswordProof):
                raise errors.RequestInvalid("'proof' should have the present password; who has lost it can reset it")
            await proof.use(db, user)
            user.password_hash = password_hash
            db.add(user)
            await self._forget_links(db, user.id)
            await withdraw_changes(db, user.id)
            ended = await self._logins.end_others_within(db, identity)
            await self._notices.record_change(db, user.id, user.id, "password_change")
        await self._logins.publish_ended(ended)

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
            # Locked: a link that is mailed to an address must not be added after the account has got another.
            user = await lock_user_by_email(db, email)
            if user is None or not can_receive_mail(user):
                return
            token, row = make_token(PasswordResetToken, user.id, RESET_LIFETIME)
            db.add(row)
        mail = emails.password_reset(user.email, f"{self._site}/reset-password?token={token}")
        await self._mailer.send(mail, idempotency_key=f"password-reset-{row.id}")

    async def reset(self, token: str, new_password: str) -> None:
        """Set a new password and end every login; raise TokenInvalid, or for the password what `hash_new` raises.

        The link shows that the address is the user's. Where that was not known before, passkeys and identities go too.
        """
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
            await self._forget_links(db, user_id)
            await withdraw_changes(db, user_id)
            ended = await self._claims.claim_within(db, user)
            user.password_hash = password_hash
            db.add(user)
            ended += await self._logins.end_all_within(db, user_id)
            await self._notices.record_change(db, user_id, user_id, "password_reset")
            return ended

    @staticmethod
    async def _forget_links(db: AsyncSession, user_id: uuid.UUID) -> None:
        """Let the account's links that set a password stop working."""
        await db.execute(
            sa.update(PasswordResetToken).where(col(PasswordResetToken.user_id) == user_id).values(used=True)
        )
