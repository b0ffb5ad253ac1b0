"""Matchmaking: searches in the queue, and matches until both learners have joined their room."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

import errors
import spans
from adapters.counting import Histogram
from adapters.database import Database
from adapters.ports import Bus
from adapters.tasks import BackgroundTasks
from models import Level
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.outcomes import Match, Outcome, PartnerCancelled, SearchExpired, Searching, SearchRefused
from services.calls.room_messages import MATCHED, SEARCH_CHECK, SEARCH_OVER, SEARCH_WAITS, close_participants
from services.calls.room_state import ClosedRoom, Paired, Queued, QueueEntry
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, build_entry, build_partner, read_seeker
from services.calls.wait_estimates import WAIT_BUCKETS_SECONDS, estimate_wait_seconds
from services.safety.gates import Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT
from services.safety.text_filter import TextFilter

log = logging.getLogger("parlance.matchmaking")

#: Characters of the column `call_sessions.topic`.
MAX_TOPIC_LENGTH = 60
#: Searches restored at once.
RESTORE_BATCH_SIZE = 50
#: Errors of a learner who may not be paired, which end a search.
PAIRING_REFUSED = (errors.GateClosed, errors.PairingOnHold, errors.AccountSuspended, errors.Resting)
#: Takes a user, the name of their partner, the room and the session.
MatchListener = Callable[[str, str, str, str], Awaitable[None]]


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
    ) -> None:
        #: Matches made by this web process, and how long the waiting learners had waited, by level.
        self.matches: defaultdict[Level, int] = defaultdict(int)
        self.waits: defaultdict[Level, Histogram] = defaultdict(lambda: Histogram(WAIT_BUCKETS_SECONDS))
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._history = history
        self._records = records
        self._gates = gates
        self._text_filter = text_filter
        self._picture_hide_weight = picture_hide_weight
        #: The searches of this web process's sockets by socket id, to restore them where Redis has lost them.
        self._queue_entries: dict[str, QueueEntry] = {}
        #: Their spans, where tracing is on.
        self._search_spans: dict[str, spans.PendingSpan] = {}
        #: The sockets of this web process, and those whose app is in the background.
        self._connected_socket_ids: set[str] = set()
        self._background_socket_ids: set[str] = set()
        self._listeners: list[MatchListener] = []
        self._tasks = BackgroundTasks()
        SEARCH_WAITS.on(bus, self._handle_search_queued)
        MATCHED.on(bus, self._handle_matched)
        SEARCH_OVER.on(bus, self._handle_search_ended)

    def on_match_in_background(self, listener: MatchListener) -> None:
        """Call `listener` when a user is matched whose app is in the background."""
        self._listeners.append(listener)

    def connect(self, socket_id: str) -> None:
        """Note that a socket of this web process may search."""
        self._connected_socket_ids.add(socket_id)

    def is_connected(self, socket_id: str) -> bool:
        """Whether a socket is connected to this web process."""
        return socket_id in self._connected_socket_ids

    def list_queue_entries(self) -> list[QueueEntry]:
        """List the searches of this web process's sockets that wait in the queue."""
        return list(self._queue_entries.values())

    def set_app_state(self, socket_id: str, *, background: bool) -> None:
        """Note whether the app of a socket of this web process is in the background."""
        (self._background_socket_ids.add if background else self._background_socket_ids.discard)(socket_id)

    # --- Finding ------------------------------------------------------------------------------------

    async def find_partner(
        self, user_id: str, socket_id: str, *, level: Level, topic: str | None
    ) -> Searching | Match | PartnerCancelled | None:
        """Match the user, or let them wait in the queue.

        Raises TextRefused, what `read_seeker` does, AlreadySearching or AlreadyInRoom. Where the user's socket is gone
        by then, returns None, or the outcome for the partner of the match.
        """
        self._text_filter.check("topic", topic)
        # Folding case can make a text longer than it was.
        topic = " ".join((topic or "").split()).casefold()[:MAX_TOPIC_LENGTH]
        outcome = await self._find_or_queue(user_id, socket_id, level, topic)
        return await self._discard_if_disconnected(user_id, socket_id, outcome)

    async def _discard_if_disconnected(
        self, user_id: str, socket_id: str, outcome: Searching | Match
    ) -> Searching | Match | PartnerCancelled | None:
        if socket_id in self._connected_socket_ids:
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
        level: Level,
        topic: str,
        *,
        position: int | str = "",
        at_head: bool = False,
    ) -> Searching | Match:
        """Find a partner, or wait in the queue at `position`, which is that of `Rooms.find_partner`.

        `at_head`: the position was given at the head of the queue.
        """
        while True:
            # Again after a match that was refused: this learner may be the one who may not meet the other any more.
            seeker = await self._read_seeker(user_id, socket_id)
            entry = build_entry(seeker, level, topic, at_head=at_head)
            room_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
            outcome = await self._rooms.find_partner(entry, room_id, session_id, seeker.avoided, position=position)
            if isinstance(outcome, Queued):
                try:
                    await SEARCH_WAITS.send(self._bus, socket_id, outcome.entry)
                except errors.Unavailable:
                    # The entry of a dead web process, added after the removal of its searches.
                    await self._rooms.leave_queue(user_id, socket_id)
                return Searching(socket_id, estimate_wait_seconds(outcome, self._rooms.search))
            with spans.span("match", call=room_id, is_root=True, attributes={"parlance.session_id": session_id}):
                match = await self._start_match(outcome, room_id, session_id, seeker)
            if match is not None:
                return match

    async def _start_match(self, pair: Paired, room_id: str, session_id: str, found_by: Seeker) -> Match | None:
        """Write the call's row and publish the match; None where the two may not meet, or the waiting one is gone."""
        entry, seeker = pair.partner_entry, found_by.profile
        waited_ms = None if entry.get("atHead") else pair.waited_ms
        try:
            users = entry["userId"], seeker.user_id
            is_started = await self._history.start(
                session_id, room_id, *users, pair.topic, pair.level, waited_ms, found_by.pool
            )
        except BaseException:
            # Without a row no call: requeue the waiting learner, if they are still connected.
            if await self._undo_match(room_id, seeker.user_id):
                await self._rooms.requeue(entry)
            raise
        if not is_started:
            if await self._undo_match(room_id, seeker.user_id):
                # Their web process restores the search at its position, if they may still meet others. Where two
                # processes ask for different things, as in a rolling restart, each would find the other's learner
                # over and over.
                await self._rooms.keep_apart(*users)
                await SEARCH_CHECK.send_if_there(self._bus, entry["socket"])
            return None
        if not await self._rooms.announce(room_id):
            # The waiting learner left before there was a row to end.
            await self._history.end(room_id, ended_by=entry["userId"])
            return None
        self.matches[pair.level] += 1
        if waited_ms is not None:
            self.waits[pair.level].add(waited_ms / 1000)
        waiting = build_partner(entry)
        # Each user's own web process knows whether the app is in the background. The seeker may be a search that was
        # resumed or restored.
        for me, partner in ((waiting, seeker), (seeker, waiting)):
            await MATCHED.send_if_there(self._bus, me.socket_id, me.user_id, partner.display_name, room_id, session_id)
        return Match(room_id, session_id, pair.level, pair.topic, waiting, seeker)

    async def _undo_match(self, room_id: str, user_id: str) -> bool:
        """Close the room of a match that has no row; return whether it was still there."""
        closed = await self._rooms.close(room_id, user_id, by="error")
        if closed is None:
            return False
        await self._rooms.remove_end(closed.end)
        return True

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
            if room_id is None and self._queue_entries.pop(socket_id, None) is not None:
                return None  # Redis has lost it, and it is not to be restored
            raise errors.NotSearching()
        return await self.end_match(closed, user_id)

    async def disconnect(self, user_id: str, socket_id: str) -> None:
        """Remove the search of a socket that is gone."""
        self._connected_socket_ids.discard(socket_id)
        self._background_socket_ids.discard(socket_id)
        self._queue_entries.pop(socket_id, None)
        self._search_spans.pop(socket_id, None)
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
            found = await self._find_or_queue(
                user_id, socket_id, entry["level"], entry["topic"], position="head", at_head=True
            )
        except PAIRING_REFUSED as error:
            return PartnerCancelled(socket_id, SearchRefused(socket_id, error))
        except errors.ProductError as error:
            log.info("search_not_resumed user_id=%s socket_id=%s code=%s", user_id, socket_id, error.code)
            return PartnerCancelled(socket_id, None)
        return PartnerCancelled(socket_id, found)

    # --- Restoring ----------------------------------------------------------------------------------

    async def restore_searches(self) -> AsyncIterator[Match | PartnerCancelled | SearchRefused]:
        """Restore this web process's searches in a Redis that has lost them, where they may find a partner at once."""
        entries = sorted(self._queue_entries.values(), key=lambda entry: int(entry["since"]))
        for begin in range(0, len(entries), RESTORE_BATCH_SIZE):
            batch = entries[begin : begin + RESTORE_BATCH_SIZE]
            for outcome in await asyncio.gather(*map(self.restore_search, batch)):
                if isinstance(outcome, Match | PartnerCancelled | SearchRefused):
                    yield outcome

    async def restore_search(
        self, entry: QueueEntry, *, is_final: bool = False
    ) -> Searching | Match | PartnerCancelled | SearchExpired | SearchRefused | None:
        """Search again at the old position; `is_final`: a search that is refused has expired."""
        user_id, socket_id, since = entry["userId"], entry["socket"], entry["since"]
        if self._queue_entries.get(socket_id) is not entry:
            return None  # it is over
        try:
            # A search that began since then could not be matched by a process that did not know this one.
            await self._rooms.leave_queue(user_id, socket_id)
            found = await self._find_or_queue(
                user_id, socket_id, entry["level"], entry["topic"], position=since, at_head=entry.get("atHead", False)
            )
            return await self._discard_if_disconnected(user_id, socket_id, found)
        except PAIRING_REFUSED as error:
            self._queue_entries.pop(socket_id, None)
            return SearchRefused(socket_id, error)
        except (errors.AlreadySearching, errors.AlreadyInRoom, errors.Banned, errors.ProfileIncomplete) as error:
            log.info("search_not_restored user_id=%s socket_id=%s code=%s", user_id, socket_id, error.code)
            if is_final and self._queue_entries.pop(socket_id, None) is not None:
                return SearchExpired(socket_id)
        except Exception as error:  # probably an outage of PostgreSQL: it waits in the queue
            log.warning("search_requeued user_id=%s socket_id=%s error=%r", user_id, socket_id, error)
            await self._rooms.requeue(entry)
        return None

    async def check_search(self, socket_id: str) -> Outcome | None:
        """Search again for a socket of this web process, whose learner or match may have been refused."""
        entry = self._queue_entries.get(socket_id)
        return None if entry is None else await self.restore_search(entry, is_final=True)

    # --- Messages of other web processes --------------------------------------------------------------

    async def _handle_search_queued(self, socket_id: str, entry: QueueEntry) -> None:
        if socket_id in self._connected_socket_ids:
            self._queue_entries[socket_id] = entry
            if (span := spans.begin("search")) is not None:
                self._search_spans[socket_id] = span
        else:
            await self._rooms.leave_queue(entry["userId"], socket_id)

    async def _handle_search_ended(self, socket_id: str) -> None:
        self._queue_entries.pop(socket_id, None)
        self._search_spans.pop(socket_id, None)

    async def _handle_matched(
        self, socket_id: str, user_id: str, partner_name: str, room_id: str, session_id: str
    ) -> None:
        self._queue_entries.pop(socket_id, None)
        if (span := self._search_spans.pop(socket_id, None)) is not None:
            span.end(room_id)
        if socket_id in self._background_socket_ids:
            # In a task: neither the publisher nor the next message should wait for PostgreSQL.
            self._tasks.start(self._notify_listeners(user_id, partner_name, room_id, session_id))

    async def _notify_listeners(self, user_id: str, partner_name: str, room_id: str, session_id: str) -> None:
        for listener in self._listeners:
            try:
                await listener(user_id, partner_name, room_id, session_id)
            except Exception as error:
                log.warning("match_not_notified user_id=%s room_id=%s error=%r", user_id, room_id, error)

    async def _read_seeker(self, user_id: str, socket_id: str) -> Seeker:
        return await read_seeker(self._database, self._gates, user_id, socket_id, self._picture_hide_weight)
