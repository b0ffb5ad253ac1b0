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
from services.calls.rooms import ROOM_SECONDS, CallEnd, Rooms
from services.calls.signaling import PeerLeft, SignalingService

log = logging.getLogger("parlance.recovery")

#: What a socket is to hear of it.
Outcome = SearchExpired | Match | PartnerCancelled | PeerLeft
#: How many members of a dead worker's rooms are looked after at once, and how many due things are done at once.
PARTICIPANT_BATCH_SIZE, MAX_CONCURRENT_DEADLINES = 50, 8


class RecoveryService:
    def __init__(
        self,
        rooms: Rooms,
        rows: CallRecords,
        sessions: CallHistoryService,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
        *,
        rejoin_seconds: float = 3.0,
    ) -> None:
        """`others_come_first`: seconds for every worker to seat its own sockets, before rooms nobody is in are made."""
        self._rooms = rooms
        self._records = rows
        self._history = sessions
        self._matchmaking = matchmaking
        self._signaling = signaling
        self._rejoin_seconds = rejoin_seconds
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_DEADLINES)

    async def handle_deadlines(self) -> AsyncIterator[Outcome]:
        """Do what is due; every worker asks, and each thing is one worker's to do."""
        due = await self._rooms.take_deadlines()
        # As they happen: one who searches on may be met by the next, and is to hear of it in that order.
        for done in asyncio.as_completed([self._handle_deadline(entry) for entry in due]):
            for outcome in await done:
                yield outcome

    async def _handle_deadline(self, entry: list[str]) -> list[Outcome]:
        try:
            async with self._semaphore:
                return await self._expire(entry)
        except Exception as error:  # it comes again
            log.warning("'%s' could not be done: %s: %s", ":".join(entry), type(error).__name__, error)
            return []

    async def _expire(self, entry: list[str]) -> list[Outcome]:
        match entry:
            case ["search", user_id]:
                expired = await self._matchmaking.expire_search(user_id)
                return [expired] if expired else []
            case ["join", room_id]:
                cancelled = await self._matchmaking.expire_match(room_id)
                await self._rooms.remove_deadline(*entry)
                return [*cancelled]
            case ["grace", room_id, user_id]:
                left = await self._signaling.expire_grace(room_id, user_id)
                return [left] if left else []
            case ["room", room_id]:
                both = await self._signaling.expire_room(room_id)
                await self._rooms.remove_deadline(*entry)
                return [*both]
            case ["begin", room_id, at]:
                await self._records.record_connected(room_id, at, is_late=True)
            case ["end", room_id, by, lasted, at]:
                await self._records.record_end(CallEnd(room_id, by, lasted, at), is_late=True)
            case _:
                await self._rooms.remove_deadline(*entry)
        return []

    async def recover_worker(self, worker_id: str) -> AsyncIterator[Outcome]:
        """Look after those whose sockets died with a worker: calls wait for them, matches and searches are over."""
        gone = f"{worker_id}."
        batch: list[tuple[str, str]] = []
        async for member in self._rooms.iterate_participants():
            batch.append(member)
            if len(batch) == PARTICIPANT_BATCH_SIZE:
                async for outcome in self._drop(batch, gone):
                    yield outcome
                batch = []
        async for outcome in self._drop(batch, gone):
            yield outcome
        # After the rooms: one whose match has just ended searches on, and their socket may be gone too.
        async for ticket in self._rooms.iterate_searches():
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

    async def restore_data(self) -> AsyncIterator[Outcome]:
        """Give a Redis that has lost its data what this worker and PostgreSQL know."""
        async for outcome in self._matchmaking.restore_searches():
            yield outcome
        calls = await self._history.list_open_calls()
        seated = self._signaling.list_participants_by_room()
        for call in calls:
            for socket, seat in seated.get(call.room_id, []):
                caller = seat.user_id if seat.role == "caller" else seat.peer_id
                await self._restore(call, seat.user_id, socket, caller, seat.joins, seat.peer_joins)
        still_open = {call.room_id for call in calls}
        for room_id in seated.keys() - still_open:
            await self._signaling.close_participants(room_id)
        await asyncio.sleep(self._rejoin_seconds)
        for call in await self._history.list_open_calls():
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
        is_there = await self._rooms.restore_room(
            call.room_id,
            str(call.id),
            (str(call.user_a_id), str(call.user_b_id)),
            is_call=call.connected_at is not None,
            remaining=left,
            participant_id=member,
            socket_id=socket,
            caller_id=caller,
            joins=joins,
            peer_joins=peer_joins,
        )
        if not is_there:
            await self._history.end(call.room_id, ended_by=EndedBy.ERROR)
            await self._signaling.close_participants(call.room_id)
