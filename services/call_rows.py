"""Owns that the row of a call says what became of its room, also where PostgreSQL was away or a server died."""

from __future__ import annotations

import logging

from services.rooms import Rooms
from services.sessions import SessionsService

log = logging.getLogger("parlance.calls")


class CallRows:
    """Joining and closing a room notes in `match:due` what is to be written; here it is, and the note is removed."""

    def __init__(self, rooms: Rooms, sessions: SessionsService) -> None:
        self._rooms = rooms
        self._sessions = sessions

    async def begin(self, room_id: str) -> None:
        """Write that both have joined; where that can't be, it is tried again within seconds."""
        try:
            await self._sessions.connect(room_id)
            await self._rooms.done("begin", room_id)
        except Exception as error:
            log.warning("the beginning of a call is written later: %s: %s", type(error).__name__, error)

    async def end(self, room_id: str, by: str) -> None:
        """Write that a call has ended, by a user's id, `timeout` or `error`; where that can't be, it is tried again."""
        try:
            await self._sessions.end(room_id, ended_by=by)
            await self._rooms.done("end", room_id, by)
        except Exception as error:
            log.warning("the end of a call is written later: %s: %s", type(error).__name__, error)
