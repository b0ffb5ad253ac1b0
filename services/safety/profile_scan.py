"""Profiles whose stored texts the filter would refuse today, for review by operators; nothing is changed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

from sqlmodel import col, select

from adapters.database import Database
from models import Profile, Role, User
from services.safety.text_filter import TextFilter

#: Profiles read at a time.
BATCH_SIZE = 1000


class ProfileFinding(NamedTuple):
    """A text of a profile, and the entry of the lists that it has; None for a name like one of the staff's."""

    user_id: uuid.UUID
    field: str
    text: str
    entry: str | None
    language: str | None


class ProfileScan:
    def __init__(self, database: Database, text_filter: TextFilter) -> None:
        self._database = database
        self._text_filter = text_filter

    async def scan(self) -> AsyncIterator[ProfileFinding]:
        """Yield each finding in all profiles, by the ids of accounts; each batch is a transaction of its own."""
        after = uuid.UUID(int=0)
        while True:
            statement = (
                select(Profile, User.role)
                .join(User, col(User.id) == col(Profile.user_id))
                .where(col(Profile.user_id) > after, col(User.deleted_at).is_(None))
                .order_by(col(Profile.user_id))
                .limit(BATCH_SIZE)
            )
            async with self._database.transaction() as db:
                rows = (await db.exec(statement)).all()
            for profile, role in rows:
                for finding in self._examine(profile, Role(role)):
                    yield finding
            if len(rows) < BATCH_SIZE:
                return
            after = rows[-1][0].user_id

    def _examine(self, profile: Profile, role: Role) -> list[ProfileFinding]:
        findings = []
        texts = {
            "username": profile.username,
            "displayName": profile.display_name,
            "bio": profile.bio,
            "nativeLanguage": profile.native_language,
        }
        for field, text in texts.items():
            if text and self._text_filter.find_fault(field, text, is_staff=role is not Role.STUDENT):
                entry = self._text_filter.find_entry(text)
                source, language = (entry.source, entry.language) if entry else (None, None)
                findings.append(ProfileFinding(profile.user_id, field, text, source, language))
        return findings
