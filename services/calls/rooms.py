"""Owns the server's record of who searches and who is in which room: the `match:*` keys of Redis.

    match:queue:{level}           who waits, by user id, scored by when they began (µs)
    match:queue:{level}:{topic}   the same, for those who named a topic
    match:searching:{userId}      a search, for 5 minutes: level, topic, socket and beginning (µs), a line each, and the
                                  ticket: {userId, socket, level, topic, card}
    match:rate:{level}:{minute}   matches made in that minute
    match:recent:{a}:{b}          that two learners were in a room in the last ten minutes
    match:in_room:{userId}        the room a user is in and, a line below, the ticket they came with
    match:room:{roomId}:users     its two members
    match:room:{roomId}:meta      createdAt topic level sessionId userAId userBId caller announced connected, and of
                                  each socket:{userId} joins:{userId} heard:{userId} away:{userId} log:{userId}
    match:due                     what is to happen next, scored by when (ms): search:{userId} join:{roomId}
                                  begin:{roomId}:{ms} grace:{roomId}:{userId} room:{roomId}
                                  end:{roomId}:{by}:{lasted ms, -1 for no call}:{ms}

Finds, and leaves, of one turn of the event loop are one run of their script.

The brief's queue is a list; leaving a list costs its length, leaving a sorted set its logarithm. Each change is one Lua
script, so it happens whole or not at all, by Redis's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, get_args

import orjson

import errors
from adapters.scripts import Scripts
from models import Level

ROOM_SECONDS = 2 * 60 * 60
#: The levels of a conversation, each with its queue.
LEVELS: tuple[Level, ...] = get_args(Level)
#: The first to join is the caller.
Role = Literal["caller", "receiver"]
#: A learner's own level, as `EnglishLevel` has it.
PartnerLevel = Literal["beginner", "intermediate", "advanced"]

#: Milliseconds until something due that was taken, and not done, is taken again; and how many are taken at once.
_LEASE, _BATCH = 5000, 100
#: Scripts that may be run again where a connection broke before their answer came.
_IDEMPOTENT = {"put_back", "announce_match", "join_room", "take_due", "restore_room"}
LUA = Path(__file__).parent / "lua"


class Card(TypedDict):
    """What a partner is shown of a searcher."""

    displayName: str
    avatarUrl: str | None
    level: PartnerLevel


class Ticket(TypedDict):
    """A search, as Redis keeps it and the bus carries it."""

    userId: str
    socket: str
    level: Level
    #: Empty for none.
    topic: str
    card: Card
    #: Since when it waits (µs), by Redis's clock; not part of what Redis keeps.
    since: NotRequired[int]
    #: Whether its place was given at the head of the queue.
    atHead: NotRequired[bool]


class Waiting(NamedTuple):
    """A search that nobody fits yet; `recent_matches` are those of its level in the last 5 minutes."""

    ahead: int
    recent_matches: int
    ticket: Ticket


class Paired(NamedTuple):
    """A room that has just been made; `partner` is the ticket of the one who waited, `waited_ms` how long."""

    partner: Ticket
    level: Level
    topic: str | None
    waited_ms: int


class Place(NamedTuple):
    """A member's place in a room, as joining it gives it.

    `peer_socket` is empty while the peer is not there; `peer_joins` is how often it has joined, `peer_after` the last
    signal that it had heard by then. `began_ms`: when this join made the room a call, by Redis's clock, or empty;
    `was_call`: it was one. `replaced` is the socket of the same user that this one takes over from, or empty. `sent` is
    what an earlier socket of the user handed over.
    """

    role: Role
    peer_id: str
    peer_socket: str
    began_ms: str
    was_call: bool
    replaced: str
    joins: int
    sent: str
    peer_grace: timedelta
    peer_joins: int
    peer_after: int | None


class Member(NamedTuple):
    """One of the two of a room that was closed; `socket` is empty where they had not joined or were away."""

    user_id: str
    socket: str
    ticket: Ticket | None


class Ended(NamedTuple):
    """What the row of a closed room is still to say, as `match:due` has it: by whom, for how long it was a call, when.

    `lasted_ms` is -1 where it never was one; `at_ms` is by Redis's clock.
    """

    room_id: str
    by: str
    lasted_ms: str
    at_ms: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A room that has just been closed; `was_call`: both had joined, `announced`: they were told of the match.

    The first of the members waited, the second came.
    """

    room_id: str
    was_call: bool
    announced: bool
    members: tuple[Member, Member]
    ended: Ended

    def peer_of(self, user_id: str) -> Member:
        return self.members[1] if self.members[0].user_id == user_id else self.members[0]


class Away(NamedTuple):
    """A member of a call whose socket is gone; `peer_socket` is empty where the peer is away too.

    `joins` is how often the member had joined.
    """

    peer_socket: str
    joins: int


class Rooms:
    def __init__(
        self,
        scripts: Scripts,
        *,
        search: timedelta = timedelta(minutes=5),
        join: timedelta = timedelta(seconds=20),
        grace: timedelta = timedelta(seconds=10),
    ) -> None:
        """How long one searches, a match waits for both to join, and a call for one whose connection dropped."""
        self._scripts = scripts
        self.search, self.join_deadline, self.grace = search, join, grace
        self._search_ms, self._join_ms, self._grace_ms = (
            int(each / timedelta(milliseconds=1)) for each in (search, join, grace)
        )

    async def _run(self, script: str, keys: list[str], *arguments: str | bytes | int) -> Any:
        return await self._scripts.call(script, keys, arguments, idempotent=script in _IDEMPOTENT)

    async def find(
        self, ticket: Ticket, room_id: str, session_id: str, avoid: Iterable[str] = (), *, place: int | str = ""
    ) -> Waiting | Paired:
        """Pair the ticket's user, with nobody of `avoid`, or put them in the queue.

        `place`: at its end, at its `head`, or where one has stood since a moment (µs).
        Raises AlreadySearching or AlreadyInRoom.
        """
        me = (ticket["userId"], ticket["level"], ticket["topic"], ticket["socket"], _packed(ticket))
        answer = await self._scripts.call_together(
            "find_partner",
            ("match:due",),
            (self._search_ms, self._join_ms, ROOM_SECONDS),
            (*me, room_id, session_id, place, " ".join(avoid)),
        )
        match answer:
            case ["waiting", ahead, recent, since]:
                return Waiting(int(ahead), int(recent), {**ticket, "since": int(since)})
            case ["matched", partner, since, level, topic, waited]:
                held: Ticket = orjson.loads(partner)
                return Paired({**held, "since": int(since)}, level, topic or None, int(waited))
            case ["already_in_room"]:
                raise errors.AlreadyInRoom()
            case _:
                raise errors.AlreadySearching()

    async def leave_queue(self, user_id: str, socket: str = "") -> Ticket | None:
        """Take a user's search back, or only that of one socket; answer its ticket, None where there was none."""
        held = await self._scripts.call_together("leave_queue", ("match:due",), (), (user_id, socket))
        return orjson.loads(held) if held else None

    async def put_back(self, ticket: Ticket) -> None:
        """Give a search its old place in the queue, unless its user has moved on."""
        user_id = ticket["userId"]
        keys = [f"match:searching:{user_id}", f"match:in_room:{user_id}", "match:due"]
        place = (user_id, ticket["level"], ticket["topic"], ticket["socket"], ticket["since"])
        await self._run("put_back", keys, *place, _packed(ticket), self._search_ms)

    async def room_of(self, user_id: str) -> str | None:
        held: str | None = await self._scripts.execute("GET", f"match:in_room:{user_id}", idempotent=True)
        return held.partition("\n")[0] if held else None

    async def announce(self, room_id: str) -> bool:
        """Note that both are told of a match; say whether both are still there."""
        return bool(await self._run("announce_match", [f"match:room:{room_id}:meta"]))

    async def join(self, room_id: str, user_id: str, socket: str, after: int | None = None) -> Place:
        """Bind a member's socket to the room, who has heard all up to `after`; raise NotInRoom."""
        heard = "" if after is None else after
        answer = await self._run("join_room", _keys(room_id), user_id, socket, room_id, heard)
        if answer[0] == "not_in_room":
            raise errors.NotInRoom()
        role, peer_id, peer_socket, began, was_call, replaced, joins, sent, grace, peer_joins, peer_after = answer
        return Place(
            role,
            peer_id,
            peer_socket,
            began or "",
            bool(was_call),
            replaced,
            int(joins),
            sent,
            timedelta(milliseconds=int(grace)),
            int(peer_joins),
            int(peer_after) if peer_after else None,
        )

    async def drop(self, room_id: str, user_id: str, socket: str, sent: bytes = b"") -> Away | Closed | None:
        """Note that a member's socket is gone; None where the room knows another one, or is not there.

        A call waits for the member to come back; a match that was not joined by both is closed. `socket` may also be
        the id of a dead worker and a dot.
        """
        keys = [f"match:room:{room_id}:meta", "match:due"]
        match await self._run("drop_socket", keys, user_id, room_id, socket, self._grace_ms, sent):
            case ["away", peer_socket, joins]:
                return Away(peer_socket, int(joins))
            case ["unjoined"]:
                return await self.close(room_id, user_id, condition="unjoined")
        return None

    async def close(
        self, room_id: str, user_id: str | None, *, condition: str = "", by: str | None = None
    ) -> Closed | None:
        """Close a room for a member; None where it is gone, they are no member, or the condition does not hold.

        `condition`: `unjoined`, while it is no call; `away`, when that member's grace is over; `socket:{id}`, while
        they are there with that socket. `by` is what the call's row will say ended it: the member, when None.
        """
        answer = await self._run("close_room", _keys(room_id), user_id or "", room_id, condition, by or user_id or "")
        if answer[0] == "not_in_room":
            return None
        lasted, at, announced, *members = answer
        one, other = (
            Member(user, socket, orjson.loads(ticket) if ticket else None)
            for user, socket, ticket in (members[:3], members[3:])
        )
        ended = Ended(room_id, by or user_id or "", lasted, at)
        return Closed(room_id, lasted != "-1", bool(announced), (one, other), ended)

    async def end_lost(self, room_id: str, user_id: str, peer_id: str) -> Ended | None:
        """Note that a member has ended a room that Redis has lost; None where it has not."""
        at = await self._run("end_lost_room", _keys(room_id), user_id, peer_id, room_id)
        return Ended(room_id, user_id, "-1", at) if at else None

    async def restore(
        self,
        room_id: str,
        session_id: str,
        user_ids: tuple[str, str],
        *,
        is_call: bool,
        left: timedelta,
        member: str = "",
        socket: str = "",
        caller: str = "",
        joins: int = 0,
        peer_joins: int = 0,
    ) -> bool:
        """Make a room again that Redis has lost, and seat `member`; whoever is not seated has time to come back.

        Says whether it could: its members may have gone on to another one.
        `joins` and `peer_joins` are how often the member, and the other, had joined.
        """
        grace = self._grace_ms if is_call else self._join_ms
        seconds = max(1, int(left.total_seconds()))
        seat = (member, socket, caller, joins, peer_joins)
        restored = await self._run(
            "restore_room", _keys(room_id), room_id, session_id, *user_ids, int(is_call), seconds, grace, *seat
        )
        return bool(restored)

    async def take_due(self) -> list[list[str]]:
        """Take what is due, each entry split at its colons; `done` takes it off, or it comes again in 5 seconds."""
        return [entry.split(":") for entry in await self._run("take_due", ["match:due"], _BATCH, _LEASE)]

    async def ago(self, at_ms: str) -> timedelta:
        """Say for how long a moment of Redis's clock has passed."""
        seconds, microseconds = await self._scripts.execute("TIME", idempotent=True)
        return max(
            timedelta(), timedelta(seconds=int(seconds), microseconds=int(microseconds), milliseconds=-int(at_ms))
        )

    async def done(self, *entry: str) -> None:
        await self._scripts.execute("ZREM", "match:due", ":".join(entry), idempotent=True)

    async def searching(self) -> int:
        """Count who waits for a partner."""
        return sum((await self.searching_by_level()).values())

    async def searching_by_level(self) -> dict[str, int]:
        """Count who waits for a partner, by level."""
        queues = [self._scripts.execute("ZCARD", f"match:queue:{level}", idempotent=True) for level in LEVELS]
        return dict(zip(LEVELS, await asyncio.gather(*queues), strict=True))

    async def searches(self) -> AsyncIterator[Ticket]:
        """Walk every search there is."""
        async for _, held in self._walk("match:searching:*"):
            yield orjson.loads(held.split("\n", 4)[4])

    async def members(self) -> AsyncIterator[tuple[str, str]]:
        """Walk everybody who is in a room: user and room id."""
        async for key, held in self._walk("match:in_room:*"):
            yield key.rpartition(":")[2], held.partition("\n")[0]

    async def _walk(self, pattern: str) -> AsyncIterator[tuple[str, str]]:
        cursor = "0"
        while True:
            cursor, keys = await self._scripts.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, idempotent=True)
            values = await self._scripts.execute("MGET", *keys, idempotent=True) if keys else []
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    yield key, value
            if cursor == "0":
                return


def _packed(ticket: Ticket) -> bytes:
    """A ticket as Redis keeps it, which has its place in the queue beside it."""
    return orjson.dumps({key: value for key, value in ticket.items() if key != "since"})


def _keys(room_id: str) -> list[str]:
    return [f"match:room:{room_id}:meta", f"match:room:{room_id}:users", "match:due"]
