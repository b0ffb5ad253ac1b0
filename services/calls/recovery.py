"""Owns what happens to searches and calls without anybody asking: deadlines, dead workers, a Redis that forgot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from models import CallSession, EndedBy
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import Match, MatchmakingService, PartnerCancelled, SearchExpired
from services.calls.rooms import ROOM_SECONDS, Ended, Rooms
from services.calls.signaling import PeerLeft, SignalingService

log = logging.getLogger("parlance.recovery")

#: What a socket is to hear of it.
Outcome = SearchExpired | Match | PartnerCancelled | PeerLeft
#: How many members of a dead worker's rooms are looked after at once, and how many due things are done at once.
_MEMBERS_AT_ONCE, _DUE_AT_ONCE = 50, 8


class RecoveryService:
    def __init__(
        self,
        rooms: Rooms,
        rows: CallRecords,
        sessions: CallHistoryService,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
        *,
        others_come_first: float = 3.0,
    ) -> None:
        """`others_come_first`: seconds for every worker to seat its own sockets, before rooms nobody is in are made."""
        self._rooms = rooms
        self._rows = rows
        self._sessions = sessions
        self._matchmaking = matchmaking
        self._signaling = signaling
        self._others_come_first = others_come_first
        self._at_once = asyncio.Semaphore(_DUE_AT_ONCE)

    async def due(self) -> AsyncIterator[Outcome]:
        """Do what is due; every worker asks, and each thing is one worker's to do."""
        due = await self._rooms.take_due()
        # As they happen: one who searches on may be met by the next, and is to hear of it in that order.
        for done in asyncio.as_completed([self._do(entry) for entry in due]):
            for outcome in await done:
                yield outcome

    async def _do(self, entry: list[str]) -> list[Outcome]:
        try:
            async with self._at_once:
                return await self._outcomes(entry)
        except Exception as error:  # it comes again
            log.warning("'%s' could not be done: %s: %s", ":".join(entry), type(error).__name__, error)
            return []

    async def _outcomes(self, entry: list[str]) -> list[Outcome]:
        match entry:
            case ["search", user_id]:
                expired = await self._matchmaking.expire_search(user_id)
                return [expired] if expired else []
            case ["join", room_id]:
                cancelled = await self._matchmaking.expire_match(room_id)
                await self._rooms.done(*entry)
                return [*cancelled]
            case ["grace", room_id, user_id]:
                left = await self._signaling.expire_grace(room_id, user_id)
                return [left] if left else []
            case ["room", room_id]:
                both = await self._signaling.expire_room(room_id)
                await self._rooms.done(*entry)
                return [*both]
            case ["begin", room_id, at]:
                await self._rows.begin(room_id, at, is_late=True)
            case ["end", room_id, by, lasted, at]:
                await self._rows.end(Ended(room_id, by, lasted, at), is_late=True)
            case _:
                await self._rooms.done(*entry)
        return []

    async def worker_lost(self, worker_id: str) -> AsyncIterator[Outcome]:
        """Look after those whose sockets died with a worker: calls wait for them, matches and searches are over."""
        gone = f"{worker_id}."
        batch: list[tuple[str, str]] = []
        async for member in self._rooms.members():
            batch.append(member)
            if len(batch) == _MEMBERS_AT_ONCE:
                async for outcome in self._drop(batch, gone):
                    yield outcome
                batch = []
        async for outcome in self._drop(batch, gone):
            yield outcome
        # After the rooms: one whose match has just ended searches on, and their socket may be gone too.
        async for ticket in self._rooms.searches():
            if ticket["socket"].startswith(gone):
                await self._rooms.leave_queue(ticket["userId"], ticket["socket"])

    async def _drop(self, members: list[tuple[str, str]], gone: str) -> AsyncIterator[Outcome]:
        drops = [self._signaling.drop(user_id, room_id, gone) for user_id, room_id in members]
        for dropped in asyncio.as_completed(drops):
            try:
                outcome = await dropped
            except Exception as error:
                log.warning("somebody of a lost worker could not be looked after: %s", error)
            else:
                if outcome is not None:
                    yield outcome

    async def data_lost(self) -> AsyncIterator[Outcome]:
        """Give a Redis that has lost its data what this worker and PostgreSQL know."""
        async for outcome in self._matchmaking.restore():
            yield outcome
        calls = await self._sessions.open_calls()
        seated = self._signaling.seated()
        for call in calls:
            for socket, seat in seated.get(call.room_id, []):
                caller = seat.user_id if seat.role == "caller" else seat.peer_id
                await self._restore(call, seat.user_id, socket, caller, seat.joins, seat.peer_joins)
        still_open = {call.room_id for call in calls}
        for room_id in seated.keys() - still_open:
            await self._signaling.close_seats(room_id)
        await asyncio.sleep(self._others_come_first)
        for call in await self._sessions.open_calls():
            if call.room_id in still_open:
                await self._restore(call)

    async def _restore(
        self,
        call: CallSession,
        member: str = "",
        socket: str = "",
        caller: str = "",
        joins: int = 0,
        peer_joins: int = 0,
    ) -> None:
        """Make the room of a call again, or end the call: who searches meanwhile, or is in another one, has left it."""
        left = timedelta(seconds=ROOM_SECONDS) - (datetime.now(UTC) - call.started_at)
        is_there = await self._rooms.restore(
            call.room_id,
            str(call.id),
            (str(call.user_a_id), str(call.user_b_id)),
            is_call=call.connected_at is not None,
            left=left,
            member=member,
            socket=socket,
            caller=caller,
            joins=joins,
            peer_joins=peer_joins,
        )
        if not is_there:
            await self._sessions.end(call.room_id, ended_by=EndedBy.ERROR)
            await self._signaling.close_seats(call.room_id)
