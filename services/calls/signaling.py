"""Owns calls as their members live them: entering the room, signalling, dropping and coming back, leaving.

The record of a room is in Redis (services/calls/rooms.py). Each worker keeps a seat for each of its sockets that is in
a room, bound when it joins and when its peer joins, so that relaying looks nothing up. A seat remembers what its member
has signalled; a peer that comes back, on whatever worker, is sent from there what it missed.

What a seat is let know of its room comes from several workers, in any order. Redis counts the joins of each member, and
from the count a seat tells what is older than what it knows.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Concatenate, Literal, NamedTuple, ParamSpec

import orjson

import errors
from adapters.ports import Bus
from services.bus_messages import Message
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService, PartnerCancelled
from services.calls.rooms import Away, Closed, Member, Role, Rooms
from wire import events

log = logging.getLogger("parlance.signaling")

#: What a seat remembers of what its member has signalled: more than a socket may send while its peer has time to come
#: back, and so many bytes.
_REMEMBERED, _REMEMBERED_BYTES = 512, 512 * 1024
#: `seq` counts on from here with each time a member joins the same room, so that it rises from one worker to the next.
_SEQ_OF_A_JOIN = 1 << 20
#: Who may send what; a candidate may come from both.
_SENDER = {"webrtc_offer": "caller", "webrtc_answer": "receiver"}


#: The peer has joined: room, its socket, its joins, the last `seq` it has, whether it asks again.
PEER_HERE: Message[[str, str, int, int | None, bool]] = Message("peer_here")
#: The peer's connection dropped: room, how often the peer had joined.
PEER_AWAY: Message[[str, int]] = Message("peer_away")
#: The room is over, or another socket has taken the place of this one with the join of that number: room, number.
UNSEAT: Message[[str, int | None]] = Message("unseat")

P = ParamSpec("P")
#: What is relayed of an offer, an answer or a candidate.
SignalPayload = events.Description | events.CandidateMessage
#: Why a call ended.
Reason = Literal["ended", "disconnected", "timeout", "banned"]


class Signal(NamedTuple):
    seq: int
    name: str
    payload: SignalPayload


@dataclass(slots=True)
class Seat:
    """One socket's place in a room."""

    room_id: str
    user_id: str
    role: Role | Literal[""] = ""
    peer_id: str = ""
    peer_socket: str | None = None
    #: Which of the peer's joins this seat knows of; and that the connection of that one dropped.
    peer_joins: int = 0
    is_peer_away: bool = False
    closed: bool = False
    #: What the peer is sent again, after it came back, is on its way; what is new follows it.
    is_catching_up: bool = False
    joins: int = 1
    seq: int = 0
    #: The last signal that was sent on to a peer who is away, or catching up.
    sent_on: int = 0
    sent: deque[bytes] = field(default_factory=deque)
    #: How many bytes are in `sent`.
    size: int = 0
    #: What it was let know while it was being taken.
    news: list[Callable[[Seat], Awaitable[None]]] = field(default_factory=list)

    def remember(self, seq: int, name: str, payload: SignalPayload) -> None:
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

    @property
    def last_sent_on(self) -> int:
        return self.sent_on if self.is_peer_away or self.is_catching_up else self.seq

    def lose_peer(self, joins: int) -> None:
        """Note that the connection with which the peer had joined is gone."""
        self.sent_on, self.peer_joins = self.last_sent_on, joins
        self.is_peer_away, self.is_catching_up = True, False

    def handed_over(self) -> bytes:
        """What the member's next socket needs, to go on where this one was."""
        sent = [orjson.Fragment(kept) for kept in self.sent]
        return orjson.dumps({"sent": sent, "sentOn": self.last_sent_on, "peerJoins": self.peer_joins})

    def take_over(self, handed_over: str, joins: int) -> None:
        self.joins, self.seq = joins, joins * _SEQ_OF_A_JOIN
        if handed_over:
            held = orjson.loads(handed_over)
            for each in held["sent"]:
                self.remember(*each)
            self.seq = max(self.seq, joins * _SEQ_OF_A_JOIN)
            # Whether or not the peer is there: nothing has been sent on from here.
            self.sent_on, self.peer_joins, self.is_peer_away = held["sentOn"], held["peerJoins"], True


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody entered a room, or came back to it.

    `peer_socket` is who else should hear of it. `is_back`: it was a call already. `replaced` is the socket whose place
    this one takes.
    """

    role: Role
    peer_socket: str | None
    is_back: bool
    replaced: str | None


@dataclass(frozen=True, slots=True)
class PeerAway:
    """A call whose other side dropped, and has `grace_seconds` to come back."""

    socket: str
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class PeerBack:
    """A call whose other side has come back, or goes on with another device."""

    socket: str


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A call that is over."""

    socket: str
    reason: Reason


#: Takes what the socket of a seat of this worker is to hear.
PeerListener = Callable[[PeerAway | PeerBack], Awaitable[None]]


class SignalingService:
    def __init__(self, bus: Bus, rooms: Rooms, rows: CallRecords, matchmaking: MatchmakingService) -> None:
        self._bus = bus
        self._rooms = rooms
        self._rows = rows
        self._matchmaking = matchmaking
        self._seats: dict[str, Seat] = {}
        self._arriving: dict[str, Seat] = {}
        self._listeners: list[PeerListener] = []
        PEER_HERE.on(bus, self._let_know(self._peer_here))
        PEER_AWAY.on(bus, self._let_know(self._peer_away))
        UNSEAT.on(bus, self._let_know(self._unseat))

    def on_peer_moved(self, listener: PeerListener) -> None:
        """Call `listener` when the peer of a socket of this worker has gone away from a call, or is back."""
        self._listeners.append(listener)

    async def join_room(self, user_id: str, socket: str, room_id: str, *, after: int | None = None) -> Joined:
        """Enter a room one was matched into, or come back to it; raise NotInRoom.

        `after` is the highest `seq` heard in this room: what the peer has signalled since is sent again.
        """
        # The peer may join, and say so, before Redis's answer is here: there must be a seat to tell.
        arriving = self._arriving[socket] = Seat(room_id, user_id)
        try:
            place = await self._rooms.join(room_id, user_id, socket, after)
        finally:
            del self._arriving[socket]
        seat = self._seat(socket, room_id)
        asks_again = seat is not None and seat.joins == place.joins
        if seat is None or not asks_again:
            seat = self._seats[socket] = arriving
            seat.take_over(place.sent, place.joins)
            seat.role, seat.peer_id = place.role, place.peer_id
        if place.peer_socket and asks_again:
            await self._peer_here(socket, seat, place.peer_socket, place.peer_joins, place.peer_after, False)
        elif place.peer_socket:
            since = seat.last_sent_on
            if place.peer_after is not None and place.peer_joins != seat.peer_joins:
                since = place.peer_after  # it came back while nobody was here who could have sent it anything
            await self._bind(seat, place.peer_socket, place.peer_joins, since)
        elif place.was_call:
            seat.lose_peer(place.peer_joins)
            await self._tell(PeerAway(socket, math.ceil(place.peer_grace.total_seconds())))
        if seat is arriving:
            for learn in arriving.news:
                if not seat.closed:
                    await learn(seat)
        if place.began_ms:
            await self._rows.begin(room_id, place.began_ms)
        if place.peer_socket:
            await PEER_HERE.send_if_there(self._bus, place.peer_socket, room_id, socket, place.joins, after, asks_again)
        if place.replaced:
            await UNSEAT.send_if_there(self._bus, place.replaced, room_id, place.joins)
        return Joined(place.role, place.peer_socket or None, place.was_call, place.replaced or None)

    def _let_know(
        self, learn: Callable[Concatenate[str, Seat, P], Awaitable[None]]
    ) -> Callable[Concatenate[str, str, P], Awaitable[None]]:
        """Return the handler of a message about a room: `learn` is called with the seat that it is for."""

        async def handle(socket: str, room_id: str, /, *what: P.args, **none: P.kwargs) -> None:
            arriving, seat = self._arriving.get(socket), self._seat(socket, room_id)
            if arriving is not None and arriving.room_id == room_id:
                arriving.news.append(lambda seat: learn(socket, seat, *what, **none))
            if seat is not None and not seat.closed:
                await learn(socket, seat, *what, **none)

        return handle

    async def _peer_here(
        self, socket: str, seat: Seat, peer_socket: str, joins: int, after: int | None, asks_again: bool
    ) -> None:
        """Bind the peer's new socket, once it has been sent what the peer missed."""
        is_new = joins > seat.peer_joins
        if is_new and (seat.peer_joins or seat.is_peer_away):
            await self._tell(PeerBack(socket))
        if is_new or (asks_again and joins == seat.peer_joins and not seat.is_peer_away):
            # Without `after`, another device that takes over is sent nothing again.
            await self._bind(seat, peer_socket, joins, seat.last_sent_on if after is None else after)

    async def _bind(self, seat: Seat, peer_socket: str, joins: int, since: int) -> None:
        seat.peer_socket, seat.peer_joins = peer_socket, joins
        seat.is_peer_away, seat.is_catching_up, seat.sent_on = False, True, since
        while missed := seat.since(seat.sent_on):
            for signal in missed:
                if seat.is_peer_away or seat.peer_joins != joins:
                    return  # it dropped again, or another socket has come
                try:
                    await self._bus.send(peer_socket, "emit", signal.name, signal.payload)
                except errors.Unavailable:
                    seat.lose_peer(joins - 1)  # as if it had not come
                    return
                seat.sent_on = signal.seq
        seat.is_catching_up = False

    async def _peer_away(self, socket: str, seat: Seat, joins: int) -> None:
        if (joins, True) <= (seat.peer_joins, seat.is_peer_away):
            return
        seat.lose_peer(joins)
        await self._tell(PeerAway(socket, math.ceil(self._rooms.grace.total_seconds())))

    async def _unseat(self, socket: str, seat: Seat, joins: int | None = None) -> None:
        """Close a seat: its room is over, or, with `joins`, another socket has taken its place with that join."""
        if joins is None or seat.joins < joins:
            seat.closed = True
            seat.sent.clear()

    async def _tell(self, moved: PeerAway | PeerBack) -> None:
        for listener in self._listeners:
            await listener(moved)

    def _seat(self, socket: str, room_id: str) -> Seat | None:
        seat = self._seats.get(socket)
        return seat if seat is not None and seat.room_id == room_id else None

    def relay(self, socket: str, room_id: str, name: str, payload: SignalPayload) -> str | None:
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
        seat = self._seat(socket, room_id)
        if seat is None:
            raise errors.NotInRoom()
        if seat.closed:
            raise errors.RoomClosed()

    async def end_call(self, user_id: str, socket: str, room_id: str) -> PeerLeft | PartnerCancelled | None:
        """Hang up; raise NotInRoom, or RoomClosed where the partner was quicker."""
        seat = self._seat(socket, room_id)
        closed = await self._rooms.close(room_id, user_id)
        if closed is None and seat is not None:
            closed = await self._close_lost(socket, seat)
            if closed is None:
                raise errors.RoomClosed()
        if closed is None:
            raise errors.NotInRoom()
        return await self._leave(user_id, closed, "ended")

    async def _close_lost(self, socket: str, seat: Seat) -> Closed | None:
        """Close a room that Redis has lost, before it is made again; None where it has not."""
        ended = await self._rooms.end_lost(seat.room_id, seat.user_id, seat.peer_id) if not seat.closed else None
        if ended is None:
            return None
        peer_socket = "" if seat.is_peer_away else seat.peer_socket or ""
        members = Member(seat.user_id, socket, None), Member(seat.peer_id, peer_socket, None)
        return Closed(seat.room_id, bool(seat.peer_joins), True, members, ended)

    async def disconnect(
        self, user_id: str, socket: str, *, for_good: Literal["banned", "disconnected"] | None = None
    ) -> PeerLeft | PartnerCancelled | None:
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
    ) -> PartnerCancelled | PeerLeft | None:
        """Interrupt a call, or end a match, whose member is gone; `socket` may be a dead worker's id and a dot."""
        match await self._rooms.drop(room_id, user_id, socket, sent):
            case Away(peer_socket, joins):
                if peer_socket:
                    await PEER_AWAY.send_if_there(self._bus, peer_socket, room_id, joins)
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
        for socket, seat in self.seated().get(room_id, []):
            await self._unseat(socket, seat)

    async def _leave(self, user_id: str, closed: Closed, reason: Reason) -> PeerLeft | PartnerCancelled | None:
        if not closed.was_call:
            return await self._matchmaking.end_match(closed, user_id)
        await self._end(closed)
        peer = closed.peer_of(user_id)
        return PeerLeft(peer.socket, reason) if peer.socket else None

    async def _end(self, closed: Closed) -> None:
        for member in closed.members:
            if member.socket:
                await UNSEAT.send_if_there(self._bus, member.socket, closed.room_id, None)
        await self._rows.end(closed.ended)
