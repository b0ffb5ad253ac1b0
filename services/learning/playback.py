"""Playback of videos: links that expire, and playlists with signed segment URLs.

Storage serves single objects, so a playlist that names its children is served from here, with each URL signed.
Whether the learner may still watch is looked up for every playlist; a segment's URL works until it expires.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.storage import Storage
from adapters.tokens import AccessTokens, Identity
from instants import utc_now
from models import Lesson, RefreshToken, Role, User
from services.learning.lessons import read_accessible_lesson

MASTER_PLAYLIST = "master.m3u8"


class PlaybackLink(NamedTuple):
    """URL that plays a lesson's video, and until when it serves playlists."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Playable:
    folder: str
    expires: timedelta


class PlaybackService:
    def __init__(
        self, database: Database, storage: Storage, tokens: AccessTokens, *, app_url: str, margin: timedelta
    ) -> None:
        """`margin` is how long links work beyond the length of the video, for pauses."""
        self._database = database
        self._storage = storage
        self._tokens = tokens
        self._app_url = app_url
        self._margin = margin

    async def create_link(self, identity: Identity, lesson_id: str, *, as_admin: bool) -> PlaybackLink:
        """Create a link to play a lesson; raise NotFound, NotEnrolled, VideoNotReady."""
        playable = await self._read_playable(identity.user_id, lesson_id, admin=as_admin)
        token = self._tokens.issue_playback(identity, lesson_id, playable.expires)
        url = f"{self._app_url}/lessons/{lesson_id}/playback/{MASTER_PLAYLIST}?token={quote(token)}"
        return PlaybackLink(url, utc_now() + playable.expires)

    async def read_playlist(self, lesson_id: str, name: str, token: str) -> str:
        """Read a playlist with every URL in it signed.

        Raises Unauthenticated where the token does not open this lesson, or its login has ended, as with a ban;
        NotEnrolled where the enrollment has; NotFound, VideoNotReady.
        """
        user_id, family_id = self._tokens.verify_playback(token, lesson_id)
        role = await self._read_role(user_id, family_id)
        playable = await self._read_playable(user_id, lesson_id, admin=role is Role.ADMIN)
        text = (await self._storage.get(playable.folder + name)).decode()
        if name == MASTER_PLAYLIST:
            return _rewrite_addresses(text, lambda child: f"{child}?token={quote(token)}")
        # A thousand signatures take the time of a few requests.
        return await asyncio.to_thread(
            _rewrite_addresses, text, lambda child: self._storage.signed_url(playable.folder + child, playable.expires)
        )

    async def _read_role(self, user_id: str, family_id: str) -> Role:
        """Read the current role of an account whose login, for which the link was made, has not ended."""
        # From the database: a link may outlive the cache of ended logins.
        lasts = sa.exists().where(col(RefreshToken.family_id) == uuid.UUID(family_id), ~col(RefreshToken.revoked))
        statement = select(User.role).where(
            User.id == uuid.UUID(user_id), ~col(User.is_banned), col(User.deleted_at).is_(None), lasts
        )
        async with self._database.transaction() as db:
            role = (await db.exec(statement)).first()
        if role is None:
            raise errors.Unauthenticated()
        return Role(role)

    async def _read_playable(self, user_id: str, lesson_id: str, *, admin: bool) -> _Playable:
        async with self._database.transaction() as db:
            lesson: Lesson = await read_accessible_lesson(db, user_id, lesson_id, drafts=admin)
        if lesson.video_url is None:
            raise errors.VideoNotReady()
        return _Playable(
            lesson.video_url.removesuffix(MASTER_PLAYLIST), self._margin + timedelta(seconds=lesson.duration_secs or 0)
        )


def _rewrite_addresses(text: str, address: Callable[[str], str]) -> str:
    """Replace the names that a playlist has on lines of their own (RFC 8216, 4.1) by URLs."""
    lines = text.splitlines()
    return "\n".join(address(line) if line and not line.startswith("#") else line for line in lines) + "\n"
