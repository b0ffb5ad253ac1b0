"""Matchmaking: searches in the queue, and matches until both learners have joined their room."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

import errors
import spans
from adapters.database import Database
from adapters.ports import Bus
from models import Level
from pairing_settings import PLATFORMS, POOL_KINDS
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.fit import list_accepted_levels
from services.calls.match_starts import MatchStarts
from services.calls.outcomes import Match, Outcome, PartnerCancelled, SearchExpired, Searching, SearchRefused
from services.calls.own_searches import OwnSearches
from services.calls.pools import ANYONE, PARTNERS, Pools, allow_pair
from services.calls.room_messages import SEARCH_OVER, SEARCH_WAITS, close_participants
from services.calls.room_state import ClosedRoom, Queued, QueueEntry
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, Wishes, build_entry, read_seeker
from services.calls.wait_estimates import WaitEstimates
from services.safety.gates import Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT
from services.safety.text_filter import TextFilter

log = logging.getLogger("parlance.matchmaking")

#: Characters of the column `call_sessions.topic`.
MAX_TOPIC_LENGTH = 60
#: Searches restored at once.
RESTORE_BATCH_SIZE = 50
#: Errors of a learner who may not be paired, which end a search.
PAIRING_REFUSED = (
    errors.GateClosed,
    errors.PairingOnHold,
    errors.AccountSuspended,
    errors.PoolClosed,
    errors.NotEnrolled,
    errors.Resting,
)

#: Errors after which a search that waited is not in the queue, or not for long: its end comes from elsewhere.
NOT_CONTINUED = (
    errors.AlreadySearching,
    errors.AlreadyInRoom,
    errors.NotSearching,
    errors.Banned,
    errors.ProfileIncomplete,
)


class MatchmakingService:
    def __init__(
        self,
        bus: Bus,
        database: Database,
        rooms: Rooms,
        history: CallHistoryService,
        records: CallRecords,
        gates: Gates,
        text_filter: TextFilter,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
        *,
        pools: Pools | None = None,
        estimates: WaitEstimates | None = None,
    ) -> None:
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._starts = MatchStarts(bus, rooms, history)
        #: Matches made by this web process, and how long their searches had waited, by level.
        self.matches, self.waits = self._starts.matches, self._starts.waits
        self._pools = pools or Pools(database, dict.fromkeys(PLATFORMS, POOL_KINDS))
        self._estimates = estimates or WaitEstimates(database, rooms)
        self._records = records
        self._gates = gates
        self._text_filter = text_filter
        self._picture_hide_weight = picture_hide_weight
        #: The searches of this web process's sockets.
        self._own = OwnSearches(bus, rooms)
        self.connect, self.is_connected = self._own.connect, self._own.is_connected
        self.list_queue_entries = self._own.list_queue_entries
        self.set_app_state, self.on_match_in_background = self._own.set_app_state, self._own.on_match_in_background
        self.on_matched = self._own.on_matched
        #: One search of a socket is tried again or restored at a time.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- Finding ------------------------------------------------------------------------------------

    async def find_partner(
        self,
        user_id: str,
        socket_id: str,
        *,
        level: Level,
        topic: str | None,
        is_strict: bool = False,
        among: str = ANYONE,
        platform: str = "",
    ) -> Searching | Match | PartnerCancelled | None:
        """Match the user, or let them wait in the queue.

        Raises TextRefused, PoolClosed, NotEnrolled, what `read_seeker` does, AlreadySearching or AlreadyInRoom. Where
        the user's socket is gone by then, returns None, or the outcome for the partner of the match.
        """
        self._text_filter.check("topic", topic)
        # Folding case can make a text longer than it was.
        topic = " ".join((topic or "").split()).casefold()[:MAX_TOPIC_LENGTH]
        outcome = await self._find_or_queue(user_id, socket_id, Wishes(level, topic, is_strict, among, platform))
        return await self._discard_if_disconnected(user_id, socket_id, outcome)

    async def _discard_if_disconnected(
        self, user_id: str, socket_id: str, outcome: Searching | Match
    ) -> Searching | Match | PartnerCancelled | None:
        if self._own.is_connected(socket_id):
            return outcome
        # Disconnected meanwhile, before there was a search that `disconnect` could remove.
        if isinstance(outcome, Searching):
            return None
        closed = await self._rooms.close(outcome.room_id, user_id, condition="unjoined")
        return await self.end_match(closed, user_id) if closed else None

    async def _find_or_queue(
        self,
        user_id: str,
        socket_id: str,
        wishes: Wishes,
        *,
        position: int | str = "",
        at_head: bool = False,
        retried: QueueEntry | None = None,
    ) -> Searching | Match:
        """Find a partner, or wait in the queue at `position`, which is that of `Rooms.find_partner`.

        `at_head`: the position was given at the head of the queue. `retried`: the search that waits there. Raises
        NotSearching where that has ended meanwhile.
        """
        is_retry = retried is not None
        while True:
            # Again after a match that was refused: this learner may be the one who may not meet the other any more.
            seeker = await self._read_seeker(user_id, socket_id, wishes)
            pool = await self._pools.choose(user_id, seeker.pool, wishes.among, wishes.platform)
            if retried is not None and self._own.get(socket_id) is not retried:
                raise errors.NotSearching()
            entry = build_entry(seeker, wishes, pool, at_head=at_head)
            room_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
            outcome = await self._rooms.find_partner(
                *(entry, room_id, session_id, seeker.avoided),
                position=position,
                met=seeker.met,
                only=pool.only,
                is_retry=is_retry,
            )
            if isinstance(outcome, Queued):
                if not is_retry:
                    await self._publish_search(outcome.entry)
                return await self._describe_search(outcome, wishes)
            is_retry = False  # the search is in the queue no more
            with spans.span("match", call=room_id, is_root=True, attributes={"parlance.session_id": session_id}):
                match = await self._starts.start(
                    *(outcome, room_id, session_id, seeker),
                    knows_wait=not at_head,
                    is_open=allow_pair(entry, outcome.partner_entry),
                )
            if match is not None:
                return match

    async def _publish_search(self, entry: QueueEntry) -> None:
        try:
            await SEARCH_WAITS.send(self._bus, entry["socket"], entry)
        except errors.Unavailable:
            # The entry of a dead web process, added after the removal of its searches.
            await self._rooms.leave_queue(entry["userId"], entry["socket"])

    async def _describe_search(self, queued: Queued, wishes: Wishes) -> Searching:
        is_widened = not wishes.is_strict and queued.waited_ms >= self._rooms.weights.neighbour_seconds * 1000
        levels = list_accepted_levels(wishes.level, is_widened=is_widened)
        return Searching(queued.entry["socket"], *await self._estimates.estimate(queued), tuple(levels))

    # --- Trying again -------------------------------------------------------------------------------

    async def retry_search(self, entry: QueueEntry) -> Searching | Match | PartnerCancelled | SearchRefused | None:
        """Try again for a search of this web process that waits, which keeps its position; None where it has ended."""
        user_id, socket_id, since = entry["userId"], entry["socket"], entry["since"]
        async with self._get_lock(socket_id):
            try:
                found = await self._find_or_queue(
                    *(user_id, socket_id, Wishes.of_entry(entry)),
                    position=since,
                    at_head=entry.get("atHead", False),
                    retried=entry,
                )
                return await self._discard_if_disconnected(user_id, socket_id, found)
            except PAIRING_REFUSED as error:
                if self._own.get(socket_id) is not entry:
                    return None
                await self._rooms.leave_queue(user_id, socket_id)
                self._own.pop(socket_id)
                return SearchRefused(socket_id, error)
            except NOT_CONTINUED:
                return None
            except Exception as error:  # probably an outage: it waits in the queue
                log.warning("search_not_retried user_id=%s socket_id=%s error=%r", user_id, socket_id, error)
                if self._own.get(socket_id) is entry:
                    await self._rooms.requeue(entry)
                return None

    # --- Ending -------------------------------------------------------------------------------------

    async def cancel_search(self, user_id: str, socket_id: str) -> PartnerCancelled | None:
        """Stop searching, or refuse a match that has not become a call; raise NotSearching."""
        entry = await self._rooms.leave_queue(user_id)
        if entry is not None:
            await SEARCH_OVER.send_if_there(self._bus, entry["socket"])
            return None
        room_id = await self._rooms.get_room_id(user_id)
        closed = await self._rooms.close(room_id, user_id, condition="unjoined", why="left") if room_id else None
        if closed is None:
            if room_id is None and self._own.pop(socket_id) is not None:
                return None  # Redis has lost it, and it is not to be restored
            raise errors.NotSearching()
        own_entry = closed.get_own(user_id).queue_entry
        if own_entry is not None:
            # A retry that found this match, and has not emitted it yet, would search on.
            await SEARCH_OVER.send_if_there(self._bus, own_entry["socket"])
        return await self.end_match(closed, user_id)

    async def disconnect(self, user_id: str, socket_id: str) -> None:
        """Remove the search of a socket that is gone."""
        self._own.disconnect(socket_id)
        await self._rooms.leave_queue(user_id, socket_id)

    async def expire_search(self, user_id: str) -> SearchExpired | None:
        """End a search that has expired."""
        entry = await self._rooms.leave_queue(user_id)
        if entry is None:
            return None
        await SEARCH_OVER.send_if_there(self._bus, entry["socket"])
        return SearchExpired(entry["socket"])

    async def expire_match(self, room_id: str) -> list[PartnerCancelled]:
        """End a match that did not become a call in time; the search of a learner who had joined continues."""
        closed = await self._rooms.close(room_id, None, condition="unjoined", by="timeout", why="unjoined")
        if closed is None:
            return []
        await close_participants(self._bus, closed)
        await self._records.record_end(closed.end, is_late=closed.is_backdated)
        cancelled = []
        for participant in closed.participants:
            if participant.socket_id:
                cancelled.append(await self.resume_search(participant.socket_id, participant.queue_entry))
            elif participant.queue_entry:
                cancelled.append(PartnerCancelled(participant.queue_entry["socket"], None))
        return cancelled

    async def end_match(self, closed: ClosedRoom, user_id: str) -> PartnerCancelled | None:
        """Finish a match that this user ended before both had joined; the partner's search continues."""
        await close_participants(self._bus, closed)
        await self._records.record_end(closed.end, is_late=closed.is_backdated)
        peer = closed.get_peer(user_id)
        if not closed.announced and peer is closed.participants[1]:
            return None  # their own search has not come to an end yet
        socket_id = peer.socket_id or (peer.queue_entry["socket"] if peer.queue_entry else "")
        return await self.resume_search(socket_id, peer.queue_entry) if socket_id else None

    async def resume_search(self, socket_id: str, entry: QueueEntry | None) -> PartnerCancelled:
        """Requeue a learner whose match is over at the head of the queue."""
        if entry is None or entry.get("invitation"):  # Redis has lost it, or there was no search
            return PartnerCancelled(socket_id, None)
        user_id = entry["userId"]
        try:
            wishes = Wishes.of_entry(entry)
            found = await self._find_or_queue(user_id, socket_id, wishes, position="head", at_head=True)
        except PAIRING_REFUSED as error:
            return PartnerCancelled(socket_id, SearchRefused(socket_id, error))
        except errors.ProductError as error:
            log.info("search_not_resumed user_id=%s socket_id=%s code=%s", user_id, socket_id, error.code)
            return PartnerCancelled(socket_id, None)
        return PartnerCancelled(socket_id, found)

    # --- Restoring ----------------------------------------------------------------------------------

    async def restore_searches(self) -> AsyncIterator[Match | PartnerCancelled | SearchRefused]:
        """Restore this web process's searches in a Redis that has lost them, where they may find a partner at once."""
        entries = sorted(self._own.list_queue_entries(), key=lambda entry: int(entry["since"]))
        for begin in range(0, len(entries), RESTORE_BATCH_SIZE):
            batch = entries[begin : begin + RESTORE_BATCH_SIZE]
            for outcome in await asyncio.gather(*map(self.restore_search, batch)):
                if isinstance(outcome, Match | PartnerCancelled | SearchRefused):
                    yield outcome

    async def restore_search(
        self, entry: QueueEntry, *, is_final: bool = False
    ) -> Searching | Match | PartnerCancelled | SearchExpired | SearchRefused | None:
        """Search again at the old position; `is_final`: a search that is refused has expired."""
        async with self._get_lock(entry["socket"]):
            return await self._restore_search(entry, is_final=is_final)

    async def _restore_search(
        self, entry: QueueEntry, *, is_final: bool
    ) -> Searching | Match | PartnerCancelled | SearchExpired | SearchRefused | None:
        user_id, socket_id, since = entry["userId"], entry["socket"], entry["since"]
        if self._own.get(socket_id) is not entry:
            return None  # it is over
        try:
            # A search that began since then could not be matched by a process that did not know this one.
            await self._rooms.leave_queue(user_id, socket_id)
            found = await self._find_or_queue(
                *(user_id, socket_id, Wishes.of_entry(entry)), position=since, at_head=entry.get("atHead", False)
            )
            return await self._discard_if_disconnected(user_id, socket_id, found)
        except PAIRING_REFUSED as error:
            self._own.pop(socket_id)
            return SearchRefused(socket_id, error)
        except NOT_CONTINUED as error:
            log.info("search_not_restored user_id=%s socket_id=%s code=%s", user_id, socket_id, error.code)
            if is_final and self._own.pop(socket_id) is not None:
                return SearchExpired(socket_id)
        except Exception as error:  # probably an outage of PostgreSQL: it waits in the queue
            log.warning("search_requeued user_id=%s socket_id=%s error=%r", user_id, socket_id, error)
            await self._rooms.requeue(entry)
        return None

    def _get_lock(self, socket_id: str) -> asyncio.Lock:
        return self._locks.setdefault(socket_id, asyncio.Lock())

    async def check_search(self, socket_id: str) -> Outcome | None:
        """Search again for a socket of this web process, whose learner or match may have been refused."""
        entry = self._own.get(socket_id)
        return None if entry is None else await self.restore_search(entry, is_final=True)

    async def _read_seeker(self, user_id: str, socket_id: str, wishes: Wishes) -> Seeker:
        may_rest = wishes.among == PARTNERS
        return await read_seeker(
            self._database, self._gates, user_id, socket_id, self._picture_hide_weight, may_rest=may_rest
        )
