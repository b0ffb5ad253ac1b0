"""Owns the server's record of who searches and who is in which room: the `match:*` keys of Redis.

    match:queue:{level}           who waits, by user id, scored by when they began (ms)
    match:queue:{level}:{topic}   the same, for those who named a topic
    match:searching:{userId}      a search, for 5 minutes: level, topic and socket, a line each, then its ticket
                                  {userId, socket, level, topic, since, card}
    match:rate:{level}:{minute}   matches made in that minute
    match:recent:{a}:{b}          that two learners met in the last ten minutes
    match:in_room:{userId}        the room a user is in
    match:room:{roomId}:users     its two members
    match:room:{roomId}:meta      createdAt topic level sessionId userAId userBId caller search:{userId} socket:{userId}

The brief's queue is a list; leaving a list costs its length, leaving a sorted set its logarithm. Each change is one Lua
script, so it happens whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

import errors
from adapters.scripts import Scripts

SEARCH_SECONDS = 5 * 60
ROOM_SECONDS = 2 * 60 * 60

LUA = Path(__file__).parent / "lua"


class Waiting(NamedTuple):
    """A search that nobody fits yet; `recent_matches` are those of its level in the last 5 minutes."""

    ahead: int
    recent_matches: int


class Paired(NamedTuple):
    """A room that has just been made; `partner` is the ticket of the one who waited."""

    partner: dict[str, Any]
    level: str
    topic: str | None


class Seat(NamedTuple):
    """A member's place in a room; `peer_socket` is empty until the peer has joined."""

    role: str
    peer_id: str
    peer_socket: str
    session_id: str


class Closed(NamedTuple):
    """A room that has just been closed by one of its members; `own_socket` is empty where they had not joined."""

    peer_id: str
    peer_socket: str
    was_joined: bool
    own_socket: str


class Rooms:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def find(
        self, ticket: dict[str, Any], room_id: str, session_id: str, avoid: Iterable[str] = ()
    ) -> Waiting | Paired:
        """Pair the ticket's user, with nobody of `avoid`, or put them in the queue.

        Raises AlreadySearching or AlreadyInRoom.
        """
        user_id = ticket["userId"]
        answer = await self._scripts.call(
            "find_partner",
            keys=[f"match:searching:{user_id}", f"match:in_room:{user_id}"],
            args=[
                *_held(ticket),
                room_id,
                session_id,
                SEARCH_SECONDS,
                ROOM_SECONDS,
                *avoid,
            ],
        )
        match answer:
            case ["waiting", ahead, recent]:
                return Waiting(int(ahead), int(recent))
            case ["matched", partner, level, topic]:
                return Paired(orjson.loads(partner), level, topic or None)
            case ["already_in_room"]:
                raise errors.AlreadyInRoom()
            case _:
                raise errors.AlreadySearching()

    async def leave_queue(self, user_id: str, socket: str = "") -> bool:
        """Take a user's search back, or only that of one socket; say whether there was one."""
        return bool(
            await self._scripts.call("leave_queue", keys=[f"match:searching:{user_id}"], args=[user_id, socket])
        )

    async def put_back(self, ticket: dict[str, Any]) -> None:
        """Give a search its old place in the queue, unless its user has moved on."""
        user_id = ticket["userId"]
        await self._scripts.call(
            "put_back",
            keys=[f"match:searching:{user_id}", f"match:in_room:{user_id}"],
            args=[*_held(ticket), SEARCH_SECONDS],
            idempotent=True,
        )

    async def room_of(self, user_id: str) -> str | None:
        room_id: Any = await self._scripts.execute("GET", f"match:in_room:{user_id}", idempotent=True)
        return room_id or None

    async def join(self, room_id: str, user_id: str, socket: str) -> Seat:
        """Bind a member's socket to the room; raise NotInRoom."""
        answer = await self._scripts.call("join_room", keys=_keys(room_id), args=[user_id, socket], idempotent=True)
        if answer[0] == "not_in_room":
            raise errors.NotInRoom()
        return Seat(*answer)

    async def close(self, room_id: str, user_id: str, socket: str = "", *, only_unjoined: bool = False) -> Closed:
        """Close a room for a member, or only if it is that socket's, or no call yet; raise NotInRoom."""
        answer = await self._scripts.call(
            "close_room", keys=_keys(room_id), args=[user_id, room_id, socket, int(only_unjoined)]
        )
        if answer[0] == "not_in_room":
            raise errors.NotInRoom()
        peer_id, peer_socket, was_joined, own_socket = answer
        return Closed(peer_id, peer_socket, bool(was_joined), own_socket)


def _held(ticket: dict[str, Any]) -> list[Any]:
    """What the scripts read of a ticket, and the ticket, which they only keep."""
    return [
        ticket["since"],
        ticket["userId"],
        ticket["level"],
        ticket["topic"],
        ticket["socket"],
        orjson.dumps(ticket),
    ]


def _keys(room_id: str) -> list[str]:
    return [f"match:room:{room_id}:meta", f"match:room:{room_id}:users"]
