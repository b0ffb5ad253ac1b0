"""Owns profiles: reading, changing, the picture."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import datetime
from importlib import resources
from typing import NamedTuple, TypedDict

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters import images
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from jobs import delete_object
from models import EnglishLevel, LearningGoal, Profile, User
from services.identity.logins import lock_user
from wire import rest

#: Pixels of an avatar's side.
AVATAR_SIDE = 400
#: What an uploaded picture may have; `x-max-bytes` of the contract says the same.
AVATAR_BYTES = 5 * 1024 * 1024
#: Read once: zoneinfo would walk the machine's folders each time, and find names there that are no time zones.
_TIME_ZONES = frozenset((resources.files("tzdata") / "zones").read_text().split())
#: The columns of `Me`, in its order.
_ME = """
    SELECT users.id, email, role, is_verified, username, display_name, avatar_url, bio, native_language,
           english_level, learning_goal, country, timezone, total_practice_mins, total_sessions, streak_days,
           last_session_at, last_active_at, users.created_at
    FROM users JOIN profiles ON user_id = users.id
    WHERE users.id = $1 AND deleted_at IS NULL
"""


class ProfileChanges(TypedDict, total=False):
    """What learners change of their profile, by column name."""

    username: str
    display_name: str | None
    bio: str | None
    native_language: str | None
    english_level: rest.EnglishLevel
    learning_goal: rest.LearningGoal
    country: str | None
    timezone: str | None


class Me(NamedTuple):
    """An account with its profile, as its owner sees it."""

    id: uuid.UUID
    email: str
    role: rest.Role
    is_verified: bool
    username: str | None
    display_name: str | None
    avatar_url: str | None
    bio: str | None
    native_language: str | None
    english_level: rest.EnglishLevel
    learning_goal: rest.LearningGoal
    country: str | None
    timezone: str | None
    total_practice_mins: int
    total_sessions: int
    streak_days: int
    last_session_at: datetime | None
    last_active_at: datetime | None
    created_at: datetime


class ProfilesService:
    def __init__(self, database: Database, storage: Storage, jobs: Jobs) -> None:
        self._database = database
        self._storage = storage
        self._jobs = jobs

    async def me(self, user_id: str) -> Me:
        """Read an account with its profile; raise Unauthenticated where the account is gone.

        The first thing an app asks for, and the most often: hence `fetch_one` and no models.
        """
        row = await self._database.fetch_one(_ME, user_id)
        if row is None:
            raise errors.Unauthenticated()
        return Me._make(row)

    async def public(self, user_id: str) -> Profile:
        """Read what anybody may know of a learner; raise NotFound."""
        statement = (
            select(Profile)
            .join(User, col(User.id) == col(Profile.user_id))
            .where(Profile.user_id == uuid.UUID(user_id), col(User.deleted_at).is_(None))
        )
        async with self._database.transaction() as db:
            profile = (await db.exec(statement)).first()
        if profile is None:
            raise errors.NotFound()
        return profile

    async def update_me(self, user_id: str, changes: ProfileChanges) -> Me:
        """Change the profile fields in `changes` (by column name); raise UsernameTaken or RequestInvalid."""
        columns: dict[str, object] = {**changes}
        if level := changes.get("english_level"):
            columns["english_level"] = EnglishLevel(level)
        if goal := changes.get("learning_goal"):
            columns["learning_goal"] = LearningGoal(goal)
        timezone = changes.get("timezone")
        if timezone is not None and timezone not in _TIME_ZONES:
            raise errors.RequestInvalid("'timezone' is not a time zone of the IANA database")
        try:
            async with self._database.transaction() as db:
                profile = await _hold(db, user_id)
                profile.sqlmodel_update(columns)
                db.add(profile)
        except IntegrityError:
            raise errors.UsernameTaken() from None
        return await self.me(user_id)

    async def set_avatar(self, user_id: str, data: bytes) -> str:
        """Store a picture and answer its URL; raise UnsupportedMediaType, PayloadTooLarge or Unavailable.

        The new one is there before the profile names it, and the old one goes when nothing names it any more.
        """
        if len(data) > AVATAR_BYTES:
            raise errors.PayloadTooLarge(f"the file may have {AVATAR_BYTES} bytes at most")
        picture = await images.square_webp(data, AVATAR_SIDE)
        # Two uploads of one moment are two objects: one's going must not take the other along.
        key = f"avatars/{user_id}/{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}.webp"
        await self._storage.put(key, picture, "image/webp")
        url = self._storage.public_url(key)
        try:
            await self._point_avatar(user_id, url)
        except BaseException:
            await self._storage.delete(key)
            raise
        return url

    async def remove_avatar(self, user_id: str) -> None:
        """Take the picture away; without one there is nothing to do."""
        await self._point_avatar(user_id, None)

    async def _point_avatar(self, user_id: str, url: str | None) -> None:
        async with self._database.transaction() as db:
            profile = await _hold(db, user_id)
            await forget_picture(db, self._jobs, self._storage, profile)
            profile.avatar_url = url
            db.add(profile)


async def forget_picture(db: AsyncSession, jobs: Jobs, storage: Storage, profile: Profile) -> None:
    """Have the picture of a profile deleted once the caller's transaction has committed."""
    key = storage.key_of(profile.avatar_url) if profile.avatar_url else None
    if key is not None:
        await jobs.enqueue(db, delete_object, key=key)


async def _hold(db: AsyncSession, user_id: str) -> Profile:
    """Read for writing: an account that is being deleted meanwhile must not be written to again."""
    user = await lock_user(db, uuid.UUID(user_id))
    profile = await db.get(Profile, uuid.UUID(user_id), with_for_update=True)
    if user is None or profile is None or user.deleted_at is not None:
        raise errors.Unauthenticated()
    return profile
