"""Estimates of how long a search will wait: quantiles of recent waits, which the scripts of the queue keep in Redis."""

from __future__ import annotations

import math
import time

import sqlalchemy as sa

from adapters.database import Database
from models import Level
from services.calls.room_state import Queued, Waits
from services.calls.search_queue import SearchQueue

#: Median for a level without a match in the last days; the 90% quantile is then the length of a search.
UNKNOWN_WAIT_SECONDS = 60
#: Buckets of the histogram of waits.
WAIT_BUCKETS_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
#: How long what was read of the calls of a level is used.
_KEPT_SECONDS = 60
#: Both quantiles of the last matches of a level, in milliseconds.
_QUANTILES = sa.text("""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY waited_ms),
        percentile_cont(0.9) WITHIN GROUP (ORDER BY waited_ms)
    FROM (
        SELECT waited_ms FROM call_sessions
        WHERE started_at > now() - interval '7 days' AND waited_ms IS NOT NULL AND level = :level
        ORDER BY started_at DESC LIMIT 1000
    ) recent
""")


class WaitEstimates:
    def __init__(self, database: Database, queue: SearchQueue) -> None:
        self._database = database
        self._queue = queue
        #: By level: when the calls were read, and what they waited.
        self._read: dict[Level, tuple[float, Waits]] = {}

    async def estimate(self, queued: Queued) -> tuple[int, int]:
        """Return the median and the 90% quantile in seconds, at least 1 and at most the length of a search.

        Where Redis has none, as after a loss of its data, they are those of the last calls of the level, from which
        Redis goes on.
        """
        waits = queued.waits
        if waits is None:
            entry = queued.entry
            waits = await self._recall(entry["level"])
            await self._queue.seed_waits(entry, waits)
        longest = int(self._queue.search.total_seconds())
        median, p90 = (min(longest, max(1, math.ceil(seconds))) for seconds in waits)
        return median, max(median, p90)

    async def _recall(self, level: Level) -> Waits:
        now = time.monotonic()
        read_at, waits = self._read.get(level, (-math.inf, None))
        if waits is None or now - read_at > _KEPT_SECONDS:
            waits = await self.read_past(level) or Waits(UNKNOWN_WAIT_SECONDS, self._queue.search.total_seconds())
            self._read[level] = now, waits
        return waits

    async def read_past(self, level: Level) -> Waits | None:
        """Read the quantiles of the waits of the last calls of a level; None where there are none."""
        async with self._database.transaction() as db:
            median_ms, p90_ms = (await db.execute(_QUANTILES, {"level": level})).one()
        return None if median_ms is None else Waits(median_ms / 1000, p90_ms / 1000)
