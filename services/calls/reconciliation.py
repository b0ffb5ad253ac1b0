"""Reconciliation of calls and searches after a loss of Redis's data, in which every web process takes part.

What Redis lost may be all, or the last seconds: a promoted replica, or an older copy of its data, knows rooms that have
ended and lacks those made since. PostgreSQL has the truth of which calls are open, and each web process that of its
sockets. So each process removes the rooms whose calls have ended and the searches and participants that its sockets no
longer are, and restores those that they are. After a time in which all have done so, what is left without a process is
away, and open calls without a room get one, in which both may join again.

A call that nobody comes back to lasted until its participants were last known to be there. A process knows when Redis
last had all data, unless it has just started; Redis has the last heartbeats of dead processes; the row says when the
call began. All are no later than the truth, so the latest counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from models import EndedBy
from services.bus_messages import get_process_id
from services.calls.call_history import CallHistoryService
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, Resync
from services.calls.room_checks import RoomChecks
from services.calls.room_state import Binding, CallState
from services.calls.rooms import Rooms
from services.calls.signaling import SignalingService

T = TypeVar("T")

log = logging.getLogger("parlance.recovery")

#: Calls asked for in one query, and changes of Redis made at once.
CALL_BATCH_SIZE, CHANGE_BATCH_SIZE = 500, 50


class Reconciliation:
    def __init__(
        self,
        rooms: Rooms,
        history: CallHistoryService,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
        checks: RoomChecks,
        process_id: str,
    ) -> None:
        self._rooms = rooms
        self._history = history
        self._matchmaking = matchmaking
        self._signaling = signaling
        self._checks = checks
        self._process_id = process_id
        self._open_calls: list[CallState] = []

    async def begin(self, last_known: timedelta | None = None) -> AsyncIterator[Outcome]:
        """Reconcile Redis with PostgreSQL and with the sockets of this web process.

        `last_known`: how long ago Redis last had all data; None where it has lost none that this process knows of, or
        where this process has started since.
        """
        self._open_calls = await self._history.list_open_calls()
        await self._correct_rooms(last_known)
        await self._remove_surplus_searches()
        async for found in self._matchmaking.restore_searches():
            yield found
        async for outcome in self._checks.check_rooms():
            if not isinstance(outcome, Resync):  # each socket gets one at the end
                yield outcome
        async for outcome in self._drop_absent(last_known, only_own=True):
            yield outcome

    async def finish(self, last_known: timedelta | None = None) -> AsyncIterator[Outcome]:
        """Reconcile what no web process has restored since `begin`."""
        searches = [entry async for entry in self._rooms.iterate_searches()]
        dead = await self._rooms.list_dead_processes(get_process_id(entry["socket"]) for entry in searches)
        for entry in searches:
            if get_process_id(entry["socket"]) in dead:
                await self._rooms.leave_queue(entry["userId"], entry["socket"])
        bindings = await self._rooms.list_bindings()
        there = Counter(each.room_id for each in bindings if each.socket_id and each.is_call)
        still_open = {call.room_id: call for call in await self._history.list_open_calls()}
        for call in self._open_calls:
            if call.room_id in still_open and there[call.room_id] < len(call.user_ids):
                await self._restore(still_open[call.room_id], last_known)
        self._open_calls = []
        # After the rooms: of a call that Redis had as a match, a participant is away, and the match not over.
        async for outcome in self._drop_absent(last_known, only_own=False):
            yield outcome
        async for outcome in self._checks.check_rooms(is_final=True):
            if not isinstance(outcome, Resync):
                yield outcome

    async def _correct_rooms(self, last_known: timedelta | None) -> None:
        """Remove the rooms of calls that have ended, whose statistics are counted; make matches the calls they are."""
        rooms = {each.room_id: each.is_call for each in await self._rooms.list_bindings()}
        for batch in _batches(rooms, CALL_BATCH_SIZE):
            for call in await self._history.list_calls_of_rooms(batch):
                if call.ended_by is None:
                    if call.call_age is not None and not rooms[call.room_id]:
                        await self._rooms.restore_room(call, last_known=_latest(last_known, call.call_age))
                    continue
                closed = await self._rooms.close(call.room_id, None, by=EndedBy.ERROR)
                if closed is not None:
                    log.warning("ended_room_removed room_id=%s", call.room_id)
                    await self._rooms.remove_end(closed.end)

    async def _remove_surplus_searches(self) -> None:
        """Remove the searches of sockets of this web process that do not search."""
        waiting = {entry["socket"] for entry in self._matchmaking.list_queue_entries()}
        surplus = [
            (entry["userId"], entry["socket"])
            async for entry in self._rooms.iterate_searches()
            if get_process_id(entry["socket"]) == self._process_id and entry["socket"] not in waiting
        ]
        # One that has just begun is not known here yet: the next check of searches puts it back.
        for user_id, socket_id in surplus:
            await self._rooms.leave_queue(user_id, socket_id)

    async def _drop_absent(self, last_known: timedelta | None, *, only_own: bool) -> AsyncIterator[Outcome]:
        """Drop participants whose socket is not with its web process any more, or whose process is dead."""
        bindings = [each for each in await self._rooms.list_bindings() if each.socket_id]
        dead: set[str] = set()
        if not only_own:
            dead = await self._rooms.list_dead_processes(get_process_id(each.socket_id) for each in bindings)
        heartbeats = await self._rooms.read_last_heartbeats(dead)
        # A process and a dot: the grace of its participants is longer.
        absent = [
            each._replace(socket_id=f"{process_id}.") if process_id in dead else each
            for each in bindings
            if (process_id := get_process_id(each.socket_id)) in dead or self._is_absent(each)
        ]
        for batch in _batches(absent, CHANGE_BATCH_SIZE):
            drops = (
                self._signaling.drop(
                    *(each.user_id, each.room_id, each.socket_id),
                    last_known=_latest(last_known, heartbeats.get(get_process_id(each.socket_id))),
                )
                for each in batch
            )
            for outcome in await asyncio.gather(*drops):
                if outcome is not None:
                    yield outcome

    def _is_absent(self, binding: Binding) -> bool:
        """Whether a socket that should be with this web process is not in the room, nor about to join it."""
        if get_process_id(binding.socket_id) != self._process_id:
            return False
        if binding.is_joined:
            return not self._signaling.is_in_room(binding.socket_id, binding.room_id)
        return not self._matchmaking.is_connected(binding.socket_id)

    async def _restore(self, call: CallState, last_known: timedelta | None) -> None:
        """Restore the room of a call, or end the call: a user who searches or is in another room has left it."""
        known = _latest(last_known, call.call_age)
        if await self._rooms.restore_room(call, last_known=known) == "busy":
            await self._history.end(call.room_id, ended_by=EndedBy.ERROR, elapsed=known or timedelta())


def _latest(*elapsed: timedelta | None) -> timedelta | None:
    """Return the shortest of the times that are known."""
    return min((each for each in elapsed if each is not None), default=None)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
