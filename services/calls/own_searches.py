"""Searches of this web process's sockets, kept by the messages of the processes that change them.

They are restored where Redis has lost them, and tried again while they wait.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import spans
from adapters.ports import Bus
from adapters.tasks import BackgroundTasks
from services.calls.room_messages import MATCHED, SEARCH_OVER, SEARCH_WAITS
from services.calls.room_state import QueueEntry
from services.calls.rooms import Rooms

log = logging.getLogger("parlance.matchmaking")

#: Takes a user, the name of their partner, the room and the session.
MatchListener = Callable[[str, str, str, str], Awaitable[None]]


class OwnSearches:
    def __init__(self, bus: Bus, rooms: Rooms) -> None:
        self._rooms = rooms
        #: By socket id.
        self._queue_entries: dict[str, QueueEntry] = {}
        #: Their spans, where tracing is on.
        self._spans: dict[str, spans.PendingSpan] = {}
        #: The sockets of this web process, and those whose app is in the background.
        self._connected_socket_ids: set[str] = set()
        self._background_socket_ids: set[str] = set()
        self._listeners: list[MatchListener] = []
        self._matched_listeners: list[Callable[[str], Awaitable[None]]] = []
        self._tasks = BackgroundTasks()
        SEARCH_WAITS.on(bus, self._handle_search_queued)
        MATCHED.on(bus, self._handle_matched)
        SEARCH_OVER.on(bus, self._handle_search_ended)

    def on_match_in_background(self, listener: MatchListener) -> None:
        """Call `listener` when a user is matched whose app is in the background."""
        self._listeners.append(listener)

    def on_matched(self, listener: Callable[[str], Awaitable[None]]) -> None:
        """Call `listener` with the id of each user who is matched on a socket of this web process."""
        self._matched_listeners.append(listener)

    def connect(self, socket_id: str) -> None:
        """Note that a socket of this web process may search."""
        self._connected_socket_ids.add(socket_id)

    def disconnect(self, socket_id: str) -> None:
        self._connected_socket_ids.discard(socket_id)
        self._background_socket_ids.discard(socket_id)
        self._queue_entries.pop(socket_id, None)
        self._spans.pop(socket_id, None)

    def is_connected(self, socket_id: str) -> bool:
        """Whether a socket is connected to this web process."""
        return socket_id in self._connected_socket_ids

    def set_app_state(self, socket_id: str, *, background: bool) -> None:
        """Note whether the app of a socket of this web process is in the background."""
        (self._background_socket_ids.add if background else self._background_socket_ids.discard)(socket_id)

    def list_queue_entries(self) -> list[QueueEntry]:
        """List the searches of this web process's sockets that wait in the queue."""
        return list(self._queue_entries.values())

    def get(self, socket_id: str) -> QueueEntry | None:
        return self._queue_entries.get(socket_id)

    def pop(self, socket_id: str) -> QueueEntry | None:
        return self._queue_entries.pop(socket_id, None)

    # --- Messages of web processes --------------------------------------------------------------------

    async def _handle_search_queued(self, socket_id: str, entry: QueueEntry) -> None:
        if socket_id in self._connected_socket_ids:
            self._queue_entries[socket_id] = entry
            if (span := spans.begin("search")) is not None:
                self._spans[socket_id] = span
        else:
            await self._rooms.leave_queue(entry["userId"], socket_id)

    async def _handle_search_ended(self, socket_id: str) -> None:
        self._queue_entries.pop(socket_id, None)
        self._spans.pop(socket_id, None)

    async def _handle_matched(
        self, socket_id: str, user_id: str, partner_name: str, room_id: str, session_id: str
    ) -> None:
        self._queue_entries.pop(socket_id, None)
        if (span := self._spans.pop(socket_id, None)) is not None:
            span.end(room_id)
        calls = [listener(user_id) for listener in self._matched_listeners]
        if socket_id in self._background_socket_ids:
            calls += [listener(user_id, partner_name, room_id, session_id) for listener in self._listeners]
        if calls:
            # In a task: neither the publisher nor the next message should wait for Redis or PostgreSQL.
            self._tasks.start(_finish(calls, user_id, room_id))


async def _finish(calls: list[Awaitable[None]], user_id: str, room_id: str) -> None:
    for call in calls:
        try:
            await call
        except Exception as error:
            log.warning("match_not_notified user_id=%s room_id=%s error=%r", user_id, room_id, error)
