"""Checks of the rooms and searches of this web process against Redis: a difference is repaired within seconds.

Two web processes that bind the sockets of a call to each other depend on messages, and on a Redis that keeps what it
acknowledged. A process that was suspended, a host that was cut off and a promoted replica break both: a participant is
away for the partner's process and present for its own, and what either sends is lost. So each process compares its own
participants with the record of their room, a few at a time. It joins again for a socket that the record does not have,
and where the record has another binding of the peer than this process, it asks the peer's process to join again: counts
of joins rise, and all adopt the highest.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import NamedTuple

import errors
from adapters.ports import Bus
from models import EndedBy
from services.bus_messages import get_process_id
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, PartnerCancelled, PeerLeft, Resync, SocketReplaced
from services.calls.participants import Participant
from services.calls.room_messages import JOIN_AGAIN, ROOM_LEFT
from services.calls.room_state import CallState, QueueEntry, RestoreResult, RoomRecord
from services.calls.rooms import Rooms
from services.calls.signaling import PEER_HERE, SignalingService

log = logging.getLogger("parlance.rooms")

#: Seconds between two checks, and those in which all rooms and searches of a process are checked.
CHECK_SECONDS, SWEEP_SECONDS = 1, 5
#: Rooms, and searches, that are checked at least at once.
MIN_BATCH_SIZE = 50
#: Checks after which a call that cannot be restored is ended: a participant searches, or is in another room.
MAX_BUSY_CHECKS = 5


class _Seen(NamedTuple):
    """A participant, and its count of joins, when its record was asked for."""

    socket_id: str
    participant: Participant
    joins: int


class RoomChecks:
    def __init__(
        self,
        bus: Bus,
        rooms: Rooms,
        records: CallRecords,
        history: CallHistoryService,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
    ) -> None:
        self._bus = bus
        self._rooms = rooms
        self._records = records
        self._history = history
        self._matchmaking = matchmaking
        self._signaling = signaling
        #: Requests of other processes, by socket id: room, user, joins.
        self._requests: dict[str, tuple[str, str, int]] = {}
        #: What the last check of a socket found, because a message that explains it may be on its way.
        self._doubts: dict[str | tuple[str, str], object] = {}
        #: Checks that found the participants of a call elsewhere, by its room.
        self._busy_checks: dict[str, int] = {}
        self._room_position = self._search_position = 0
        JOIN_AGAIN.on(bus, self._handle_request)

    async def check(self) -> AsyncIterator[Outcome]:
        """Check the next rooms and searches of this web process."""
        participants, entries = self._signaling.list_participants(), self._matchmaking.list_queue_entries()
        sockets = {socket_id for socket_id, _ in participants} | {entry["socket"] for entry in entries}
        self._doubts = {
            place: doubt
            for place, doubt in self._doubts.items()
            if (place if isinstance(place, str) else place[0]) in sockets
        }
        rooms = {participant.room_id for _, participant in participants}
        self._busy_checks = {room_id: checks for room_id, checks in self._busy_checks.items() if room_id in rooms}
        begin, self._room_position = _next_batch(self._room_position, len(participants))
        async for outcome in self.check_rooms(participants[begin : self._room_position]):
            yield outcome
        begin, self._search_position = _next_batch(self._search_position, len(entries))
        async for outcome in self._check_searches(entries[begin : self._search_position]):
            yield outcome

    async def check_rooms(
        self, participants: list[tuple[str, Participant]] | None = None, *, is_final: bool = False
    ) -> AsyncIterator[Outcome]:
        """Check the rooms of some participants of this web process, of all without an argument.

        `is_final`: no message of the end of a call is on its way any more.
        """
        async for outcome in self._answer_requests():
            yield outcome
        chosen = self._signaling.list_participants() if participants is None else participants
        seen = [_Seen(socket_id, each, each.joins) for socket_id, each in chosen]
        records = await asyncio.gather(
            *(self._rooms.read_record(each.room_id, each.user_id, each.peer_id) for _, each, _ in seen)
        )
        peers = {get_process_id(record.peer_socket_id) for record in records if record is not None}
        dead = await self._rooms.list_dead_processes(peers - {"", self._bus.process_id})
        unbound: list[_Seen] = []
        for each, record in zip(seen, records, strict=True):
            if not self._is_unchanged(each):
                continue
            if (
                record is None
                or (record.socket_id, record.joins) != (each.socket_id, each.joins)
                or not await self._agrees_on_peer(each, record, is_dead=get_process_id(record.peer_socket_id) in dead)
            ):
                unbound.append(each)
        async for outcome in self._restore(unbound, is_final=is_final):
            yield outcome

    def _is_unchanged(self, seen: _Seen) -> bool:
        participant = self._signaling.find_participant(seen.socket_id)
        return participant is seen.participant and participant.joins == seen.joins

    # --- The peer -----------------------------------------------------------------------------------

    async def _agrees_on_peer(self, seen: _Seen, record: RoomRecord, *, is_dead: bool) -> bool:
        """Compare what this process and the record know of the peer; return False where this side has to join again.

        `is_dead`: the record has the peer with a web process that is dead, as where its recovery met an outage.
        """
        socket_id, participant, _ = seen
        here = "" if participant.is_peer_away else participant.peer_socket_id or ""
        is_same = (here, participant.peer_joins) == (record.peer_socket_id, record.peer_joins)
        if is_same and not is_dead:
            self._doubts.pop(socket_id, None)
            return True
        if self._is_doubted(socket_id, (record, here, is_dead)):
            return True
        log.warning("peer_differs room_id=%s user_id=%s", participant.room_id, participant.user_id)
        if record.peer_socket_id:
            await self._ask_to_join_again(participant, record.peer_socket_id)
        elif record.peer_joins < participant.peer_joins:
            return False  # which raises the count that Redis has of the peer
        elif record.is_call:
            grace = await self._rooms.read_grace(participant.room_id, participant.peer_id)
            seconds = math.ceil(grace.total_seconds())
            await self._signaling.handle_peer_dropped(socket_id, participant, record.peer_joins, seconds)
        return True

    async def _ask_to_join_again(self, participant: Participant, peer_socket_id: str) -> None:
        process_id = get_process_id(peer_socket_id)
        room_id, peer_id = participant.room_id, participant.peer_id
        if await self._rooms.list_dead_processes([process_id]):
            await self._signaling.drop(peer_id, room_id, f"{process_id}.")
        else:
            await JOIN_AGAIN.send_if_there(self._bus, peer_socket_id, room_id, peer_id, participant.peer_joins)

    def _is_doubted(self, place: str | tuple[str, str], doubt: object) -> bool:
        """Note a difference that a message on its way may explain; return True unless the last check found it too.

        `place` is the socket, with a name where it may have two differences at once.
        """
        if self._doubts.get(place) == doubt:
            return False
        self._doubts[place] = doubt
        return True

    async def _handle_request(self, socket_id: str, room_id: str, user_id: str, joins: int) -> None:
        self._requests[socket_id] = room_id, user_id, joins

    async def _answer_requests(self) -> AsyncIterator[Outcome]:
        """Join again for sockets whose peers' processes have asked for it, or note that a socket is not there."""
        requests, self._requests = self._requests, {}
        for socket_id, (room_id, user_id, joins) in requests.items():
            participant = self._signaling.find_participant(socket_id)
            outcome: Outcome | None = None
            if participant is not None and participant.room_id == room_id:
                outcome = await self._rejoin(_Seen(socket_id, participant, joins))
            elif not self._signaling.is_in_room(socket_id, room_id):
                outcome = await self._signaling.drop(user_id, room_id, socket_id)
            if outcome is not None:
                yield outcome

    # --- Restoring ----------------------------------------------------------------------------------

    async def _restore(self, unbound: list[_Seen], *, is_final: bool) -> AsyncIterator[Outcome]:
        """Join again for participants whose binding or room Redis does not have, or close them: their call is over."""
        if not unbound:
            return
        rooms = {each.participant.room_id for each in unbound}
        calls = {call.room_id: call for call in await self._history.list_calls_of_rooms(rooms)}
        for each in unbound:
            socket_id, participant, _ = each
            if not self._is_unchanged(each):
                continue
            call, result = calls.get(participant.room_id), "closed"
            if call is not None and call.ended_by is None:
                result = await self._restore_room(participant, call)
            if result == "restored" and (rejoined := await self._rejoin(each)) is not None:
                self._doubts.pop(socket_id, None)
                yield rejoined
            elif result == "busy" or participant.closed:
                continue
            elif not self._is_doubted(socket_id, "over") or is_final:
                self._signaling.forwarding.close(participant)
                log.warning("participant_closed room_id=%s user_id=%s", participant.room_id, participant.user_id)
                yield _build_end(socket_id, participant, call)

    async def _restore_room(self, participant: Participant, call: CallState) -> RestoreResult:
        """Restore the room of an open call where Redis has lost it."""
        caller_id = {"caller": participant.user_id, "receiver": participant.peer_id}.get(participant.role, "")
        result = await self._rooms.restore_room(call, caller_id=caller_id)
        if result != "busy":
            self._busy_checks.pop(call.room_id, None)
            return result
        self._busy_checks[call.room_id] = self._busy_checks.get(call.room_id, 0) + 1
        if self._busy_checks[call.room_id] < MAX_BUSY_CHECKS:
            return "busy"
        del self._busy_checks[call.room_id]
        await self._history.end(call.room_id, ended_by=EndedBy.ERROR)
        return "closed"

    async def _rejoin(self, seen: _Seen) -> Outcome | None:
        """Join again with a socket that was in the room, beyond every count known; None where the room is gone."""
        socket_id, participant, joins = seen
        room_id, user_id = participant.room_id, participant.user_id
        after = participant.received_seq or None
        try:
            join = await self._rooms.join(
                *(room_id, user_id, socket_id, after),
                joins=max(joins, participant.joins),
                peer_joins=participant.peer_joins,
                is_restored=True,
                role=participant.role,
            )
        except errors.NotInRoom:
            return None
        except errors.RoomClosed:
            if self._is_doubted((socket_id, "replaced"), True):
                return None
            self._signaling.forwarding.close(participant)
            return SocketReplaced(socket_id)
        log.warning("participant_joined_again room_id=%s user_id=%s joins=%d", room_id, user_id, join.joins)
        if not self._signaling.is_in_room(socket_id, room_id):
            # It went while Redis was asked.
            await self._signaling.drop(user_id, room_id, socket_id, participant.serialize())
            return None
        participant.join_again(join)
        if join.connected_ms:
            await self._records.record_connected(room_id, join.connected_ms)
        if join.peer_socket_id:
            here = room_id, socket_id, join.joins, after, False, True
            await PEER_HERE.send_if_there(self._bus, join.peer_socket_id, *here)
            await self._signaling.handle_peer_joined(
                socket_id, participant, join.peer_socket_id, join.peer_joins, join.peer_after, False, True
            )
        elif join.was_call:
            grace_seconds = math.ceil(join.peer_grace.total_seconds())
            await self._signaling.handle_peer_dropped(socket_id, participant, join.peer_joins, grace_seconds)
        if join.replaced_socket_id:
            await ROOM_LEFT.send_if_there(self._bus, join.replaced_socket_id, room_id, join.joins)
        return Resync(socket_id)

    # --- Searches -----------------------------------------------------------------------------------

    async def _check_searches(self, entries: list[QueueEntry]) -> AsyncIterator[Outcome]:
        """Restore the searches of this web process that Redis does not have, or let them expire."""
        sockets = await asyncio.gather(*(self._rooms.read_search_socket(entry["userId"]) for entry in entries))
        for entry, found in zip(entries, sockets, strict=True):
            socket_id = entry["socket"]
            if found == socket_id:
                self._doubts.pop(socket_id, None)
            elif not self._is_doubted(socket_id, ("search", found, entry.get("since"))):
                self._doubts.pop(socket_id)
                outcome = await self._matchmaking.restore_search(entry, is_final=True)
                if outcome is not None:
                    yield outcome


def _next_batch(position: int, count: int) -> tuple[int, int]:
    """Return the begin and the end of the next batch of a list, which starts over at its end."""
    begin = position if position < count else 0
    return begin, begin + max(MIN_BATCH_SIZE, math.ceil(count * CHECK_SECONDS / SWEEP_SECONDS))


def _build_end(socket_id: str, participant: Participant, call: CallState | None) -> Outcome:
    """Build what the end of a call is for a participant whose process has not been informed of it."""
    if call is None or (call.call_age is None and not participant.peer_joins):
        return PartnerCancelled(socket_id, None)
    me = EndedBy.USER_A if call.user_ids[0] == participant.user_id else EndedBy.USER_B
    if call.ended_by is EndedBy.TIMEOUT:
        return PeerLeft(socket_id, "timeout")
    return PeerLeft(socket_id, "disconnected" if call.ended_by in (me, EndedBy.ERROR, None) else "ended")
