"""Rows of calls kept in step with their rooms, also where PostgreSQL was away or a server died.

The times are PostgreSQL's, and what has passed since is counted by Redis: their clocks may differ.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from services.calls.call_history import CallHistoryService
from services.calls.room_state import CallEnd
from services.calls.rooms import Rooms

log = logging.getLogger("parlance.calls")


class CallRecords:
    """Writer of what joining and closing a room left in `match:due`; the entry is removed once it is written."""

    def __init__(self, rooms: Rooms, history: CallHistoryService) -> None:
        self._rooms = rooms
        self._history = history

    async def record_connected(self, room_id: str, at_ms: str, *, is_late: bool = False) -> None:
        """Record that both have joined, by Redis's clock; where that fails, it is tried again within seconds."""
        try:
            elapsed = await self._rooms.elapsed_since(at_ms) if is_late else timedelta()
            await self._history.connect(room_id, elapsed=elapsed)
            await self._rooms.remove_deadline("begin", room_id, at_ms)
        except Exception as error:
            log.warning("call_connect_deferred room_id=%s error=%r", room_id, error)

    async def record_end(self, end: CallEnd, *, is_late: bool = False) -> None:
        """Record that a call has ended, and that it had begun where that is missing; retried as `record_connected`."""
        try:
            elapsed = await self._rooms.elapsed_since(end.at_ms) if is_late else timedelta()
            duration = timedelta(milliseconds=int(end.lasted_ms)) if end.lasted_ms != "-1" else None
            await self._history.end(end.room_id, ended_by=end.by, duration=duration, elapsed=elapsed)
            await self._rooms.remove_deadline("end", *end)
        except Exception as error:
            log.warning("call_end_deferred room_id=%s error=%r", end.room_id, error)
