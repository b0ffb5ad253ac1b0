"""Estimates of how long a search will wait."""

from __future__ import annotations

import math
from datetime import timedelta

from services.calls.room_state import Queued

#: Estimate for a level without a match in the last minutes.
UNKNOWN_WAIT_SECONDS = 60
#: Buckets of the histogram of waits.
WAIT_BUCKETS_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


def estimate_wait_seconds(queued: Queued, longest: timedelta) -> int:
    """Estimate the wait in seconds from the position and the match rate of its pool and level in the last 5 minutes."""
    longest_seconds = int(longest.total_seconds())
    if queued.recent_matches == 0:
        return min(longest_seconds, UNKNOWN_WAIT_SECONDS)
    return min(longest_seconds, max(1, math.ceil((queued.ahead + 1) * 300 / queued.recent_matches)))
