"""Timeouts of tests, scaled with the speed of the machine."""

from __future__ import annotations

import time

#: Seconds that `_work` takes on an idle core of the machine whose figures the limits are.
_REFERENCE_SECONDS = 0.1
#: A limit of this many seconds or more promises nothing: it ends a test that hangs, and may be as long as it likes.
_GUARD_SECONDS = 5
_GUARD_FACTOR = 4


def _work() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(2_000_000):
        total += number % 7
    return time.perf_counter() - started


#: How many times slower this machine is, from 1 to 4; the best of three, so that one busy moment does not count.
SLOWNESS = min(4.0, max(1.0, min(_work() for _ in range(3)) / _REFERENCE_SECONDS))


def limit(seconds: float) -> float:
    """Return the seconds that a wait may take here where it may take `seconds` on the reference machine."""
    return seconds * SLOWNESS * (_GUARD_FACTOR if seconds >= _GUARD_SECONDS else 1)


#: Seconds that servers of the tests give a participant to come back, also after their process died, and a match to be
#: joined.
GRACE, PROCESS_LOSS_GRACE, JOIN = round(4 * SLOWNESS), round(12 * SLOWNESS), round(6 * SLOWNESS)
