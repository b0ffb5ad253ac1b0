"""Screening of uploaded pictures, and the review of those that wait for it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import ImageScreen, Verdict
from adapters.storage import Storage
from jobs import delete_object
from models import Profile
from services.operations.audit import AuditService

log = logging.getLogger("parlance.pictures")

#: A verdict that takes longer is one of a person.
SCREEN_TIMEOUT_SECONDS = 6


class HeldPicture(NamedTuple):
    user_id: uuid.UUID
    url: str
    held_at: datetime


class PicturesService:
    def __init__(
        self, database: Database, audit: AuditService, jobs: Jobs, storage: Storage, screen: ImageScreen | None
    ) -> None:
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage
        self._screen = screen

    async def judge(self, picture: bytes) -> Verdict:
        """Return the verdict about a WebP, outside of transactions: `allow` without a screen, `review` if it fails."""
        if self._screen is None:
            return "allow"
        try:
            async with asyncio.timeout(SCREEN_TIMEOUT_SECONDS):
                return await self._screen.screen(picture)
        except Exception as error:
            # The vendor's failure is not the learner's: the picture is kept, and not shown.
            log.warning("picture_screen_failed error=%s: %s", type(error).__name__, error)
            return "review"

    async def list_held(self, *, limit: int = 1000) -> list[HeldPicture]:
        """List the pictures that wait for review, oldest first."""
        held = col(Profile.avatar_held_at)
        statement = select(Profile).where(held.is_not(None)).order_by(held, col(Profile.user_id)).limit(limit)
        async with self._database.transaction() as db:
            profiles = (await db.exec(statement)).all()
        return [HeldPicture(each.user_id, each.avatar_url or "", each.avatar_held_at) for each in profiles]  # type: ignore[arg-type]

    async def release(self, url: str) -> uuid.UUID:
        """Show a picture that waits for review, and return its owner; raise NotFound where that one no longer waits."""
        return await self._review(url, "picture.allow", {"avatar_held_at": None})

    async def refuse(self, url: str) -> uuid.UUID:
        """Remove a picture that waits for review, and return its owner; raise NotFound as `release` does."""
        return await self._review(url, "picture.refuse", {"avatar_held_at": None, "avatar_url": None})

    async def _review(self, url: str, action: str, values: dict[str, None]) -> uuid.UUID:
        # By its address: a picture that was replaced meanwhile is another one, which nobody has reviewed.
        waits = (col(Profile.avatar_url) == url, col(Profile.avatar_held_at).is_not(None))
        statement = sa.update(Profile).where(*waits).values(**values).returning(col(Profile.user_id))
        async with self._database.transaction() as db:
            user_id: uuid.UUID | None = (await db.execute(statement)).scalar()
            if user_id is None:
                raise errors.NotFound("No picture with this address waits for review.")
            if "avatar_url" in values and (key := self._storage.find_key(url)) is not None:
                await self._jobs.enqueue(db, delete_object, key=key)
            await self._audit.write(db, None, action, user_id)
        return user_id
