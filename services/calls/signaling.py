"""Signaling: joining a room, relaying signals, dropping and reconnecting, leaving.

The record of a room is in Redis (services/calls/rooms.py). Each web process keeps a `Participant` for each of its
sockets that is in a room, bound when it joins and when its peer joins, so that relaying looks nothing up. A
participant's recorded signals are sent to a peer that reconnects, on any web process.

A participant receives messages about its room from several processes, in any order. Redis counts the joins of each
user, and that count orders the messages; services/calls/room_checks.py compares what they led to with Redis.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Concatenate, Literal, ParamSpec

import errors
import spans
from adapters.ports import Bus
from services.bus_messages import Message
from services.calls.call_records import CallRecords
from services.calls.forwarding import Forwarding, end_wait
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import (
    LeaveReason,
    PartnerCancelled,
    PeerLeft,
    PeerReconnected,
    PeerReconnecting,
    RoomJoined,
)
from services.calls.participants import ANSWER, Acknowledge, Participant, SignalPayload
from services.calls.room_messages import JOIN_AGAIN, ROOM_LEFT, close_participants
from services.calls.room_state import ClosedRoom, ParticipantAway, ParticipantRecord
from services.calls.rooms import Rooms

P = ParamSpec("P")

#: The peer has joined: room, its socket, its joins, the last `seq` it has, whether it repeats the join, and whether the
#: room was a call by then.
PEER_HERE: Message[[str, str, int, int | None, bool, bool]] = Message("peer_here")
#: The peer's connection dropped: room, how often the peer had joined, seconds that it has to come back.
PEER_AWAY: Message[[str, int, int]] = Message("peer_away")
#: The role that may send a signal; a candidate may come from both.
_SENDER_ROLES = {"webrtc_offer": "caller", ANSWER: "receiver"}

#: Takes a change of the peer of a participant of this web process.
PeerListener = Callable[[PeerReconnecting | PeerReconnected], Awaitable[None]]


class SignalingService:
    def __init__(self, bus: Bus, rooms: Rooms, records: CallRecords, matchmaking: MatchmakingService) -> None:
        self._bus = bus
        self._rooms = rooms
        self._records = records
        self._matchmaking = matchmaking
        #: Participants of this web process by socket id; and those whose join Redis has not answered yet.
        self._participants: dict[str, Participant] = {}
        self._joining: dict[str, Participant] = {}
        self._listeners: list[PeerListener] = []
        self.forwarding = Forwarding(bus, rooms, self._find_participant)
        PEER_HERE.on(bus, self._dispatch(self.handle_peer_joined))
        PEER_AWAY.on(bus, self._dispatch(self.handle_peer_dropped))
        ROOM_LEFT.on(bus, self._dispatch(self._handle_room_left))

    def on_peer_change(self, listener: PeerListener) -> None:
        """Call `listener` when the peer of a participant of this web process has dropped from a call, or is back."""
        self._listeners.append(listener)

    # --- Joining ------------------------------------------------------------------------------------

    async def join_room(self, user_id: str, socket_id: str, room_id: str, *, after: int | None = None) -> RoomJoined:
        """Join the room of a match, or come back to it; raise NotInRoom.

        `after` is the highest `seq` received in this room: what the peer has signalled since is sent again.
        """
        # The peer may join, and publish it, before Redis has answered here: its messages need a participant.
        joining = self._joining[socket_id] = Participant(room_id, user_id, socket_id, received_seq=after or 0)
        before = self._get_participant(socket_id, room_id)
        # The repeated join of a participant who is still here is not counted; any other is, beyond what is known here.
        joins, known = before.joins if before and not before.closed else 0, before or joining
        try:
            join = await self._rooms.join(
                *(room_id, user_id, socket_id, after), joins=joins, peer_joins=known.peer_joins, role=known.role
            )
        finally:
            del self._joining[socket_id]
        participant = self._get_participant(socket_id, room_id)
        is_repeated = False
        if participant is None or participant.closed:
            if participant is not None:
                joining.received_seq = max(joining.received_seq, participant.received_seq)
            participant = self._participants[socket_id] = joining
            participant.restore(join)
            participant.span = spans.begin("participant")
        else:  # it keeps its signals, also where Redis had lost its binding
            is_repeated = participant.joins == join.joins
            participant.join_again(join)
        is_reconnect = not participant.pop_role_change() and join.was_call and not join.is_caller_chosen
        if join.peer_socket_id and is_repeated:
            await self.handle_peer_joined(
                socket_id, participant, join.peer_socket_id, join.peer_joins, join.peer_after, False, join.was_call
            )
        elif join.peer_socket_id:
            since = participant.confirmed_seq
            if join.peer_after is not None and join.peer_joins != participant.peer_joins:
                since = join.peer_after  # it came back while this user was away, and nothing was sent to it
            self.forwarding.bind(participant, join.peer_socket_id, join.peer_joins, since)
        elif join.was_call:
            self.forwarding.suspend(participant, join.peer_joins)
            await self._notify_listeners(PeerReconnecting(socket_id, math.ceil(join.peer_grace.total_seconds())))
        if participant is joining:
            for handle in joining.pending_messages:
                if not participant.closed:
                    await handle(participant)
        if join.connected_ms:
            await self._records.record_connected(room_id, join.connected_ms)
        if join.peer_socket_id:
            await PEER_HERE.send_if_there(
                self._bus, join.peer_socket_id, room_id, socket_id, join.joins, after, is_repeated, join.was_call
            )
        if join.replaced_socket_id:
            await ROOM_LEFT.send_if_there(self._bus, join.replaced_socket_id, room_id, join.joins)
        return RoomJoined(join.role, join.peer_socket_id or None, is_reconnect, join.replaced_socket_id or None)

    def _dispatch(
        self, handler: Callable[Concatenate[str, Participant, P], Awaitable[None]]
    ) -> Callable[Concatenate[str, str, P], Awaitable[None]]:
        """Return the handler of a message about a room: it calls `handler` with the participant it is for."""

        async def handle(socket_id: str, room_id: str, /, *arguments: P.args, **none: P.kwargs) -> None:
            joining, participant = self._joining.get(socket_id), self._get_participant(socket_id, room_id)
            if joining is not None and joining.room_id == room_id:
                joining.pending_messages.append(lambda joined: handler(socket_id, joined, *arguments, **none))
            if participant is not None and not participant.closed:
                await handler(socket_id, participant, *arguments, **none)

        return handle

    async def handle_peer_joined(
        self,
        socket_id: str,
        participant: Participant,
        peer_socket_id: str,
        joins: int,
        after: int | None,
        is_repeated: bool,
        was_call: bool,
    ) -> None:
        """Bind the peer's new socket, once it has been sent what the peer missed."""
        is_new = joins > participant.peer_joins
        # Also where its first join has not been published here: the caller offers when the peer is there.
        if is_new and (participant.peer_joins or participant.is_peer_away or was_call):
            await self._notify_listeners(PeerReconnected(socket_id))
        known = participant.room_id, participant.peer_id, participant.peer_joins
        if not is_new and peer_socket_id != participant.peer_socket_id:
            # An old message, or a join that an older copy of Redis has counted: that socket is there, and joins again.
            await JOIN_AGAIN.send_if_there(self._bus, peer_socket_id, *known)
        elif is_new or (is_repeated and joins == participant.peer_joins and not participant.is_peer_away):
            # Without `after`, another device of the peer is sent nothing again.
            self.forwarding.bind(
                participant, peer_socket_id, joins, participant.confirmed_seq if after is None else after
            )

    async def handle_peer_dropped(
        self, socket_id: str, participant: Participant, joins: int, grace_seconds: int
    ) -> None:
        if (joins, True) <= (participant.peer_joins, participant.is_peer_away):
            return
        self.forwarding.suspend(participant, joins)
        await self._notify_listeners(PeerReconnecting(socket_id, grace_seconds))

    async def _handle_room_left(self, socket_id: str, participant: Participant, joins: int | None = None) -> None:
        """Close a participant: its room is over, or, with `joins`, the user's other socket replaced it by that join."""
        if joins is None or participant.joins < joins:
            self.forwarding.close(participant)

    async def _notify_listeners(self, change: PeerReconnecting | PeerReconnected) -> None:
        for listener in self._listeners:
            await listener(change)

    def _get_participant(self, socket_id: str, room_id: str) -> Participant | None:
        participant = self._participants.get(socket_id)
        return participant if participant is not None and participant.room_id == room_id else None

    def _find_participant(self, socket_id: str, room_id: str) -> Participant | None:
        """Return the participant of a socket in a room, also while it joins."""
        participant = self._get_participant(socket_id, room_id) or self._joining.get(socket_id)
        return participant if participant is not None and participant.room_id == room_id else None

    # --- Relaying -----------------------------------------------------------------------------------

    def relay(
        self,
        socket_id: str,
        room_id: str,
        name: str,
        payload: SignalPayload,
        acknowledge: Acknowledge,
        argument: object,
    ) -> bool:
        """Number, record and forward a signal; return whether the peer's connection has it.

        If not, `acknowledge(argument, error)` is called when it has, or when Redis has stored it for the peer, with an
        error when neither could be. Raises NotInRoom, RoomClosed, BadRole, PeerNotReady, or Unavailable where too much
        waits for the peer. `payload` is given its `seq`.
        """
        participant = self.check_room(socket_id, room_id)
        if (role := _SENDER_ROLES.get(name)) is not None and participant.role != role:
            raise errors.BadRole()
        if participant.peer_socket_id is None and not participant.is_peer_away:
            raise errors.PeerNotReady()
        if role is not None:
            participant.note(name)
        participant.is_negotiated |= name == ANSWER
        return self.forwarding.forward(participant, name, payload, acknowledge, argument)

    async def relay_and_wait(self, socket_id: str, room_id: str, name: str, payload: SignalPayload) -> None:
        """Relay a signal, and return when it may be acknowledged."""
        done = asyncio.get_running_loop().create_future()
        if not self.relay(socket_id, room_id, name, payload, end_wait, done):
            await done

    def check_room(self, socket_id: str, room_id: str) -> Participant:
        """Return the participant of a socket in that room; raise NotInRoom or RoomClosed."""
        participant = self._get_participant(socket_id, room_id)
        if participant is None:
            raise errors.NotInRoom()
        if participant.closed:
            raise errors.RoomClosed()
        return participant

    # --- Leaving ------------------------------------------------------------------------------------

    async def end_call(self, user_id: str, socket_id: str, room_id: str) -> PeerLeft | PartnerCancelled | None:
        """Hang up; raise NotInRoom, or RoomClosed where the partner was quicker."""
        participant = self._get_participant(socket_id, room_id)
        why: Literal["left", "left_silent"] = "left" if participant and participant.is_negotiated else "left_silent"
        closed = await self._rooms.close(room_id, user_id, why=why)
        if closed is None and participant is not None:
            closed = await self._close_lost_room(socket_id, participant)
        if closed is None:
            raise errors.NotInRoom() if participant is None else errors.RoomClosed()
        return await self._finish_leave(user_id, closed, "ended")

    async def _close_lost_room(self, socket_id: str, participant: Participant) -> ClosedRoom | None:
        """Close a room that Redis has lost, before it is restored; None where Redis has not lost it."""
        user_id, peer_id, room_id = participant.user_id, participant.peer_id, participant.room_id
        end = None if participant.closed else await self._rooms.end_lost_room(room_id, user_id, peer_id)
        if end is None:
            return None
        peer_socket_id = "" if participant.is_peer_away else participant.peer_socket_id or ""
        both = ParticipantRecord(user_id, socket_id, None), ParticipantRecord(peer_id, peer_socket_id, None)
        return ClosedRoom(participant.room_id, bool(participant.peer_joins), True, both, end)

    async def disconnect(
        self, user_id: str, socket_id: str, *, final_reason: Literal["banned", "disconnected"] | None = None
    ) -> PeerLeft | PartnerCancelled | None:
        """End the match, and interrupt the call, that this socket, and no other of the user, was part of.

        `final_reason`: why the user may not come back.
        """
        await self._matchmaking.disconnect(user_id, socket_id)
        room_id = await self._rooms.get_room_id(user_id)
        # The participant stays until Redis has recorded it; the connection's cleanup calls this again.
        participant = self._participants.pop(socket_id, None)
        if participant is not None:
            self.forwarding.release(participant)
            participant.end_span("disconnected")
        if room_id is None:
            return None
        try:
            if final_reason:
                closed = await self._rooms.close(room_id, user_id, condition=f"socket:{socket_id}")
                return await self._finish_leave(user_id, closed, final_reason) if closed else None
            saved_state = participant.serialize() if participant is not None and participant.room_id == room_id else b""
            return await self.drop(user_id, room_id, socket_id, saved_state)
        except Exception:
            if participant is not None:
                self._participants[socket_id] = participant
            raise

    async def drop(
        self,
        user_id: str,
        room_id: str,
        socket_id: str,
        saved_state: bytes = b"",
        *,
        last_known: timedelta | None = None,
    ) -> PartnerCancelled | PeerLeft | None:
        """Interrupt a call, or end a match, of a socket that is gone.

        `socket_id` may be a dead web process's id and a dot. `last_known` is that of `Rooms.drop`.
        """
        match await self._rooms.drop(room_id, user_id, socket_id, saved_state, last_known=last_known):
            case ParticipantAway(peer_socket_id, joins, grace):
                if peer_socket_id:
                    seconds = math.ceil(grace.total_seconds())
                    await PEER_AWAY.send_if_there(self._bus, peer_socket_id, room_id, joins, seconds)
            case ClosedRoom() as closed:
                return await self._finish_leave(user_id, closed, "disconnected")
        return None

    async def expire_grace(self, room_id: str, user_id: str) -> PeerLeft | PartnerCancelled | None:
        """End a call to which a participant did not come back in time."""
        closed = await self._rooms.close(room_id, user_id, condition="away")
        return await self._finish_leave(user_id, closed, "disconnected") if closed else None

    async def expire_room(self, room_id: str) -> list[PeerLeft]:
        """End a call that has reached the longest a call may last."""
        closed = await self._rooms.close(room_id, None, by="timeout")
        if closed is None:
            return []
        await self._finish_call(closed)
        return [PeerLeft(each.socket_id, "timeout") for each in closed.participants if each.socket_id]

    def list_participants(self) -> list[tuple[str, Participant]]:
        """List the sockets of this web process that are in a room."""
        return [(socket_id, each) for socket_id, each in self._participants.items() if not each.closed]

    def find_participant(self, socket_id: str) -> Participant | None:
        """Return the participant of a socket in a room; None also while Redis has not answered its next join."""
        participant = self._participants.get(socket_id)
        return None if participant is None or participant.closed or socket_id in self._joining else participant

    def find_left_participant(self, socket_id: str) -> Participant | None:
        """Return the last participant of a socket, where its room is over."""
        participant = self._participants.get(socket_id)
        return participant if participant is not None and participant.closed else None

    def is_in_room(self, socket_id: str, room_id: str) -> bool:
        """Whether a socket of this web process is in a room, or is about to join it."""
        participant = self._get_participant(socket_id, room_id)
        return socket_id in self._joining or (participant is not None and not participant.closed)

    async def _finish_leave(
        self, user_id: str, closed: ClosedRoom, reason: LeaveReason
    ) -> PeerLeft | PartnerCancelled | None:
        if not closed.was_call:
            return await self._matchmaking.end_match(closed, user_id)
        await self._finish_call(closed)
        peer = closed.get_peer(user_id)
        return PeerLeft(peer.socket_id, reason) if peer.socket_id else None

    async def _finish_call(self, closed: ClosedRoom) -> None:
        await close_participants(self._bus, closed)
        await self._records.record_end(closed.end, is_late=closed.is_backdated)
