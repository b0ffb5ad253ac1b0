"""Starts of matches: the row of the call, and the messages to the web processes of both learners."""

from __future__ import annotations

from collections import defaultdict

from adapters.counting import Histogram
from adapters.ports import Bus
from models import Level
from services.calls.call_history import CallHistoryService
from services.calls.outcomes import Match
from services.calls.room_messages import MATCHED, SEARCH_CHECK
from services.calls.room_state import Paired
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, build_partner
from services.calls.wait_estimates import WAIT_BUCKETS_SECONDS


class MatchStarts:
    def __init__(self, bus: Bus, rooms: Rooms, history: CallHistoryService) -> None:
        #: Matches made by this web process, and how long their searches had waited, by level.
        self.matches: defaultdict[Level, int] = defaultdict(int)
        self.waits: defaultdict[Level, Histogram] = defaultdict(lambda: Histogram(WAIT_BUCKETS_SECONDS))
        self._bus = bus
        self._rooms = rooms
        self._history = history

    async def start(
        self, pair: Paired, room_id: str, session_id: str, found_by: Seeker, *, knows_wait: bool, is_open: bool = True
    ) -> Match | None:
        """Write the call's row and publish the match; None where the two may not meet, or the waiting one is gone.

        `knows_wait`: whether the search that found the other began at its position. `is_open`: whether their pool is
        open for both.
        """
        entry, seeker = pair.partner_entry, found_by.profile
        waited_ms = None if entry.get("atHead") else pair.waited_ms
        try:
            users = entry["userId"], seeker.user_id
            is_started = is_open and await self._history.start(
                session_id, room_id, *users, pair.topic, pair.level, waited_ms, found_by.pool
            )
        except BaseException:
            # Without a row no call: requeue the waiting learner, if they are still connected.
            if await self._undo(room_id, seeker.user_id):
                await self._rooms.requeue(entry)
            raise
        if not is_started:
            if await self._undo(room_id, seeker.user_id):
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
        for wait_ms in (waited_ms, pair.own_wait_ms if knows_wait else None):
            if wait_ms is not None:
                self.waits[pair.level].add(wait_ms / 1000)
        waiting = build_partner(entry)
        # Each user's own web process knows whether the app is in the background. The seeker may be a search that was
        # tried again, resumed or restored.
        for me, partner in ((waiting, seeker), (seeker, waiting)):
            await MATCHED.send_if_there(self._bus, me.socket_id, me.user_id, partner.display_name, room_id, session_id)
        return Match(room_id, session_id, pair.level, pair.topic, waiting, seeker, pair.is_level_widened)

    async def _undo(self, room_id: str, user_id: str) -> bool:
        """Close the room of a match that has no row; return whether it was still there."""
        closed = await self._rooms.close(room_id, user_id, by="error")
        if closed is None:
            return False
        await self._rooms.remove_end(closed.end)
        return True
