"""Rows of calls, written from their rooms, also after an outage of PostgreSQL or the death of a web process.

Times are PostgreSQL's, durations Redis's, because their clocks may differ.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from services.calls.call_history import CallHistoryService
from services.calls.room_state import CallEnd
from services.calls.rooms import Rooms

log = logging.getLogger("parlance.calls")


class CallRecords:
    """Writer of the starts and ends of calls in `{match}:due`; an entry is removed once its row is written."""

    def __init__(self, rooms: Rooms, history: CallHistoryService) -> None:
        self._rooms = rooms
        self._history = history

    async def record_connected(self, room_id: str, at_ms: str, *, is_late: bool = False) -> None:
        """Record that both have joined, at a time of Redis's clock.

        A failure is logged; the entry of `{match}:due` stays, and `services/calls/recovery.py` repeats it (`is_late`).
        """
        try:
            elapsed = await self._rooms.elapsed_since(at_ms) if is_late else timedelta()
            await self._history.connect(room_id, elapsed=elapsed)
            await self._rooms.remove_deadline("begin", room_id, at_ms)
        except Exception as error:
            log.warning("call_connect_deferred room_id=%s error=%r", room_id, error)

    async def record_end(self, end: CallEnd, *, is_late: bool = False) -> None:
        """Record the end of a call, and its start if that is missing; a failure as in `record_connected`."""
        try:
            elapsed = await self._rooms.elapsed_since(end.at_ms) if is_late else timedelta()
            duration = timedelta(milliseconds=int(end.lasted_ms)) if end.lasted_ms != "-1" else None
            outcomes = end.outcomes or await self._rooms.read_outcomes(end.room_id)
            await self._history.end(end.room_id, ended_by=end.by, duration=duration, elapsed=elapsed, outcomes=outcomes)
            await self._rooms.remove_end(end)
        except Exception as error:
            log.warning("call_end_deferred room_id=%s error=%r", end.room_id, error)
