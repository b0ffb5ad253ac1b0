"""Owns what a person may ask of us about their data: a copy of it, and its erasure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.passwords import Passwords
from adapters.storage import Storage
from models import (
    Block,
    CallSession,
    DeviceToken,
    Dispute,
    EmailVerificationToken,
    Enrollment,
    LessonProgress,
    Notification,
    Order,
    PasswordResetToken,
    Profile,
    RefreshToken,
    Refund,
    Report,
    SessionRating,
    User,
)
from models.columns import now
from services.identity.logins import LoginsService, lock_user
from services.identity.profiles import Me, ProfilesService, forget_picture

#: Fields of a profile that are kept: when it began.
_KEPT = {"user_id", "created_at", "updated_at"}


@dataclass(frozen=True, slots=True)
class DataExport:
    """Everything held about one person."""

    me: Me
    sign_ins: list[RefreshToken]
    sessions: list[CallSession]
    ratings: list[SessionRating]
    reports: list[Report]
    blocks: list[Block]
    orders: list[Order]
    refunds: list[Refund]
    disputes: list[Dispute]
    enrollments: list[Enrollment]
    progress: list[LessonProgress]
    notifications: list[Notification]
    push_devices: list[DeviceToken]


class PrivacyService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sign_ins: LoginsService,
        users: ProfilesService,
        jobs: Jobs,
        storage: Storage,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sign_ins = sign_ins
        self._users = users
        self._jobs = jobs
        self._storage = storage

    async def copy(self, user_id: str) -> DataExport:
        """Gather everything held about a person; raise Unauthenticated where the account is gone."""
        me = uuid.UUID(user_id)
        profile = await self._users.me(user_id)
        async with self._database.transaction() as db:
            await db.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            my_orders = sa.select(col(Order.id)).where(col(Order.user_id) == me)
            took_part = sa.or_(col(CallSession.user_a_id) == me, col(CallSession.user_b_id) == me)
            return DataExport(
                profile,
                list((await db.exec(select(RefreshToken).where(RefreshToken.user_id == me))).all()),
                list((await db.exec(select(CallSession).where(took_part).order_by(col(CallSession.started_at)))).all()),
                list((await db.exec(select(SessionRating).where(SessionRating.rater_id == me))).all()),
                list((await db.exec(select(Report).where(Report.reporter_id == me))).all()),
                list((await db.exec(select(Block).where(Block.blocker_id == me))).all()),
                list((await db.exec(select(Order).where(Order.user_id == me).order_by(col(Order.created_at)))).all()),
                list(
                    (
                        await db.exec(
                            select(Refund).where(col(Refund.order_id).in_(my_orders)).order_by(col(Refund.created_at))
                        )
                    ).all()
                ),
                list(
                    (
                        await db.exec(
                            select(Dispute)
                            .where(col(Dispute.order_id).in_(my_orders))
                            .order_by(col(Dispute.created_at))
                        )
                    ).all()
                ),
                list((await db.exec(select(Enrollment).where(Enrollment.user_id == me))).all()),
                list((await db.exec(select(LessonProgress).where(LessonProgress.user_id == me))).all()),
                list(
                    (
                        await db.exec(
                            select(Notification)
                            .where(Notification.user_id == me)
                            .order_by(col(Notification.created_at).desc(), col(Notification.id).desc())
                        )
                    ).all()
                ),
                list((await db.exec(select(DeviceToken).where(DeviceToken.user_id == me))).all()),
            )

    async def erase(self, user_id: str, password: str) -> None:
        """Delete an account: what names the person goes, calls and orders stay without identity.

        Raises InvalidCredentials for a wrong password, and Forbidden for an administrator.
        """
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            user = await db.get(User, me)
        if user is None or not await self._passwords.matches(password, user.password_hash):
            raise errors.InvalidCredentials("The password is wrong.")
        async with self._database.transaction() as db:
            user, profile = await lock_user(db, me), await db.get(Profile, me, with_for_update=True)
            if user is None or profile is None or user.deleted_at is not None:
                raise errors.Unauthenticated()
            if user.role == "admin":
                raise errors.Forbidden("an administrator is demoted before being deleted")
            ended = await self._sign_ins.end_all_within(db, me)
            await forget_picture(db, self._jobs, self._storage, profile)
            # Rows of sign-ins stay until they expire: they say that access tokens no longer work.
            await db.execute(sa.update(RefreshToken).where(col(RefreshToken.user_id) == me).values(device_id="deleted"))
            for table in (PasswordResetToken, EmailVerificationToken, LessonProgress):
                await db.execute(sa.delete(table).where(col(table.user_id) == me))
            await db.execute(sa.delete(Notification).where(col(Notification.user_id) == me))
            await db.execute(sa.delete(Block).where(sa.or_(col(Block.blocker_id) == me, col(Block.blocked_id) == me)))
            await db.execute(sa.update(Report).where(col(Report.reporter_id) == me).values(description=None))
            await self._jobs.forget(db, email=user.email_canonical, user_id=user_id)
            for name in set(Profile.model_fields) - _KEPT:
                setattr(profile, name, Profile.model_fields[name].get_default(call_default_factory=True))
            user.email = user.email_canonical = f"{user.id}@deleted.invalid"
            user.password_hash = ""
            user.is_verified, user.deleted_at = False, now()
            db.add(profile)
            db.add(user)
        await self._sign_ins.announce(ended)
