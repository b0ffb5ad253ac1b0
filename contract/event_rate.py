"""Rate limit of one socket's events: a token bucket, and the limit of refusals before a disconnect."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: A socket that has this many seconds' worth of events refused, without a pause, is disconnected.
_FLOOD_SECONDS = 10
#: Frames that may come for each event of the limit, in the long run and in a burst: 120 a second and 600 by default.
_FRAMES_PER_EVENT, _BURST_FRAMES_PER_EVENT = 4, 10


@dataclass(frozen=True, slots=True)
class EventLimit:
    """Limit of events for every socket of a server."""

    per_second: float
    burst: float

    def frames(self) -> EventLimit:
        """Return the limit of frames: enough for fragmented events, pongs and pings."""
        return EventLimit(self.per_second * _FRAMES_PER_EVENT, self.burst * _BURST_FRAMES_PER_EVENT)


class EventRate:
    """Events of one socket."""

    __slots__ = ("_at", "_refused", "_reported_at", "_spent")

    def __init__(self) -> None:
        #: Events in the bucket, and when they were last counted.
        self._spent = 0.0
        self._at = 0.0
        self._refused = 0
        self._reported_at = 0.0

    def spend(self, limit: EventLimit) -> bool:
        """Count an event; return whether it is within the limit."""
        now = time.monotonic()
        spent = self._spent - (now - self._at) * limit.per_second
        self._at = now
        if spent <= 0:
            spent, self._refused = 0.0, 0
        if spent > limit.burst - 1:
            self._spent = spent
            self._refused += 1
            return False
        self._spent = spent + 1
        return True

    def give_back(self) -> None:
        """Remove the last event, which will be counted again."""
        self._spent -= 1

    def is_flood(self, limit: EventLimit) -> bool:
        return self._refused >= limit.per_second * _FLOOD_SECONDS

    def may_report(self) -> bool:
        """Return whether an `error` may be emitted for refused events now: once a second."""
        if self._at - self._reported_at < 1:
            return False
        self._reported_at = self._at
        return True
