"""Queue of searches in Redis; services/calls/rooms.py describes the keys."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

import orjson

import errors
from adapters.redis_pipeline import RedisPipeline
from services.calls.fit import FitWeights
from services.calls.review_pool import choose_queue, read_level
from services.calls.room_reader import RoomReader
from services.calls.room_state import Paired, Queued, QueueEntry, Waits
from services.safety.gates import DEFAULT_BAND

#: How long a room is kept.
ROOM_SECONDS = 2 * 60 * 60
#: How long two learners whose match was refused do not find each other.
REFUSED_SECONDS = 5
#: The least wait of which quantiles are kept, and for how long they are.
MIN_WAIT_SECONDS, WAITS_SECONDS = 0.1, 7 * 24 * 60 * 60


class SearchQueue(RoomReader):
    def __init__(self, pipeline: RedisPipeline, *, search: timedelta, join: timedelta, weights: FitWeights) -> None:
        """Set how long a search lasts, a match waits for both to join, and the weights of a match."""
        super().__init__(pipeline)
        self.search, self.join_deadline = search, join
        self.weights, self._serialized_weights = weights, weights.serialize()
        self._search_ms, self._join_ms = (each // timedelta(milliseconds=1) for each in (search, join))

    async def find_partner(
        self,
        entry: QueueEntry,
        room_id: str,
        session_id: str,
        avoid: Iterable[str] = (),
        *,
        position: int | str = "",
        met: Mapping[str, int] | None = None,
        only: Collection[str] | None = None,
        is_retry: bool = False,
    ) -> Queued | Paired:
        """Find a partner for the entry's user, none of `avoid`, or put the entry in the queue.

        `position` in the queue: empty for its end, `head`, or the moment since which it waits (µs). `met`: how often
        the user has met others in the last days. `only`: the users of whom the partner must be one, in any pool of the
        band. `is_retry`: the search is in the queue, and stays there where nobody fits. Raises AlreadySearching,
        AlreadyInRoom or, for a retry of a search that is not in the queue, NotSearching.
        """
        me = (entry["userId"], _name_queue(entry), entry["topic"], entry["socket"], _serialize_entry(entry))
        times_met = " ".join(f"{other}:{count}" for other, count in (met or {}).items())
        # A space: nobody.
        among = "" if only is None else " ".join(only) or " "
        answer = await self._pipeline.call_together(
            "find_partner",
            ("{match}:due",),
            (self._search_ms, self._join_ms, ROOM_SECONDS, self._serialized_weights),
            (*me, room_id, session_id, position, " ".join(avoid), times_met, among, int(is_retry)),
        )
        match answer:
            case ["waiting", since, waited, waits]:
                quantiles = Waits(*map(float, waits.split())) if waits else None
                return Queued({**entry, "since": int(since)}, int(waited), quantiles)
            case ["matched", partner, since, level, topic, waited, own_wait, is_widened]:
                partner_entry: QueueEntry = orjson.loads(partner)
                partner_entry["since"] = int(since)
                own_wait_ms = None if int(own_wait) < 0 else int(own_wait)
                called = read_level(level), topic or None
                return Paired(partner_entry, *called, int(waited), own_wait_ms, bool(is_widened))
            case ["already_in_room"]:
                raise errors.AlreadyInRoom()
            case ["not_searching"]:
                raise errors.NotSearching()
            case _:
                raise errors.AlreadySearching()

    async def seed_waits(self, entry: QueueEntry, waits: Waits) -> None:
        """Set the quantiles of waits of an entry's pool and level, unless Redis has them by now."""
        logarithms = " ".join(f"{math.log(max(seconds, MIN_WAIT_SECONDS)):.6f}" for seconds in waits)
        key = f"{{match}}:waits:{_name_queue(entry)}"
        await self._pipeline.execute("SET", key, f"{logarithms} 0", "EX", WAITS_SECONDS, "NX", idempotent=True)

    async def leave_queue(self, user_id: str, socket_id: str = "") -> QueueEntry | None:
        """Remove a user's search, or only that of one socket; return its entry, None where there was none."""
        entry = await self._pipeline.call_together("leave_queue", ("{match}:due",), (), (user_id, socket_id))
        return orjson.loads(entry) if entry else None

    async def requeue(self, entry: QueueEntry) -> None:
        """Put an entry back at its old position in the queue, unless its user searches again or is in a room."""
        user_id = entry["userId"]
        keys = [f"{{match}}:searching:{user_id}", f"{{match}}:in_room:{user_id}", "{match}:due"]
        queue = _get_pool(entry), choose_queue(user_id, entry["level"])
        search = (user_id, *queue, entry["topic"], entry["socket"], entry["since"], _serialize_entry(entry))
        await self._pipeline.call("requeue", keys, (*search, self._search_ms), idempotent=True)

    async def keep_apart(self, user_id: str, other_id: str) -> None:
        """Let two learners whose match was refused not find each other for `REFUSED_SECONDS`."""
        one, other = sorted((user_id, other_id))
        await self._pipeline.execute("SET", f"{{match}}:recent:{one}:{other}", "refused", "EX", REFUSED_SECONDS)


def _serialize_entry(entry: QueueEntry) -> bytes:
    """Serialize an entry as Redis keeps it: scripts read what it begins with; its position is kept beside it."""
    kept: dict[str, object] = {"pool": _get_pool(entry)}
    if "fit" in entry:
        kept["fit"] = entry["fit"]
    # A key that is there keeps its position.
    kept.update(entry)
    kept.pop("since", None)
    return orjson.dumps(kept)


def _name_queue(entry: QueueEntry) -> str:
    return f"{_get_pool(entry)}:{choose_queue(entry['userId'], entry['level'])}"


def _get_pool(entry: QueueEntry) -> str:
    """Return the pool of an entry; one of the release before pools is taken for a search of adults.

    The row of a match decides, also for such an entry: `CallHistoryService.start`.
    """
    return entry.get("pool", DEFAULT_BAND)
