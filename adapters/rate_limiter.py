"""Rate limiter: calls counted against limits, shared by all web processes."""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass

from redis.asyncio import Redis

import errors
from adapters.redis import UNAVAILABLE

# A log of the calls inside the window: exact at its edges, and as small as the limit. By Redis's clock, because
# those of hosts may differ. Returns the calls that are left, or -1 beyond the limit, and the milliseconds until the
# oldest call leaves the window.
_TAKE_SCRIPT = """
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local left = limit - redis.call('ZCARD', KEYS[1]) - 1
if left >= 0 then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], window)
end
return {math.max(left, -1), math.ceil(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] + window - now)}
"""
#: Keys that the fallback counts; the longest unused go first.
_MAX_MEMORY_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class CountedCall:
    """One call that was counted. `member` names it in Redis; without one it is in memory, at `at`."""

    key: str
    member: str | None
    #: The calls that are left, and the seconds until one more is available.
    left: int
    seconds: int
    at: float = 0


class RateLimiter:
    """Sliding-window limits in Redis; in this process's memory while Redis is unavailable, never open."""

    def __init__(self, redis: Redis, factor: int = 1) -> None:
        """`factor` multiplies each limit."""
        self._redis = redis
        self.factor = factor
        self._take = redis.register_script(_TAKE_SCRIPT)
        self._memory: OrderedDict[str, deque[float]] = OrderedDict()
        # Unique among all web processes.
        self._name, self._calls = secrets.token_hex(4), 0

    async def take(self, key: str, limit: int, seconds: float) -> CountedCall:
        """Count one call; raise RateLimited, with the seconds to wait, beyond `limit` calls in `seconds`."""
        self._calls += 1
        limit *= self.factor
        name, member, at = f"{self._name}:{self._calls}", None, 0.0
        try:
            left, wait = await self._take(keys=[f"limit:{key}"], args=[int(seconds * 1000), limit, name])
            member = name
        except UNAVAILABLE:
            at = time.monotonic() * 1000
            left, wait = self._take_from_memory(key, limit, seconds * 1000, at)
        # At least one: a client that waits no time would be refused again.
        wait_seconds = max(1, math.ceil(wait / 1000))
        if left < 0:
            raise errors.RateLimited(retry_after=wait_seconds)
        return CountedCall(key, member, left, wait_seconds, at)

    async def give_back(self, taken: CountedCall) -> None:
        """Remove a counted call; while Redis is unavailable it stays counted."""
        if taken.member is not None:
            with suppress(*UNAVAILABLE):
                await self._redis.zrem(f"limit:{taken.key}", taken.member)
        elif (calls := self._memory.get(taken.key)) is not None:
            with suppress(ValueError):  # it has left the window meanwhile
                calls.remove(taken.at)

    def _take_from_memory(self, key: str, limit: int, window: float, now: float) -> tuple[int, float]:
        """Return what the script returns."""
        calls = self._memory.setdefault(key, deque())
        self._memory.move_to_end(key)
        while len(self._memory) > _MAX_MEMORY_KEYS:
            self._memory.popitem(last=False)
        while calls and calls[0] <= now - window:
            calls.popleft()
        left = limit - len(calls) - 1
        if left >= 0:
            calls.append(now)
        return max(left, -1), calls[0] + window - now
