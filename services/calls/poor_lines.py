"""Poor lines of calls, of which neither participant has a bad outcome."""

from __future__ import annotations

import time

from services.calls.call_history import CallHistoryService
from services.calls.rooms import Rooms
from services.calls.signaling import SignalingService

#: A connection that is found dead has been so for at most this time: an interval of pings, and the wait for an answer.
DETECTION_SECONDS = 12


class PoorLines:
    def __init__(self, rooms: Rooms, signaling: SignalingService, history: CallHistoryService) -> None:
        self._rooms = rooms
        self._signaling = signaling
        self._history = history

    async def note_restart(self, socket_id: str, room_id: str) -> None:
        """Note that a participant restarts ICE; raise NotInRoom or RoomClosed."""
        self._signaling.check_room(socket_id, room_id)
        await self._rooms.note_trouble(room_id)

    async def note_loss(self, socket_id: str) -> None:
        """Note that a socket has not answered pings: who hung up on it a moment ago did not leave early."""
        participant = self._signaling.find_left_participant(socket_id)
        if participant is not None and time.monotonic() - participant.closed_at < DETECTION_SECONDS:
            await self._history.excuse(participant.room_id)
