"""Changes of an account's address: a code of the new one confirms it, and the old one can undo it for a time.

Who changes the address knew the password or another proof, so an undone change takes those away too. While a change
can be undone, no other account gets the old address (`refuse_reserved`).
"""

from __future__ import annotations

import base64
import hmac
import logging
import uuid
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import Mailer
from adapters.tokens import Identity
from digests import hash_token
from jobs import send_email_change_mails
from models import EmailChange, EmailCodePurpose, User, email_addresses
from services.identity.address_claims import forget_mailed
from services.identity.email_codes import EmailChallenge, EmailCodesService, withdraw_changes
from services.identity.email_verification import require_deliverable
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_methods import remove_login_methods
from services.identity.logins import LoginsService
from services.identity.proofs import Proof
from services.identity.second_factors import SecondFactorsService
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import is_undoable, lock_user, lock_user_of, refuse_reserved
from services.messaging import emails
from services.safety.barred_identifiers import BarredIdentifiers, Identifier

log = logging.getLogger("parlance.auth")

#: How long the old address can undo a change. Passkeys and identities that were added so long before it go with it.
UNDO_LIFETIME = timedelta(hours=72)


class EmailChangesService:
    def __init__(
        self,
        database: Database,
        codes: EmailCodesService,
        logins: LoginsService,
        grants: IdentityGrantsService,
        second_factors: SecondFactorsService,
        notices: SecurityNoticesService,
        barred: BarredIdentifiers,
        jobs: Jobs,
        mailer: Mailer,
        get_key: Callable[[], bytes],
        site: str,
    ) -> None:
        """`get_key` reads the key from which the links' tokens are derived; `site` is the origin of links in mails."""
        self._database = database
        self._codes = codes
        self._logins = logins
        self._grants = grants
        self._second_factors = second_factors
        self._notices = notices
        self._barred = barred
        self._jobs = jobs
        self._mailer = mailer
        self._get_key = get_key
        self._site = site

    async def request(self, identity: Identity, new_email: str, proof: Proof) -> EmailChallenge:
        """Request a change: a code goes to the new address, and a notice to the present one.

        The answer does not show whether the address has another account: its owner alone may know. Raises what
        `proof.use` raises, RequestInvalid for the present address and one that no mail may be sent to, and
        SecondFactorRequired for staff whose factor was not proven lately.
        """
        address = require_deliverable(new_email, "newEmail")
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            if not proof.proves_second_factor:
                await self._second_factors.require_recent_within(db, user, identity)
            if user.email_canonical == email_addresses.to_canonical(address):
                raise errors.RequestInvalid("'newEmail' is the account's address already")
            await proof.use(db, user)
            await withdraw_changes(db, user.id)  # the newest one alone can be confirmed
            await self._notices.record_change(db, user.id, user.id, "email_change_request")
            return await self._codes.request_within(db, EmailCodePurpose.CHANGE, address, user.id)

    async def confirm(self, identity: Identity, challenge_id: str, code: str) -> None:
        """Change the address to the one that the code was mailed to, which is then verified.

        Raises CodeInvalid; EmailTaken where another account has the address or may get it back; and AccountBanned or
        AccountSuspended for the address of a sanctioned account that was deleted.
        """
        user_id = uuid.UUID(identity.user_id)
        checked = await self._codes.check(challenge_id, code, EmailCodePurpose.CHANGE, user_id=user_id)
        try:
            async with self._database.transaction() as db:
                user = await lock_user_of(db, identity)
                await checked.use(db)
                old, could_undo = (user.email, user.email_canonical), user.is_verified
                _set_address(user, checked.email)
                db.add(user)
                await db.flush()
                await refuse_reserved(db, user.email, user.id)
                await self._barred.refuse_within(db, Identifier("email", user.email))
                is_return = await _end_detour(db, user)
                # An address that was never verified may be of a stranger, who must not get the account by the link.
                change_id = await self._add_change(db, user, *old, can_be_undone=could_undo and not is_return)
                await forget_mailed(db, user.id)
                await self._notices.audit_change(db, user.id, user.id, "email_change")
                await self._jobs.enqueue(db, send_email_change_mails, change_id=str(change_id))
        except IntegrityError:
            raise errors.EmailTaken() from None

    async def send_mails(self, change_id: str) -> None:
        """Mail a change to both addresses; the old one gets the link that undoes it, where it can be undone."""
        token = self._derive_token(uuid.UUID(change_id))
        async with self._database.transaction() as db:
            change = await db.get(EmailChange, uuid.UUID(change_id), with_for_update=True)
            if change is None or change.undone_at is not None:
                return
            # The key may have been replaced since the change.
            change.token_hash = hash_token(token)
            db.add(change)
        link = f"{self._site}/undo-email-change?token={token}" if change.undo_until > change.created_at else None
        for mail, which in (
            (emails.old_address_notice(change.old_email, link, f"{self._site}/"), "old"),
            (emails.new_address_notice(change.new_email, f"{self._site}/"), "new"),
        ):
            await self._mailer.send(mail, idempotency_key=f"email-change-{which}-{change_id}")

    async def undo(self, token: str) -> None:
        """Give an account its earlier address back, end all logins, and remove what another person may know.

        That is the password, and the passkeys and identities that were added within `UNDO_LIFETIME` before the change
        or since. Changes that came later are undone too. Raises TokenInvalid.
        """
        undoable = select(EmailChange).where(EmailChange.token_hash == hash_token(token), is_undoable())
        async with self._database.transaction() as db:
            found = (await db.exec(undoable)).first()
            # The account first, in the order of all changes of it; of two requests the second finds the link used.
            user = await lock_user(db, found.user_id) if found else None
            change = (await db.exec(undoable.execution_options(populate_existing=True))).first()
            if user is None or user.deleted_at is not None or change is None:
                raise errors.TokenInvalid()
            await _mark_undone(db, change)
            _set_address(user, change.old_email)
            user.password_hash = ""
            db.add(user)
            await remove_login_methods(db, self._grants, user, since=change.created_at - UNDO_LIFETIME)
            await forget_mailed(db, user.id)
            ended = await self._logins.end_all_within(db, user.id)
            await self._notices.record_change(db, user.id, user.id, "email_undo")
        log.info("email_change_undone user_id=%s", user.id)
        await self._logins.publish_ended(ended)

    async def _add_change(
        self, db: AsyncSession, user: User, old_email: str, old_canonical: str, *, can_be_undone: bool
    ) -> uuid.UUID:
        change_id = uuid.uuid4()
        # Not `now()`, when this transaction began: another one, which it has waited for, may have begun later.
        at = (await db.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        change = EmailChange(
            id=change_id,
            user_id=user.id,
            old_email=old_email,
            old_canonical=old_canonical,
            new_email=user.email,
            token_hash=hash_token(self._derive_token(change_id)),
            undo_until=at + UNDO_LIFETIME if can_be_undone else at,
            created_at=at,
        )
        db.add(change)
        await db.flush()
        return change_id

    def _derive_token(self, change_id: uuid.UUID) -> str:
        """Derive the token of a change's link: each attempt at its mail has the same one, and no row or job has it."""
        digest = hmac.digest(self._get_key(), str(change_id).encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _set_address(user: User, email: str) -> None:
    """Set an address that its owner has shown to be theirs."""
    user.email, user.email_canonical, user.is_verified = email, email_addresses.to_canonical(email), True


async def _mark_undone(db: AsyncSession, change: EmailChange, *conditions: sa.ColumnElement[bool]) -> None:
    """Mark changes of an account as undone: one and those that came later, as far as `conditions` are met."""
    later = sa.update(EmailChange).where(
        col(EmailChange.user_id) == change.user_id,
        col(EmailChange.created_at) >= change.created_at,
        col(EmailChange.undone_at).is_(None),
        *conditions,
    )
    await db.execute(later.values(undone_at=sa.func.now()))


async def _end_detour(db: AsyncSession, user: User) -> bool:
    """Return whether an account gets an address back that could undo its loss; mark what came after as undone.

    If the addresses in between could still undo something, a thief's would get the account again, and later than the
    owner's link works. That link stays: it also removes what the thief may have added.
    """
    left = select(EmailChange).where(
        EmailChange.user_id == user.id, EmailChange.old_canonical == user.email_canonical, is_undoable()
    )
    earliest = (await db.exec(left.order_by(col(EmailChange.created_at)).limit(1))).first()
    if earliest is None:
        return False
    await _mark_undone(db, earliest, col(EmailChange.id) != earliest.id)
    return True
