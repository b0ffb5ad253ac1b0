"""Owns profiles."""

from __future__ import annotations

import uuid
from datetime import datetime
from importlib import resources
from typing import Any, NamedTuple

from sqlalchemy.exc import IntegrityError

import errors
from adapters.database import Database
from models import EnglishLevel, LearningGoal, Profile

_ENUMS = {"english_level": EnglishLevel, "learning_goal": LearningGoal}
#: Read once: zoneinfo would walk the machine's folders each time, and find names there that are no time zones.
_TIME_ZONES = frozenset((resources.files("tzdata") / "zones").read_text().split())
#: The columns of `Me`, in its order.
_ME = """
    SELECT users.id, email, role, is_verified, username, display_name, avatar_url, bio, native_language,
           english_level, learning_goal, country, timezone, total_practice_mins, total_sessions, streak_days,
           last_session_at, last_active_at, users.created_at
    FROM users JOIN profiles ON user_id = users.id
    WHERE users.id = $1
"""


class Me(NamedTuple):
    """An account with its profile, as its owner sees it."""

    id: uuid.UUID
    email: str
    role: str
    is_verified: bool
    username: str | None
    display_name: str | None
    avatar_url: str | None
    bio: str | None
    native_language: str | None
    english_level: str | None
    learning_goal: str | None
    country: str | None
    timezone: str | None
    total_practice_mins: int
    total_sessions: int
    streak_days: int
    last_session_at: datetime | None
    last_active_at: datetime | None
    created_at: datetime


class UsersService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def me(self, user_id: str) -> Me:
        """Read an account with its profile; raise Unauthenticated where the account is gone.

        The first thing an app asks for, and the most often: hence `fetch_one` and no models.
        """
        row = await self._database.fetch_one(_ME, user_id)
        if row is None:
            raise errors.Unauthenticated()
        return Me._make(row)

    async def update_me(self, user_id: str, changes: dict[str, Any]) -> Me:
        """Change the profile fields in `changes` (by column name); raise UsernameTaken or RequestInvalid."""
        timezone = changes.get("timezone")
        if timezone is not None and timezone not in _TIME_ZONES:
            raise errors.RequestInvalid("'timezone' is not a time zone of the IANA database")
        try:
            async with self._database.transaction() as session:
                profile = await session.get(Profile, uuid.UUID(user_id))
                if profile is None:
                    raise errors.Unauthenticated()
                for name, value in changes.items():
                    setattr(profile, name, _ENUMS[name](value) if name in _ENUMS and value is not None else value)
                session.add(profile)
        except IntegrityError:
            raise errors.UsernameTaken() from None
        return await self.me(user_id)
