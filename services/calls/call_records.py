"""Owns that the row of a call says what became of its room, also where PostgreSQL was away or a server died.

The times are PostgreSQL's, and what has passed since is counted by Redis: their clocks may differ.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from services.calls.call_history import CallHistoryService
from services.calls.rooms import Ended, Rooms

log = logging.getLogger("parlance.calls")


class CallRecords:
    """Joining and closing a room notes in `match:due` what is to be written; here it is, and the note is removed."""

    def __init__(self, rooms: Rooms, sessions: CallHistoryService) -> None:
        self._rooms = rooms
        self._sessions = sessions

    async def begin(self, room_id: str, at_ms: str, *, is_late: bool = False) -> None:
        """Write that both have joined, by Redis's clock; where that can't be, it is tried again within seconds."""
        try:
            ago = await self._rooms.ago(at_ms) if is_late else timedelta()
            await self._sessions.connect(room_id, ago=ago)
            await self._rooms.done("begin", room_id, at_ms)
        except Exception as error:
            log.warning("the beginning of a call is written later: %s: %s", type(error).__name__, error)

    async def end(self, ended: Ended, *, is_late: bool = False) -> None:
        """Write that a call has ended, and that it had begun, where that was not; tried again as `begin` is."""
        try:
            ago = await self._rooms.ago(ended.at_ms) if is_late else timedelta()
            lasted = timedelta(milliseconds=int(ended.lasted_ms)) if ended.lasted_ms != "-1" else None
            await self._sessions.end(ended.room_id, ended_by=ended.by, lasted=lasted, ago=ago)
            await self._rooms.done("end", *ended)
        except Exception as error:
            log.warning("the end of a call is written later: %s: %s", type(error).__name__, error)
