"""Owns profiles."""

from __future__ import annotations

import uuid
import zoneinfo
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import EnglishLevel, LearningGoal, Profile, User

_ENUMS = {"english_level": EnglishLevel, "learning_goal": LearningGoal}


class UsersService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def me(self, user_id: str) -> tuple[User, Profile]:
        """Read an account with its profile; raise Unauthenticated where the account is gone."""
        async with self._database.transaction() as session:
            return await _read(session, user_id)

    async def update_me(self, user_id: str, changes: dict[str, Any]) -> tuple[User, Profile]:
        """Change the profile fields in `changes` (by column name); raise UsernameTaken or RequestInvalid."""
        timezone = changes.get("timezone")
        if timezone is not None and timezone not in zoneinfo.available_timezones():
            raise errors.RequestInvalid("'timezone' is not a time zone of the IANA database")
        try:
            async with self._database.transaction() as session:
                user, profile = await _read(session, user_id)
                for name, value in changes.items():
                    setattr(profile, name, _ENUMS[name](value) if name in _ENUMS and value is not None else value)
                session.add(profile)
            return user, profile
        except IntegrityError:
            raise errors.UsernameTaken() from None


async def _read(session: AsyncSession, user_id: str) -> tuple[User, Profile]:
    statement = (
        select(User, Profile).join(Profile, col(Profile.user_id) == col(User.id)).where(User.id == uuid.UUID(user_id))
    )
    found = (await session.exec(statement)).first()
    if found is None:
        raise errors.Unauthenticated()
    return found
