"""Deletion of an account: personal data is deleted, calls and orders stay without identity."""

from __future__ import annotations

import logging
import uuid

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from adapters.tokens import Identity
from instants import utc_now
from models import (
    AgeBand,
    Appeal,
    AppealToken,
    Block,
    EmailChange,
    EmailCode,
    Invitation,
    LearnerSkill,
    LessonProgress,
    Notification,
    PairingRecord,
    Profile,
    RefreshToken,
    Report,
    Sanction,
)
from services.calls.invitation_rows import end_between
from services.identity.address_claims import forget_mailed
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_methods import remove_login_methods
from services.identity.logins import LoginsService
from services.identity.profiles import enqueue_avatar_deletion
from services.identity.proofs import Proof
from services.identity.user_rows import lock_user, lock_user_and_profile, lock_user_of
from services.people.appointment_rows import delete_of_user
from services.people.partner_rows import delete_wishes
from services.safety.barred_identifiers import BarredIdentifiers
from services.safety.standings import close_appeal_within

log = logging.getLogger("parlance.accounts")

#: Columns of a profile that keep their values.
_KEPT_COLUMNS = {"user_id", "created_at", "updated_at"}


class AccountDeletionService:
    def __init__(
        self,
        database: Database,
        logins: LoginsService,
        jobs: Jobs,
        storage: Storage,
        barred: BarredIdentifiers,
        grants: IdentityGrantsService,
    ) -> None:
        self._database = database
        self._logins = logins
        self._jobs = jobs
        self._storage = storage
        self._barred = barred
        self._grants = grants

    async def delete(self, identity: Identity, proof: Proof) -> None:
        """Delete the account of a login with its personal data.

        Raises what `proof.use` raises, Unauthenticated where it is deleted already, or Forbidden for staff.
        """
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            await proof.use(db, user)
            ended = await self.delete_within(db, user.id)
        await self._logins.publish_ended(ended)

    async def delete_child(self, user_id: str) -> None:
        """Delete the account of a child (16 CFR 312.10), unless its age was corrected meanwhile or it is gone."""
        async with self._database.transaction() as db:
            user = await lock_user(db, uuid.UUID(user_id))
            if user is None or user.deleted_at is not None or user.age_band is not AgeBand.UNDER_13:
                return
            if user.role.is_staff:
                log.warning("child_account_kept user_id=%s reason=staff", user_id)
                return
            ended = await self.delete_within(db, user.id)
        await self._logins.publish_ended(ended)
        log.info("child_account_deleted user_id=%s", user_id)

    async def delete_within(self, db: AsyncSession, user_id: uuid.UUID) -> list[str]:
        """Delete an account inside the caller's transaction; return its logins, whose end is to be published.

        Raises Unauthenticated where it is deleted already, and Forbidden for staff.
        """
        user, profile = await lock_user_and_profile(db, user_id)
        if user.role.is_staff:
            raise errors.Forbidden("an account of staff cannot be deleted; demote it first")
        ended = await self._logins.end_all_within(db, user_id)
        await self._barred.add_within(db, user)
        await remove_login_methods(db, self._grants, user)
        await _delete_rows(db, user_id)
        await db.execute(sa.delete(EmailCode).where(col(EmailCode.email_canonical) == user.email_canonical))
        await self._jobs.forget(db, email=user.email_canonical, user_id=str(user_id))
        await erase_profile(db, self._jobs, self._storage, profile)
        user.email = user.email_canonical = f"{user.id}@deleted.invalid"
        user.password_hash = ""
        if user.ban_reason is not None:  # the words about a person, not that there is a ban
            user.ban_reason = ""
        user.age_band = user.age_source = user.age_declared_at = None
        user.is_verified, user.deleted_at = False, utc_now()
        db.add(user)
        return ended


async def erase_profile(db: AsyncSession, jobs: Jobs, storage: Storage, profile: Profile) -> None:
    """Reset a profile whose row is locked, and enqueue the deletion of its avatar."""
    await enqueue_avatar_deletion(db, jobs, storage, profile)
    for name in set(Profile.model_fields) - _KEPT_COLUMNS:
        setattr(profile, name, Profile.model_fields[name].get_default(call_default_factory=True))
    db.add(profile)


async def _delete_rows(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Delete the rows about a user that nothing else refers to, and the personal columns of those that stay."""
    # Refresh tokens stay until they expire: they are why access tokens of the account no longer work.
    await db.execute(sa.update(RefreshToken).where(col(RefreshToken.user_id) == user_id).values(device_id="deleted"))
    for table in (AppealToken, LessonProgress, EmailChange, LearnerSkill, PairingRecord):
        await db.execute(sa.delete(table).where(col(table.user_id) == user_id))
    await forget_mailed(db, user_id)
    await db.execute(sa.delete(Notification).where(col(Notification.user_id) == user_id))
    await db.execute(sa.delete(Block).where(sa.or_(col(Block.blocker_id) == user_id, col(Block.blocked_id) == user_id)))
    await delete_wishes(db, user_id)
    await delete_of_user(db, user_id)
    await end_between(db, user_id)
    of_user = sa.or_(col(Invitation.inviter_id) == user_id, col(Invitation.invitee_id) == user_id)
    await db.execute(sa.delete(Invitation).where(of_user))
    # Reports stay, to be reviewed without the words and the traits of their reporter. Locked in the order in which
    # they are locked where they are weighed.
    mine = sa.select(col(Report.id)).where(col(Report.reporter_id) == user_id).order_by(col(Report.id))
    await db.execute(mine.with_for_update())
    await db.execute(
        sa.update(Report)
        .where(col(Report.reporter_id) == user_id)
        .values(description=None, reporter_device=None, reporter_network=None)
    )
    await _erase_sanctions(db, user_id)


async def _erase_sanctions(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Close open appeals, and erase every text about or by the user; the sanctions stay, without identity."""
    mine = sa.select(col(Sanction.id)).where(col(Sanction.user_id) == user_id)
    of_mine = col(Appeal.sanction_id).in_(mine)
    await close_appeal_within(db, of_mine, "The account was deleted.")
    await db.execute(sa.update(Appeal).where(of_mine).values(text=None, decision_reason=None))
    await db.execute(sa.update(Sanction).where(col(Sanction.user_id) == user_id).values(facts=None, lift_reason=None))
