"""Owns rooms as their members live them: entering, relaying the WebRTC negotiation, leaving.

The record of a room is in Redis (services/rooms.py). Each worker keeps a seat for each of its sockets that is in a
room, bound when it joins and when its peer joins, so that relaying looks nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import errors
from adapters.ports import Bus
from services.rooms import Closed, Rooms
from services.sessions import SessionsService

#: Who may send an event; either, where None.
_SENDERS = {"webrtc_offer": "caller", "webrtc_answer": "receiver", "webrtc_ice": None}


@dataclass(slots=True)
class Seat:
    """One socket's place in a room."""

    room_id: str
    role: str
    peer_socket: str | None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """`role` is that of the one who joined; `peer_socket` is who else should hear of it."""

    role: str
    peer_socket: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """A room somebody left. `was_joined` says that it was a call; else it was a match not yet joined by both."""

    peer_socket: str | None
    was_joined: bool


class SignalingService:
    def __init__(self, bus: Bus, rooms: Rooms, sessions: SessionsService) -> None:
        self._bus = bus
        self._rooms = rooms
        self._sessions = sessions
        self._seats: dict[str, Seat] = {}
        self._arriving: dict[str, Seat] = {}
        bus.on("seat", self._seat_peer)
        bus.on("unseat", self._unseat)

    async def join_room(self, user_id: str, socket: str, room_id: str) -> Joined:
        """Enter a room one was matched into; raise NotInRoom."""
        # The peer may join, and say so, before Redis's answer is here: there must be a seat to tell.
        seat = self._arriving[socket] = Seat(room_id, "", None)
        try:
            place = await self._rooms.join(room_id, user_id, socket)
        finally:
            del self._arriving[socket]
        seat.role, seat.peer_socket = place.role, seat.peer_socket or place.peer_socket or None
        self._seats[socket] = seat
        if place.peer_socket:
            await self._sessions.connect(room_id)
            await self._bus.send(place.peer_socket, "seat", room_id, socket)
        return Joined(place.role, place.peer_socket or None)

    async def _seat_peer(self, socket: str, room_id: str, peer_socket: str) -> None:
        for seat in self._seats_of(socket, room_id):
            seat.peer_socket = peer_socket

    async def _unseat(self, socket: str, room_id: str) -> None:
        for seat in self._seats_of(socket, room_id):
            seat.closed = True

    def _seats_of(self, socket: str, room_id: str) -> list[Seat]:
        held = (self._seats.get(socket), self._arriving.get(socket))
        return [seat for seat in held if seat is not None and seat.room_id == room_id]

    def relay(self, socket: str, room_id: str, name: str, payload: dict[str, Any]) -> str | None:
        """Answer who hears an event of the negotiation; raise NotInRoom, RoomClosed, BadRole or PeerNotReady."""
        role = _SENDERS[name]
        seat = self._seats.get(socket)
        if seat is None or seat.room_id != room_id:
            raise errors.NotInRoom()
        if seat.closed:
            raise errors.RoomClosed()
        if role is not None and seat.role != role:
            raise errors.BadRole()
        if seat.peer_socket is None:
            raise errors.PeerNotReady()
        return seat.peer_socket

    async def end_call(self, user_id: str, socket: str, room_id: str) -> Left:
        """Hang up; raise NotInRoom, or RoomClosed where the partner was quicker."""
        try:
            closed = await self._rooms.close(room_id, user_id)
        except errors.NotInRoom:
            if self._seats_of(socket, room_id):
                raise errors.RoomClosed() from None
            raise
        return await self._leave(user_id, socket, closed, room_id)

    async def disconnect(self, user_id: str, socket: str) -> Left | None:
        """End the search, the match or the call that this socket, and no other of the user, was part of."""
        self._seats.pop(socket, None)
        if await self._rooms.leave_queue(user_id, socket):
            return None
        room_id = await self._rooms.room_of(user_id)
        if room_id is None:
            return None
        try:
            closed = await self._rooms.close(room_id, user_id, socket)
        except errors.NotInRoom:
            return None
        return await self._leave(user_id, socket, closed, room_id)

    async def _leave(self, user_id: str, socket: str, closed: Closed, room_id: str) -> Left:
        await self._sessions.end(room_id, ended_by=user_id)
        await self._unseat(socket, room_id)
        # One's own seat may be that of another device.
        for seated in {closed.own_socket, closed.peer_socket} - {socket, ""}:
            await self._bus.send(seated, "unseat", room_id)
        return Left(closed.peer_socket or None, closed.was_joined)
