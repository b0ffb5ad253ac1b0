"""Goodbyes of clients before the join of a match: who does not come back has not joined.

A connection that breaks or falls silent says nothing about the learner; a goodbye is an app that was closed. A page
that is loaded again says goodbye too, so nothing is counted before the time to join is over.
"""

from __future__ import annotations

from datetime import timedelta

from adapters.database import Database
from models import MatchOutcome
from services.calls import match_outcomes
from services.calls.call_history import CallHistoryService
from services.calls.rooms import Rooms
from services.calls.user_sockets import UserSocketsService

#: A deadline that is handled later than this is a sign of an outage, in which nobody could come back.
_LATE = timedelta(seconds=4)


class Goodbyes:
    def __init__(
        self, rooms: Rooms, database: Database, history: CallHistoryService, sockets: UserSocketsService
    ) -> None:
        self._rooms = rooms
        self._database = database
        self._history = history
        self._sockets = sockets

    async def note(self, user_id: str, socket_id: str) -> None:
        """Note that a client has closed its socket; before the end of the match that this leads to."""
        await self._rooms.note_goodbye(user_id, socket_id)

    async def weigh(self, room_id: str, user_id: str, due_ms: str) -> None:
        """Count a match as not joined, whose time to join is over, unless the learner has a socket again.

        A socket of another device counts as well: the client there could have joined.
        """
        if await self._rooms.elapsed_since(due_ms) > _LATE or await self._sockets.list_socket_ids(user_id):
            return
        async with self._database.transaction() as db:
            is_counted, consequence = await match_outcomes.count_absence(db, room_id, user_id)
        if is_counted:
            self._history.outcomes[MatchOutcome.NOT_JOINED] += 1
        if consequence is not None:
            self._history.consequences[consequence] += 1
