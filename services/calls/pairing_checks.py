"""Checks of searches and calls after a change of what a learner may do: age band, consents.

The job that calls `check_user` is enqueued in the transaction of the change, so an outage of Redis delays it and a
process that dies does not lose it. A match that is made meanwhile is refused where its row is written.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from adapters.ports import Bus
from adapters.tasks import BackgroundTasks
from models import EndedBy
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, PeerLeft
from services.calls.room_messages import MATCH_REFUSED, PAIR_ENDED, SEARCH_CHECK, close_participants
from services.calls.room_state import QueueEntry
from services.calls.rooms import Rooms

log = logging.getLogger("parlance.pairing")

OutcomeListener = Callable[[Outcome], Awaitable[None]]


class PairingChecks:
    """`check_user` runs in a job worker; the messages that it sends are handled by the web process of each socket."""

    def __init__(
        self,
        bus: Bus,
        rooms: Rooms,
        records: CallRecords,
        history: CallHistoryService,
        matchmaking: MatchmakingService,
    ) -> None:
        self._bus = bus
        self._rooms = rooms
        self._records = records
        self._history = history
        self._matchmaking = matchmaking
        self._listeners: list[OutcomeListener] = []
        self._tasks = BackgroundTasks()
        SEARCH_CHECK.on(bus, self._handle_search_check)
        PAIR_ENDED.on(bus, self._handle_pair_ended)
        MATCH_REFUSED.on(bus, self._handle_match_refused)

    def on_outcome(self, listener: OutcomeListener) -> None:
        """Call `listener` with each outcome for a socket of this web process."""
        self._listeners.append(listener)

    async def check_user(self, user_id: str) -> None:
        """End a user's call whose two learners may not meet, and have their search checked; raise Unavailable."""
        for room_id in await self._history.list_forbidden_rooms(user_id):
            await self._end_room(room_id)
        socket_id = await self._rooms.read_search_socket(user_id)
        if socket_id is not None:
            await SEARCH_CHECK.send(self._bus, socket_id)

    async def _end_room(self, room_id: str) -> None:
        closed = await self._rooms.close(room_id, None, by=EndedBy.ERROR)
        if closed is None:
            # Redis has lost it, or another one is closing it: without an open row it is not restored.
            await self._history.end(room_id, ended_by=EndedBy.ERROR)
            return
        log.info("pair_ended room_id=%s", room_id)
        await close_participants(self._bus, closed)
        await self._records.record_end(closed.end, is_late=closed.is_backdated)
        # A learner whose find has not been answered yet searches on by themselves.
        for participant in closed.participants if closed.announced else closed.participants[:1]:
            entry = participant.queue_entry
            socket_id = participant.socket_id or (entry["socket"] if entry else "")
            if not socket_id:
                continue
            if closed.was_call:
                await PAIR_ENDED.send_if_there(self._bus, socket_id)
            else:
                await MATCH_REFUSED.send_if_there(self._bus, socket_id, entry)

    # --- Messages of job workers and other web processes ----------------------------------------------

    async def _handle_search_check(self, socket_id: str) -> None:
        # In a task: neither the sender nor the next message should wait for PostgreSQL.
        self._tasks.start(self._check_search(socket_id))

    async def _check_search(self, socket_id: str) -> None:
        try:
            outcome = await self._matchmaking.check_search(socket_id)
        except Exception as error:  # an outage of Redis; `RoomChecks` finds the search that is missing there
            log.warning("search_not_checked socket_id=%s error=%r", socket_id, error)
            return
        if outcome is not None:
            await self._notify_listeners(outcome)

    async def _handle_pair_ended(self, socket_id: str) -> None:
        await self._notify_listeners(PeerLeft(socket_id, "ended"))

    async def _handle_match_refused(self, socket_id: str, entry: QueueEntry | None) -> None:
        # In a task, as a search check.
        self._tasks.start(self._resume_search(socket_id, entry))

    async def _resume_search(self, socket_id: str, entry: QueueEntry | None) -> None:
        """Let a learner whose match was refused search on, as the partner of a learner who leaves a match does."""
        if self._matchmaking.is_connected(socket_id):
            await self._notify_listeners(await self._matchmaking.resume_search(socket_id, entry))

    async def _notify_listeners(self, outcome: Outcome) -> None:
        for listener in self._listeners:
            await listener(outcome)
