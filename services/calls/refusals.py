"""Refusals of searches whose learners may not be paired any more: by a hold that began after the search did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import errors
from adapters.database import Database
from adapters.ports import Bus
from adapters.tasks import BackgroundTasks
from services.bus_messages import Message
from services.calls.outcomes import Partner, SearchRefused
from services.calls.room_state import QueueEntry
from services.calls.rooms import Rooms
from services.calls.seekers import read_seeker

log = logging.getLogger("parlance.matchmaking")

#: The learner of a search may not be paired any more: the error's code and detail.
SEARCH_REFUSED: Message[[str, str]] = Message("search_refused")
RefusalListener = Callable[[SearchRefused], Coroutine[Any, Any, None]]


class SearchRefusals:
    def __init__(self, bus: Bus, database: Database, rooms: Rooms, forget_search: Callable[[str], None]) -> None:
        """`forget_search` removes what this web process keeps of the search of a socket."""
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._forget_search = forget_search
        self._listeners: list[RefusalListener] = []
        self._tasks = BackgroundTasks()
        SEARCH_REFUSED.on(bus, self._handle_search_refused)

    def on_refused(self, listener: RefusalListener) -> None:
        """Call `listener` when a search of this web process's sockets ends because its learner may not be paired."""
        self._listeners.append(listener)

    async def end_held_search(self, user_id: str) -> None:
        """End the search of a learner whose pairing is held, in any process; a later one is refused when it begins.

        A call goes on. Raises Unavailable where Redis is, which a job repeats.
        """
        try:
            await read_seeker(self._database, user_id, "")
        except errors.PairingOnHold as error:
            if (entry := await self._rooms.leave_queue(user_id)) is not None:
                log.info("search_ended user_id=%s code=%s", user_id, error.code)
                await SEARCH_REFUSED.send_if_there(self._bus, entry["socket"], error.code, error.detail)
        except (errors.Banned, errors.ProfileIncomplete):
            pass  # it has no search

    async def refuse_pair(self, room_id: str, entry: QueueEntry, seeker: Partner) -> None:
        """Undo a match of which one learner may not be paired; raise the reason where that is the seeker."""
        refused: errors.SocketError | None = None
        try:
            await read_seeker(self._database, entry["userId"], entry["socket"])
        except errors.SocketError as error:
            refused = error
        finally:
            await self.undo_match(room_id, seeker.user_id, None if refused else entry)
        if refused:
            await SEARCH_REFUSED.send_if_there(self._bus, entry["socket"], refused.code, refused.detail)
        await read_seeker(self._database, seeker.user_id, seeker.socket_id)

    async def undo_match(self, room_id: str, user_id: str, entry: QueueEntry | None) -> None:
        """Close the room of a match without a row, and requeue its waiting learner, if they are still connected."""
        if closed := await self._rooms.close(room_id, user_id, by="error"):
            await self._rooms.remove_deadline("end", *closed.end)
            if entry is not None:
                await self._rooms.requeue(entry)

    async def _handle_search_refused(self, socket_id: str, code: str, detail: str) -> None:
        self._forget_search(socket_id)
        refusals = {each.code: each for each in errors.list_error_classes(errors.SocketError)}
        outcome = SearchRefused(socket_id, refusals.get(code, errors.SocketError)(detail))
        for listener in self._listeners:
            # In tasks: the publisher and the next message should not wait for the socket.
            self._tasks.start(listener(outcome))
