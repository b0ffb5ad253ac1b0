"""Recovery of searches and calls: deadlines, dead web processes, and a Redis that has lost its data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from instants import utc_now
from models import CallSession, EndedBy
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome
from services.calls.room_state import CallEnd, PresentParticipant
from services.calls.rooms import ROOM_SECONDS, Rooms
from services.calls.signaling import SignalingService

log = logging.getLogger("parlance.recovery")

#: Participants of a dead web process dropped at once, and deadlines handled at once.
PARTICIPANT_BATCH_SIZE, MAX_CONCURRENT_DEADLINES = 50, 8


class RecoveryService:
    def __init__(
        self,
        rooms: Rooms,
        records: CallRecords,
        history: CallHistoryService,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
        *,
        rejoin_seconds: float = 3.0,
    ) -> None:
        """`rejoin_seconds`: time for every web process to restore the rooms of its sockets, before empty ones are."""
        self._rooms = rooms
        self._records = records
        self._history = history
        self._matchmaking = matchmaking
        self._signaling = signaling
        self._rejoin_seconds = rejoin_seconds
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_DEADLINES)

    async def handle_deadlines(self) -> AsyncIterator[Outcome]:
        """Handle the deadlines that have passed; every web process polls, and each deadline is taken by one."""
        entries = await self._rooms.take_deadlines()
        # In order: a search that continues may be matched by the next outcome.
        for handled in asyncio.as_completed([self._handle_deadline(entry) for entry in entries]):
            for outcome in await handled:
                yield outcome

    async def _handle_deadline(self, entry: list[str]) -> list[Outcome]:
        try:
            async with self._semaphore:
                return await self._expire(entry)
        except Exception as error:  # it is taken again
            log.warning("deadline_failed entry=%s error=%r", ":".join(entry), error)
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
            case ["begin", room_id, at_ms]:
                await self._records.record_connected(room_id, at_ms, is_late=True)
            case ["end", room_id, by, lasted_ms, at_ms]:
                await self._records.record_end(CallEnd(room_id, by, lasted_ms, at_ms), is_late=True)
            case _:
                await self._rooms.remove_deadline(*entry)
        return []

    async def recover_process(self, process_id: str) -> AsyncIterator[Outcome]:
        """Drop the sockets of a dead web process: calls wait for their users, matches and searches are over."""
        prefix = f"{process_id}."
        batch: list[tuple[str, str]] = []
        async for participant in self._rooms.iterate_participants():
            batch.append(participant)
            if len(batch) == PARTICIPANT_BATCH_SIZE:
                async for outcome in self._drop(batch, prefix):
                    yield outcome
                batch = []
        async for outcome in self._drop(batch, prefix):
            yield outcome
        # After the rooms: a requeued partner of an ended match may have a socket of the dead process too.
        async for entry in self._rooms.iterate_searches():
            if entry["socket"].startswith(prefix):
                await self._rooms.leave_queue(entry["userId"], entry["socket"])

    async def _drop(self, participants: list[tuple[str, str]], prefix: str) -> AsyncIterator[Outcome]:
        drops = [self._signaling.drop(user_id, room_id, prefix) for user_id, room_id in participants]
        for dropped in asyncio.as_completed(drops):
            try:
                outcome = await dropped
            except Exception as error:
                log.warning("participant_drop_failed process_id=%s error=%r", prefix[:-1], error)
            else:
                if outcome is not None:
                    yield outcome

    async def restore_data(self) -> AsyncIterator[Outcome]:
        """Restore the data that Redis has lost, from this web process and PostgreSQL."""
        async for outcome in self._matchmaking.restore_searches():
            yield outcome
        calls = await self._history.list_open_calls()
        by_room = self._signaling.list_participants_by_room()
        for call in calls:
            for socket_id, participant in by_room.get(call.room_id, []):
                is_caller = participant.role == "caller"
                caller_id = participant.user_id if is_caller else participant.peer_id
                present = PresentParticipant(
                    participant.user_id, socket_id, caller_id, participant.joins, participant.peer_joins
                )
                await self._restore(call, present)
        open_room_ids = {call.room_id for call in calls}
        for room_id in by_room.keys() - open_room_ids:
            self._signaling.close_participants(room_id)
        await asyncio.sleep(self._rejoin_seconds)
        for call in await self._history.list_open_calls():
            if call.room_id in open_room_ids:
                await self._restore(call)

    async def _restore(self, call: CallSession, participant: PresentParticipant | None = None) -> None:
        """Restore the room of a call, or end the call: a user who searches or is in another room has left it."""
        remaining = timedelta(seconds=ROOM_SECONDS) - (utc_now() - call.started_at)
        is_restored = await self._rooms.restore_room(
            call.room_id,
            str(call.id),
            (str(call.user_a_id), str(call.user_b_id)),
            is_call=call.connected_at is not None,
            remaining=remaining,
            participant=participant,
        )
        if not is_restored:
            await self._history.end(call.room_id, ended_by=EndedBy.ERROR)
            self._signaling.close_participants(call.room_id)
