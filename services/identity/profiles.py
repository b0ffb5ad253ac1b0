"""Profiles: read, changed, and their avatars."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from datetime import datetime
from typing import NamedTuple, TypedDict, cast

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
import time_zones
from adapters import images
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from instants import utc_now
from jobs import delete_object
from models import AgeBand, EnglishLevel, LearningGoal, Profile, Role, User
from services.identity.user_rows import lock_user_and_profile
from services.messaging import notification_templates, notifications
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar
from services.safety.pictures import PicturesService
from services.safety.text_filter import TextFilter
from wire import rest

#: Pixels of an avatar's side.
AVATAR_SIDE = 400
#: Bytes of an uploaded picture; equal to `x-max-bytes` of the contract.
AVATAR_MAX_BYTES = 5 * 1024 * 1024
#: What others read of a profile and its owner writes freely; to clear it is always allowed.
_TEXTS = ("username", "display_name", "bio")
#: A language with its script and region (BCP 47); what else a tag may have is of the learner's making, as a text is.
_PLAIN_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?")
#: The columns of `Me`, in its order.
_OWN_PROFILE_QUERY = """
    SELECT users.id, email, role, is_verified, username, display_name, avatar_url, bio, native_language,
           english_level, learning_goal, country, timezone, shares_presence, total_practice_mins,
           total_sessions, streak_days, last_session_at, last_active_at, users.created_at, age_band, accepted_versions
    FROM users JOIN profiles ON user_id = users.id
    WHERE users.id = $1 AND deleted_at IS NULL
"""


class ProfileChanges(TypedDict, total=False):
    """What learners change of their profile, by column name."""

    username: str
    display_name: str | None
    bio: str | None
    native_language: str | None
    english_level: rest.Level | None
    learning_goal: rest.LearningGoal | None
    country: str | None
    timezone: str | None
    shares_presence: bool


class Avatar(NamedTuple):
    """A new picture, and whether it waits for review."""

    url: str
    is_held: bool


class Me(NamedTuple):
    """An account with its profile, for its owner."""

    id: uuid.UUID
    email: str
    role: rest.Role
    is_verified: bool
    username: str | None
    display_name: str | None
    avatar_url: str | None
    bio: str | None
    native_language: str | None
    english_level: rest.Level | None
    learning_goal: rest.LearningGoal | None
    country: str | None
    timezone: str | None
    shares_presence: bool
    total_practice_mins: int
    total_sessions: int
    streak_days: int
    last_session_at: datetime | None
    last_active_at: datetime | None
    created_at: datetime
    age_band: AgeBand | None
    #: Codes of what the account lacks for `find_partner`, in the order in which a client asks for it.
    missing: list[rest.MissingStep]


class ProfilesService:
    def __init__(
        self,
        database: Database,
        storage: Storage,
        jobs: Jobs,
        gates: Gates,
        text_filter: TextFilter,
        pictures: PicturesService,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    ) -> None:
        self._text_filter = text_filter
        self._pictures = pictures
        self._picture_hide_weight = picture_hide_weight
        self._database = database
        self._gates = gates
        self._storage = storage
        self._jobs = jobs

    async def read_own(self, user_id: str) -> Me:
        """Read an account with its profile; raise Unauthenticated where the account is gone.

        The most frequent request of an app: hence `fetch_one`, without models.
        """
        row = await self._database.fetch_one(_OWN_PROFILE_QUERY, user_id)
        if row is None:
            raise errors.Unauthenticated()
        *values, age_band, accepted_versions = row
        me = Me._make((*values, AgeBand(age_band) if age_band else None, []))
        refusals = self._gates.list_refusals(Standing(me.is_verified, me.age_band, accepted_versions))
        me.missing.extend(cast("rest.MissingStep", refusal.code) for refusal in refusals)
        if me.username is None or me.english_level is None:
            me.missing.append("profile_incomplete")
        return me

    async def read_public(self, user_id: str) -> Profile:
        """Read the public part of a profile, its picture as others see it; raise NotFound."""
        statement = (
            select(Profile, shown_avatar(self._picture_hide_weight))
            .join(User, col(User.id) == col(Profile.user_id))
            .where(Profile.user_id == uuid.UUID(user_id), col(User.deleted_at).is_(None))
        )
        async with self._database.transaction() as db:
            found = (await db.exec(statement)).first()
        if found is None:
            raise errors.NotFound()
        profile, avatar_url = found
        # For the reader alone: the row is detached, and its owner keeps the picture.
        profile.avatar_url = avatar_url
        return profile

    async def update_me(self, user_id: str, changes: ProfileChanges) -> Me:
        """Change the profile fields in `changes` (by column name).

        Raises UsernameTaken, TextRefused, RequestInvalid, or a GateClosed for texts that others read.
        """
        columns: dict[str, object] = {**changes}
        if level := changes.get("english_level"):
            columns["english_level"] = EnglishLevel(level)
        if goal := changes.get("learning_goal"):
            columns["learning_goal"] = LearningGoal(goal)
        timezone = changes.get("timezone")
        if timezone is not None and timezone not in time_zones.NAMES:
            raise errors.RequestInvalid("'timezone' is not an IANA time zone; send a name such as Europe/Berlin")
        try:
            async with self._database.transaction() as db:
                user, profile = await lock_user_and_profile(db, uuid.UUID(user_id))
                language = changes.get("native_language")
                is_text = language is not None and not _PLAIN_LANGUAGE.fullmatch(language)
                if is_text or any(columns.get(name) is not None for name in _TEXTS):
                    self._gates.require_all(Standing.of_user(user))
                self._check_texts(user, profile, changes)
                profile.sqlmodel_update(columns)
                db.add(profile)
        except IntegrityError:
            raise errors.UsernameTaken() from None
        return await self.read_own(user_id)

    def _check_texts(self, user: User, profile: Profile, changes: ProfileChanges) -> None:
        """Raise TextRefused for a changed text that is not allowed; a stored one may be sent again."""
        texts = {
            "username": (profile.username, changes.get("username")),
            "displayName": (profile.display_name, changes.get("display_name")),
            "bio": (profile.bio, changes.get("bio")),
            "nativeLanguage": (profile.native_language, changes.get("native_language")),
        }
        for field, (stored, changed) in texts.items():
            if changed != stored:
                self._text_filter.check(field, changed, is_staff=user.role is not Role.STUDENT)

    async def set_avatar(self, user_id: str, data: bytes) -> Avatar:
        """Store a picture.

        Raises UnsupportedMediaType, PayloadTooLarge, PictureRefused, Unavailable or a GateClosed.

        The new object exists before the profile refers to it; the old one is deleted once nothing refers to it.
        """
        if len(data) > AVATAR_MAX_BYTES:
            raise errors.PayloadTooLarge(f"the file is too large; send at most {AVATAR_MAX_BYTES} bytes")
        picture = await images.square_webp(data, AVATAR_SIDE)
        verdict = await self._pictures.judge(picture)
        if verdict == "refuse":
            raise errors.PictureRefused()
        # Two uploads in one millisecond are two objects: deleting one must not delete the other.
        key = f"avatars/{user_id}/{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}.webp"
        url = self._storage.public_url(key)
        async with self._storage.put_or_undo(key, picture, "image/webp"):
            await self._set_avatar_url(user_id, url, is_held=verdict == "review")
        return Avatar(url, verdict == "review")

    async def remove_avatar(self, user_id: str) -> None:
        """Remove the avatar, where there is one."""
        await self._set_avatar_url(user_id, None)

    async def _set_avatar_url(self, user_id: str, url: str | None, *, is_held: bool = False) -> None:
        async with self._database.transaction() as db:
            user, profile = await lock_user_and_profile(db, uuid.UUID(user_id))
            if url is not None:
                self._gates.require_all(Standing.of_user(user))
            await enqueue_avatar_deletion(db, self._jobs, self._storage, profile)
            profile.avatar_url = url
            profile.avatar_held_at = utc_now() if is_held else None
            db.add(profile)
            if url is not None and is_held:
                await notifications.notify_staff(db, notification_templates.picture_held(profile.user_id, url))


async def enqueue_avatar_deletion(db: AsyncSession, jobs: Jobs, storage: Storage, profile: Profile) -> None:
    """Enqueue the deletion of a profile's avatar inside the caller's transaction."""
    key = storage.find_key(profile.avatar_url) if profile.avatar_url else None
    if key is not None:
        await jobs.enqueue(db, delete_object, key=key)
