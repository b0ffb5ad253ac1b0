"""Owns finding a partner."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import errors
from adapters.counting import Histogram
from adapters.database import Database
from adapters.ports import Bus
from models import Level
from services.bus_messages import Message
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.rooms import Closed, Member, PartnerLevel, Rooms, Ticket, Waiting

log = logging.getLogger("parlance.matchmaking")

#: Seconds told to the first searcher of a quiet hour, when there is no rate to go by.
UNKNOWN_WAIT = 60
#: What the row of a call holds of its topic.
TOPIC_LENGTH = 60
#: Who searches, and the ids of those whom they must not meet.
_SEEKER = """
    SELECT u.is_banned, p.username, p.display_name, p.avatar_url, p.english_level, array_to_string(ARRAY(
        SELECT blocked_id FROM blocks WHERE blocker_id = u.id
        UNION SELECT blocker_id FROM blocks WHERE blocked_id = u.id
        UNION SELECT reported_id FROM reports WHERE reporter_id = u.id
        UNION SELECT reporter_id FROM reports WHERE reported_id = u.id
    ), ' ')
    FROM users u JOIN profiles p ON p.user_id = u.id WHERE u.id = $1"""
#: How many searches are put back at once.
_RESTORED_AT_ONCE = 50
#: The search of a socket waits in the queue.
SEARCH_WAITS: Message[[Ticket]] = Message("search_waits")
#: The search of a socket has ended without a match.
SEARCH_OVER: Message[[]] = Message("search_over")
#: The search of a socket has ended with a match: user, the partner's name, room, session.
MATCHED: Message[[str, str, str, str]] = Message("matched")
#: Takes a user, the name of their partner, the room and the session.
MatchListener = Callable[[str, str, str, str], Awaitable[None]]
#: Seconds that a search took.
WAIT_BOUNDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True)
class Partner:
    """One side of a match as the other sees it, and the socket that searched."""

    user_id: str
    display_name: str
    avatar_url: str | None
    level: PartnerLevel
    socket: str


@dataclass(frozen=True, slots=True)
class Match:
    """Two learners and their room. `waiting` waited, `seeker` came."""

    room_id: str
    session_id: str
    level: Level
    topic: str | None
    waiting: Partner
    seeker: Partner


@dataclass(frozen=True, slots=True)
class Searching:
    """A search that waits, and the socket that searches."""

    socket: str
    estimated_wait_seconds: int


@dataclass(frozen=True, slots=True)
class SearchExpired:
    """A search that found nobody in its time."""

    socket: str


@dataclass(frozen=True, slots=True)
class PartnerCancelled:
    """A match that came to nothing, for the one who is left; `then` they search on, at the head of the queue."""

    socket: str
    then: Searching | Match | None


class MatchmakingService:
    """Searching, and what becomes of a match until both have joined its room."""

    def __init__(
        self, bus: Bus, database: Database, rooms: Rooms, sessions: CallHistoryService, rows: CallRecords
    ) -> None:
        #: Pairs made here, and how long the one who waited had, in seconds; both by level.
        self.matches: defaultdict[Level, int] = defaultdict(int)
        self.waits: defaultdict[Level, Histogram] = defaultdict(lambda: Histogram(WAIT_BOUNDS))
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._sessions = sessions
        self._rows = rows
        #: The searches of this worker's sockets, in case Redis forgets them.
        self._waiting: dict[str, Ticket] = {}
        #: The sockets of this worker, and those whose app is in the background.
        self._connected: set[str] = set()
        self._in_background: set[str] = set()
        self._listeners: list[MatchListener] = []
        self._telling: set[asyncio.Task[None]] = set()
        SEARCH_WAITS.on(bus, self._search_waits)
        MATCHED.on(bus, self._matched)
        SEARCH_OVER.on(bus, self._search_over)

    def on_match_in_background(self, listener: MatchListener) -> None:
        """Call `listener` when somebody is matched whose app is in the background."""
        self._listeners.append(listener)

    def connect(self, socket: str) -> None:
        """Note that a socket of this worker may search."""
        self._connected.add(socket)

    def app_state(self, socket: str, *, background: bool) -> None:
        """Note where the app of a socket of this worker is."""
        (self._in_background.add if background else self._in_background.discard)(socket)

    async def find_partner(
        self, user_id: str, socket: str, *, level: Level, topic: str | None
    ) -> Searching | Match | PartnerCancelled | None:
        """Pair the user, or let them wait.

        Raises Banned, ProfileIncomplete, AlreadySearching, AlreadyInRoom. Where the user's socket is gone by then,
        answers None, or what the one they were paired with is to hear.
        """
        # Folding case can make a text longer than it was.
        topic = " ".join((topic or "").split()).casefold()[:TOPIC_LENGTH]
        return await self._unless_gone(user_id, socket, await self._find(user_id, socket, level, topic))

    async def _unless_gone(
        self, user_id: str, socket: str, outcome: Searching | Match
    ) -> Searching | Match | PartnerCancelled | None:
        if socket in self._connected:
            return outcome
        # Cut off meanwhile, when there was nothing yet that `disconnect` could have found.
        if isinstance(outcome, Searching):
            return None
        closed = await self._rooms.close(outcome.room_id, user_id, condition="unjoined")
        return await self.end_match(closed, user_id) if closed else None

    async def _find(
        self, user_id: str, socket: str, level: Level, topic: str, *, place: int | str = "", at_head: bool = False
    ) -> Searching | Match:
        """`place` is that of `Rooms.find`; `at_head`: it was given at the head of the queue."""
        seeker, avoid = await self._partner(user_id, socket)
        ticket: Ticket = {
            "userId": user_id,
            "socket": socket,
            "level": level,
            "topic": topic,
            "card": {"displayName": seeker.display_name, "avatarUrl": seeker.avatar_url, "level": seeker.level},
        }
        if at_head:
            # Its place is older than its search, so nothing tells how long it has waited.
            ticket["atHead"] = True
        while True:
            room_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
            outcome = await self._rooms.find(ticket, room_id, session_id, avoid, place=place)
            if isinstance(outcome, Waiting):
                try:
                    await SEARCH_WAITS.send(self._bus, socket, outcome.ticket)
                except errors.Unavailable:
                    # A worker that died, whose searches may have been looked after before this one was there.
                    await self._rooms.leave_queue(user_id, socket)
                return Searching(socket, self._estimate(outcome))
            held = outcome.partner
            try:
                await self._sessions.start(
                    session_id,
                    room_id,
                    held["userId"],
                    user_id,
                    outcome.topic,
                    outcome.level,
                    None if held.get("atHead") else outcome.waited_ms,
                )
            except BaseException:
                # No row, no call: the one who waited goes back to where they stood, unless they have gone away.
                if closed := await self._rooms.close(room_id, user_id, by="error"):
                    await self._rooms.done("end", *closed.ended)
                    await self._rooms.put_back(held)
                raise
            if await self._rooms.announce(room_id):
                self.matches[outcome.level] += 1
                if not held.get("atHead"):
                    self.waits[outcome.level].add(outcome.waited_ms / 1000)
                waiting = _partner_of(held)
                # Each one's own worker knows whether they look. The one who came may have been put back to search on.
                for me, partner in ((waiting, seeker), (seeker, waiting)):
                    await MATCHED.send_if_there(
                        self._bus, me.socket, me.user_id, partner.display_name, room_id, session_id
                    )
                return Match(room_id, session_id, outcome.level, outcome.topic, waiting, seeker)
            # The one who waited went away before there was a row to end.
            await self._sessions.end(room_id, ended_by=held["userId"])

    async def cancel_search(self, user_id: str, socket: str) -> PartnerCancelled | None:
        """Stop searching, or refuse a match that has not become a call; raise NotSearching."""
        ticket = await self._rooms.leave_queue(user_id)
        if ticket is not None:
            await SEARCH_OVER.send_if_there(self._bus, ticket["socket"])
            return None
        room_id = await self._rooms.room_of(user_id)
        closed = await self._rooms.close(room_id, user_id, condition="unjoined") if room_id else None
        if closed is None:
            if room_id is None and self._waiting.pop(socket, None) is not None:
                return None  # Redis has lost it, and is not to be given it again
            raise errors.NotSearching()
        return await self.end_match(closed, user_id)

    async def disconnect(self, user_id: str, socket: str) -> None:
        """Take back the search of a socket that is gone."""
        self._connected.discard(socket)
        self._in_background.discard(socket)
        self._waiting.pop(socket, None)
        await self._rooms.leave_queue(user_id, socket)

    async def expire_search(self, user_id: str) -> SearchExpired | None:
        """End a search whose time is over."""
        ticket = await self._rooms.leave_queue(user_id)
        if ticket is None:
            return None
        await SEARCH_OVER.send_if_there(self._bus, ticket["socket"])
        return SearchExpired(ticket["socket"])

    async def expire_match(self, room_id: str) -> list[PartnerCancelled]:
        """End a match that did not become a call in time; whoever came searches on, whoever did not, does not."""
        closed = await self._rooms.close(room_id, None, condition="unjoined", by="timeout")
        if closed is None:
            return []
        await self._rows.end(closed.ended)
        told = []
        for member in closed.members:
            if member.socket:
                told.append(await self._search_on(member))
            elif member.ticket:
                told.append(PartnerCancelled(member.ticket["socket"], None))
        return told

    async def end_match(self, closed: Closed, user_id: str) -> PartnerCancelled | None:
        """Finish a match that this user ended before both had joined: the other searches on."""
        await self._rows.end(closed.ended)
        peer = closed.peer_of(user_id)
        if not closed.announced and peer is closed.members[1]:
            return None  # their own search has not come to an end yet
        return await self._search_on(peer) if peer.socket or peer.ticket else None

    async def _search_on(self, member: Member) -> PartnerCancelled:
        """Let the one who is left search again, before everybody else."""
        ticket = member.ticket
        if ticket is None:  # Redis lost it
            return PartnerCancelled(member.socket, None)
        socket = member.socket or ticket["socket"]
        try:
            found = await self._find(
                member.user_id, socket, ticket["level"], ticket["topic"], place="head", at_head=True
            )
        except errors.ProductError as error:
            log.info("a search could not go on: %s", error.code)
            return PartnerCancelled(socket, None)
        return PartnerCancelled(socket, found)

    async def restore(self) -> AsyncIterator[Match | PartnerCancelled]:
        """Put this worker's searches back into a Redis that has lost them, where they may meet somebody at once."""
        waiting = sorted(self._waiting.values(), key=lambda ticket: int(ticket["since"]))
        for begin in range(0, len(waiting), _RESTORED_AT_ONCE):
            batch = waiting[begin : begin + _RESTORED_AT_ONCE]
            for outcome in await asyncio.gather(*map(self._restore, batch)):
                if isinstance(outcome, Match | PartnerCancelled):
                    yield outcome

    async def _restore(self, ticket: Ticket) -> Searching | Match | PartnerCancelled | None:
        user_id, socket, since = ticket["userId"], ticket["socket"], ticket["since"]
        if self._waiting.get(socket) is not ticket:
            return None  # it is over
        try:
            # One that began since then has met nobody of a worker that Redis did not know.
            await self._rooms.leave_queue(user_id, socket)
            found = await self._find(
                user_id, socket, ticket["level"], ticket["topic"], place=since, at_head=ticket.get("atHead", False)
            )
            return await self._unless_gone(user_id, socket, found)
        except (errors.AlreadySearching, errors.AlreadyInRoom, errors.Banned, errors.ProfileIncomplete) as error:
            log.info("a search was not put back: %s", error.code)
        except Exception as error:  # most likely PostgreSQL is away
            log.warning("a search is put back, and meets nobody: %s: %s", type(error).__name__, error)
            await self._rooms.put_back(ticket)
        return None

    async def _search_waits(self, socket: str, ticket: Ticket) -> None:
        if socket in self._connected:
            self._waiting[socket] = ticket
        else:
            await self._rooms.leave_queue(ticket["userId"], socket)

    async def _search_over(self, socket: str) -> None:
        self._waiting.pop(socket, None)

    async def _matched(self, socket: str, user_id: str, partner_name: str, room_id: str, session_id: str) -> None:
        self._waiting.pop(socket, None)
        if socket in self._in_background:
            # Apart: whoever sent this should not wait for PostgreSQL, nor should what comes after it.
            task = asyncio.create_task(self._tell(user_id, partner_name, room_id, session_id))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, *match: str) -> None:
        for listener in self._listeners:
            try:
                await listener(*match)
            except Exception as error:
                log.warning("a match could not be told to the background: %s: %s", type(error).__name__, error)

    def _estimate(self, waiting: Waiting) -> int:
        """Seconds until as many matches as there are people ahead, at the rate of the last 5 minutes."""
        longest = int(self._rooms.search.total_seconds())
        if waiting.recent_matches == 0:
            return min(longest, UNKNOWN_WAIT)
        return min(longest, max(1, math.ceil((waiting.ahead + 1) * 300 / waiting.recent_matches)))

    async def _partner(self, user_id: str, socket: str) -> tuple[Partner, list[str]]:
        """Read who searches, and whom they must not meet: blocks and reports count both ways."""
        found = await self._database.fetch_one(_SEEKER, user_id)
        if found is None:
            raise errors.Banned("This account is gone.")
        is_banned, username, display_name, avatar_url, english_level, avoided = found
        if is_banned:
            raise errors.Banned()
        if username is None or english_level is None:
            raise errors.ProfileIncomplete()
        return Partner(user_id, display_name or username, avatar_url, english_level, socket), avoided.split()


def _partner_of(ticket: Ticket) -> Partner:
    card = ticket["card"]
    return Partner(ticket["userId"], card["displayName"], card["avatarUrl"], card["level"], ticket["socket"])
