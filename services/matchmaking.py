"""Owns finding a partner."""

from __future__ import annotations

import math
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import col

import errors
from adapters.database import Database
from models import Block, Profile, Report, User
from services.rooms import SEARCH_SECONDS, Rooms, Waiting
from services.sessions import SessionsService

#: Seconds told to the first searcher of a quiet hour, when there is no rate to go by.
UNKNOWN_WAIT = 60
#: What the row of a call holds of its topic.
TOPIC_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Partner:
    """One side of a match as the other sees it, and the socket that searched."""

    user_id: str
    display_name: str
    avatar_url: str | None
    level: str
    socket: str


@dataclass(frozen=True, slots=True)
class Match:
    """Two learners and their room. `waiting` waited, `seeker` came."""

    room_id: str
    session_id: str
    level: str
    topic: str | None
    waiting: Partner
    seeker: Partner


@dataclass(frozen=True, slots=True)
class Searching:
    estimated_wait_seconds: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A match that one side turned down before both had joined."""

    partner_socket: str


class MatchmakingService:
    def __init__(self, database: Database, rooms: Rooms, sessions: SessionsService) -> None:
        self._database = database
        self._rooms = rooms
        self._sessions = sessions

    async def find_partner(self, user_id: str, socket: str, *, level: str, topic: str | None) -> Searching | Match:
        """Pair the user, or let them wait.

        Raises Banned, ProfileIncomplete, AlreadySearching, AlreadyInRoom.
        """
        seeker, avoid = await self._partner(user_id, socket)
        ticket = {
            "userId": user_id,
            "socket": socket,
            "level": level,
            # Folding case can make a text longer than it was.
            "topic": " ".join((topic or "").split()).casefold()[:TOPIC_LENGTH],
            "since": int(time.time() * 1000),
            "card": {"displayName": seeker.display_name, "avatarUrl": seeker.avatar_url, "level": seeker.level},
        }
        while True:
            room_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
            outcome = await self._rooms.find(ticket, room_id, session_id, avoid)
            if isinstance(outcome, Waiting):
                return Searching(_estimate(outcome))
            held = outcome.partner
            card = held["card"]
            waiting = Partner(held["userId"], card["displayName"], card["avatarUrl"], card["level"], held["socket"])
            try:
                await self._sessions.start(session_id, room_id, waiting.user_id, user_id, outcome.topic, outcome.level)
            except BaseException:
                # No row, no call: the one who waited goes back to where they stood, unless they have gone away.
                with suppress(errors.NotInRoom):
                    await self._rooms.close(room_id, user_id)
                    await self._rooms.put_back(held)
                raise
            if await self._rooms.room_of(user_id) == room_id:
                return Match(room_id, session_id, outcome.level, outcome.topic, waiting, seeker)
            # The one who waited went away before there was a row to end.
            await self._sessions.end(room_id, ended_by=waiting.user_id)

    async def cancel_search(self, user_id: str) -> Refused | None:
        """Stop searching, or refuse a match that has not become a call; raise NotSearching."""
        if await self._rooms.leave_queue(user_id):
            return None
        room_id = await self._rooms.room_of(user_id)
        if room_id is None:
            raise errors.NotSearching()
        try:
            closed = await self._rooms.close(room_id, user_id, only_unjoined=True)
        except errors.NotInRoom:
            raise errors.NotSearching() from None
        await self._sessions.end(room_id, ended_by=user_id)
        return Refused(closed.peer_socket)

    async def _partner(self, user_id: str, socket: str) -> tuple[Partner, list[str]]:
        """Read who searches, and whom they must not meet: blocks and reports count both ways."""
        me = uuid.UUID(user_id)
        async with self._database.transaction() as session:
            statement = (
                sa.select(
                    col(User.is_banned),
                    col(Profile.username),
                    col(Profile.display_name),
                    col(Profile.avatar_url),
                    col(Profile.english_level),
                )
                .join(Profile, col(Profile.user_id) == col(User.id))
                .where(col(User.id) == me)
            )
            found = (await session.execute(statement)).first()
            avoid = sa.union(
                sa.select(col(Block.blocked_id)).where(col(Block.blocker_id) == me),
                sa.select(col(Block.blocker_id)).where(col(Block.blocked_id) == me),
                sa.select(col(Report.reported_id)).where(col(Report.reporter_id) == me),
                sa.select(col(Report.reporter_id)).where(col(Report.reported_id) == me),
            )
            avoided = [str(other) for other in (await session.execute(avoid)).scalars()]
        if found is None:
            raise errors.Banned("This account is gone.")
        is_banned, username, display_name, avatar_url, english_level = found
        if is_banned:
            raise errors.Banned()
        if username is None or english_level is None:
            raise errors.ProfileIncomplete()
        return Partner(user_id, display_name or username, avatar_url, english_level.value, socket), avoided


def _estimate(waiting: Waiting) -> int:
    """Seconds until as many matches as there are people ahead, at the rate of the last 5 minutes."""
    if waiting.recent_matches == 0:
        return UNKNOWN_WAIT
    return min(SEARCH_SECONDS, max(1, math.ceil((waiting.ahead + 1) * 300 / waiting.recent_matches)))
