"""Owns calls as their members live them: entering the room, signalling, dropping and coming back, leaving.

The record of a room is in Redis (services/rooms.py). Each worker keeps a seat for each of its sockets that is in a
room, bound when it joins and when its peer joins, so that relaying looks nothing up. A seat remembers what its member
has signalled; a peer that comes back, on whatever worker, is sent from there what it missed.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

import errors
from adapters.ports import Bus
from services.call_rows import CallRows
from services.matchmaking import MatchmakingService, PartnerCancelled, notify
from services.rooms import Away, Closed, Rooms

log = logging.getLogger("parlance.signaling")

#: What a seat remembers of what its member has signalled: more than a socket may send while its peer has time to come
#: back, and so many bytes.
_REMEMBERED, _REMEMBERED_BYTES = 512, 512 * 1024
#: `seq` counts on from here with each time a member joins the same room, so that it rises from one worker to the next.
_SEQ_OF_A_JOIN = 1 << 20
#: Who may send what; a candidate may come from both.
_SENDER = {"webrtc_offer": "caller", "webrtc_answer": "receiver"}


class Signal(NamedTuple):
    seq: int
    name: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Seat:
    """One socket's place in a room."""

    room_id: str
    user_id: str
    role: str = ""
    peer_id: str = ""
    peer_socket: str | None = None
    #: The peer's connection dropped, and it has time to come back.
    is_peer_away: bool = False
    closed: bool = False
    #: What the peer is sent again, after it came back, is on its way; what is new follows it.
    is_catching_up: bool = False
    joins: int = 1
    seq: int = 0
    #: The last signal that was sent on before the peer dropped.
    sent_on: int = 0
    sent: deque[bytes] = field(default_factory=deque)
    #: The peer's socket, and the last signal it has heard, where it came while this seat was being taken.
    came: tuple[str, int | None] | None = None
    #: How many bytes are in `sent`.
    size: int = 0

    def remember(self, seq: int, name: str, payload: dict[str, Any]) -> None:
        # As bytes, which Python's collector of garbage has not to look through: its pauses are what a tail is made of.
        kept = orjson.dumps((seq, name, payload))
        self.seq = seq
        self.sent.append(kept)
        self.size += len(kept)
        while len(self.sent) > _REMEMBERED or self.size > _REMEMBERED_BYTES:
            self.size -= len(self.sent.popleft())

    def since(self, seq: int) -> list[Signal]:
        """Answer what its member has signalled after `seq`, as far as it is remembered."""
        signals = [Signal(*orjson.loads(kept)) for kept in self.sent]
        return [signal for signal in signals if signal.seq > seq]

    def take_back(self, seq: int) -> None:
        """Forget the last signal, if it is that one."""
        if self.sent and orjson.loads(self.sent[-1])[0] == seq:
            self.size -= len(self.sent.pop())

    def handed_over(self) -> bytes:
        """What the member's next socket needs, to go on where this one was."""
        sent_on = self.sent_on if self.is_peer_away else self.seq
        return orjson.dumps({"sent": [orjson.Fragment(kept) for kept in self.sent], "sentOn": sent_on})

    def take_over(self, handed_over: str, joins: int) -> None:
        self.joins, self.seq = joins, joins * _SEQ_OF_A_JOIN
        if handed_over:
            held = orjson.loads(handed_over)
            self.sent_on = held["sentOn"]
            for each in held["sent"]:
                self.remember(*each)
            self.seq = max(self.seq, joins * _SEQ_OF_A_JOIN)


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody entered a room, or came back to it.

    `peer_socket` is who else should hear of it. `is_back`: it was a call already; `is_new_socket`: they come with
    another socket than they had. `peer_grace` is how many seconds an absent peer still has; `replaced` is the socket
    that this one takes the place of.
    """

    role: str
    peer_socket: str | None
    is_back: bool
    is_new_socket: bool
    peer_grace: int | None
    replaced: str | None


@dataclass(frozen=True, slots=True)
class PeerAway:
    """A call whose other side dropped, and has `grace_seconds` to come back."""

    socket: str
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A call that is over; `reason` is one of ended, disconnected, timeout, banned."""

    socket: str
    reason: str


class SignalingService:
    def __init__(self, bus: Bus, rooms: Rooms, rows: CallRows, matchmaking: MatchmakingService) -> None:
        self._bus = bus
        self._rooms = rooms
        self._rows = rows
        self._matchmaking = matchmaking
        self._seats: dict[str, Seat] = {}
        self._arriving: dict[str, Seat] = {}
        bus.on("peer_here", self._peer_here)
        bus.on("peer_away", self._peer_away)
        bus.on("unseat", self._unseat)

    async def join_room(self, user_id: str, socket: str, room_id: str, *, after: int | None = None) -> Joined:
        """Enter a room one was matched into, or come back to it; raise NotInRoom.

        `after` is the highest `seq` heard in this room: what the peer has signalled since is sent again.
        """
        # The peer may join, and say so, before Redis's answer is here: there must be a seat to tell.
        arriving = self._arriving[socket] = Seat(room_id, user_id)
        try:
            place = await self._rooms.join(room_id, user_id, socket)
        finally:
            del self._arriving[socket]
        seat = self._seats.get(socket)
        is_new_socket = seat is None or seat.room_id != room_id or seat.joins != place.joins
        if seat is None or is_new_socket:
            seat = self._seats[socket] = arriving
            seat.take_over(place.sent, place.joins)
            seat.role, seat.peer_id = place.role, place.peer_id
        came = arriving.came
        if came is not None:
            await self._peer_here(socket, room_id, *came)
        elif place.peer_socket and not seat.is_peer_away:
            seat.peer_socket = place.peer_socket
        elif place.was_call and not place.peer_socket:
            seat.is_peer_away = True
        if place.began_ms:
            await self._rows.begin(room_id, place.began_ms)
        if place.peer_socket:
            await notify(self._bus, place.peer_socket, "peer_here", room_id, socket, after)
        if place.replaced:
            await notify(self._bus, place.replaced, "unseat", room_id)
        grace = math.ceil(place.peer_grace.total_seconds()) if place.was_call and not place.peer_socket else None
        return Joined(
            place.role,
            place.peer_socket or None,
            place.was_call,
            is_new_socket,
            grace,
            place.replaced or None,
        )

    async def _peer_here(self, socket: str, room_id: str, peer_socket: str, after: int | None) -> None:
        """Bind the peer's new socket, once it has been sent what the peer missed."""
        arriving, seat = self._arriving.get(socket), self._seats.get(socket)
        if arriving is not None and arriving.room_id == room_id:
            arriving.came = peer_socket, after
        if seat is None or seat.room_id != room_id:
            return
        # Without `after`, another device that takes over is sent nothing again.
        since = after if after is not None else seat.sent_on if seat.is_peer_away else seat.seq
        seat.peer_socket, seat.is_peer_away, seat.is_catching_up = peer_socket, False, True
        while missed := seat.since(since):
            for signal in missed:
                if seat.is_peer_away or seat.peer_socket != peer_socket:
                    return  # it dropped again, or another socket has come
                try:
                    await self._bus.send(peer_socket, "emit", signal.name, signal.payload)
                except errors.Unavailable:
                    seat.is_peer_away, seat.sent_on = True, since
                    return
                since = seat.sent_on = signal.seq
        seat.is_catching_up = False

    async def _peer_away(self, socket: str, room_id: str) -> None:
        for seat in self._seats_of(socket, room_id):
            if not seat.is_peer_away:
                seat.is_peer_away = True
                if not seat.is_catching_up:
                    seat.sent_on = seat.seq

    async def _unseat(self, socket: str, room_id: str) -> None:
        for seat in self._seats_of(socket, room_id):
            seat.closed = True
            seat.sent.clear()

    def _seats_of(self, socket: str, room_id: str) -> list[Seat]:
        held = (self._seats.get(socket), self._arriving.get(socket))
        return [seat for seat in held if seat is not None and seat.room_id == room_id]

    def relay(self, socket: str, room_id: str, name: str, payload: dict[str, Any]) -> str | None:
        """Number and remember a signal; answer the socket to send it on to, None while the peer is away.

        Raises NotInRoom, RoomClosed, BadRole or PeerNotReady. `payload` is given its `seq`.
        """
        seat = self._seats.get(socket)
        if seat is None or seat.room_id != room_id:
            raise errors.NotInRoom()
        if seat.closed:
            raise errors.RoomClosed()
        sender = _SENDER.get(name)
        if sender is not None and seat.role != sender:
            raise errors.BadRole()
        if seat.peer_socket is None and not seat.is_peer_away:
            raise errors.PeerNotReady()
        seq = seat.seq + 1
        payload["seq"] = seq
        seat.remember(seq, name, payload)
        return None if seat.is_peer_away or seat.is_catching_up else seat.peer_socket

    def take_back(self, socket: str, seq: int) -> None:
        """Forget the last signal of a socket: it could not be sent on, and its sender is told to send it again."""
        seat = self._seats.get(socket)
        if seat is not None:
            seat.take_back(seq)

    def check_room(self, socket: str, room_id: str) -> None:
        """Raise NotInRoom or RoomClosed unless the socket is in that room."""
        seat = self._seats.get(socket)
        if seat is None or seat.room_id != room_id:
            raise errors.NotInRoom()
        if seat.closed:
            raise errors.RoomClosed()

    async def end_call(self, user_id: str, socket: str, room_id: str) -> PeerLeft | PartnerCancelled | None:
        """Hang up; raise NotInRoom, or RoomClosed where the partner was quicker."""
        closed = await self._rooms.close(room_id, user_id)
        if closed is None:
            if self._seats_of(socket, room_id):
                raise errors.RoomClosed()
            raise errors.NotInRoom()
        return await self._leave(user_id, closed, "ended")

    async def disconnect(
        self, user_id: str, socket: str, *, for_good: str | None = None
    ) -> PeerAway | PeerLeft | PartnerCancelled | None:
        """End the match, and interrupt the call, that this socket, and no other of the user, was part of.

        `for_good` says why there is no coming back.
        """
        await self._matchmaking.disconnect(user_id, socket)
        room_id = await self._rooms.room_of(user_id)
        # Until Redis has taken note, the seat stays: its caller tries again.
        seat = self._seats.pop(socket, None)
        if room_id is None:
            return None
        try:
            if for_good:
                closed = await self._rooms.close(room_id, user_id, condition=f"socket:{socket}")
                return await self._leave(user_id, closed, for_good) if closed else None
            sent = seat.handed_over() if seat is not None and seat.room_id == room_id else b""
            return await self.drop(user_id, room_id, socket, sent)
        except Exception:
            if seat is not None:
                self._seats[socket] = seat
            raise

    async def drop(
        self, user_id: str, room_id: str, socket: str, sent: bytes = b""
    ) -> PeerAway | PartnerCancelled | PeerLeft | None:
        """Interrupt a call, or end a match, whose member is gone; `socket` may be a dead worker's id and a dot."""
        match await self._rooms.drop(room_id, user_id, socket, sent):
            case Away(_, peer_socket):
                if not peer_socket:
                    return None
                await notify(self._bus, peer_socket, "peer_away", room_id)
                return PeerAway(peer_socket, math.ceil(self._rooms.grace.total_seconds()))
            case Closed() as closed:
                return await self._leave(user_id, closed, "disconnected")
        return None

    async def expire_grace(self, room_id: str, user_id: str) -> PeerLeft | PartnerCancelled | None:
        """End a call to which a member did not come back in time."""
        closed = await self._rooms.close(room_id, user_id, condition="away")
        return await self._leave(user_id, closed, "disconnected") if closed else None

    async def expire_room(self, room_id: str) -> list[PeerLeft]:
        """End a call that has reached the longest a call may last."""
        closed = await self._rooms.close(room_id, None, by="timeout")
        if closed is None:
            return []
        await self._end(closed)
        return [PeerLeft(member.socket, "timeout") for member in closed.members if member.socket]

    def seated(self) -> dict[str, list[tuple[str, Seat]]]:
        """The sockets of this worker that are in a room, by room id."""
        found: dict[str, list[tuple[str, Seat]]] = {}
        for socket, seat in self._seats.items():
            if not seat.closed:
                found.setdefault(seat.room_id, []).append((socket, seat))
        return found

    async def close_seats(self, room_id: str) -> None:
        """Note that a room which this worker has seats in is over."""
        for socket, _ in self.seated().get(room_id, []):
            await self._unseat(socket, room_id)

    async def _leave(self, user_id: str, closed: Closed, reason: str) -> PeerLeft | PartnerCancelled | None:
        if not closed.was_call:
            return await self._matchmaking.end_match(closed, user_id)
        await self._end(closed)
        peer = closed.peer_of(user_id)
        return PeerLeft(peer.socket, reason) if peer.socket else None

    async def _end(self, closed: Closed) -> None:
        for member in closed.members:
            if member.socket:
                await notify(self._bus, member.socket, "unseat", closed.room_id)
        await self._rows.end(closed.ended)
