"""The product's rule as the simulation calls it: `Rooms` on the copied scripts, and what the services do around it."""

from __future__ import annotations

from bench.pairing.clock import SimulatedClock
from bench.pairing.knowledge import Knowledge
from bench.pairing.world import Search
from services.calls.room_state import Paired, Queued, QueueEntry
from services.calls.rooms import Rooms


class Policy:
    """Oldest first."""

    has_records = False

    def __init__(self, clock: SimulatedClock, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self._rooms = Rooms(clock.pipeline)

    async def find(
        self, search: Search, now: int, room_id: str, session_id: str, position: str
    ) -> Queued | Paired:
        avoided = self.knowledge.get(search.learner).avoided
        return await self._rooms.find_partner(
            self._build_entry(search), room_id, session_id, avoided, position=position
        )

    async def retry(self, search: Search, now: int, room_id: str, session_id: str) -> Queued | Paired:
        raise NotImplementedError

    def next_retry(self, search: Search) -> int | None:
        """Return after how long a waiting search is tried again (µs)."""
        return None

    async def leave(self, search: Search) -> None:
        await self._rooms.leave_queue(search.learner.user_id)

    async def join(self, search: Search, room_id: str) -> None:
        await self._rooms.join(room_id, search.learner.user_id, search.socket)

    async def close(
        self, sides: tuple[Search, Search], room_id: str, ender: Search | None, now: int, *, is_call: bool
    ) -> None:
        closed = await self._rooms.close(room_id, ender.learner.user_id if ender else None)
        assert closed is not None, "a room that is gone"
        await self._rooms.remove_deadline("end", *closed.end)

    def _build_entry(self, search: Search) -> QueueEntry:
        learner = search.learner
        return {
            "userId": learner.user_id,
            "socket": search.socket,
            "pool": learner.band,
            "level": search.level,
            "topic": search.topic,
            "card": {"displayName": "Learner", "avatarUrl": None, "level": learner.declared},
        }
