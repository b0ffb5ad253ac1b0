"""Idempotency keys: for a day, a repeated request gets the response to the first one.

Responses are stored in Redis; where it is unavailable or has lost them, the constraints of the database hold.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import orjson
from redis.asyncio import Redis

import errors
from adapters.redis import UNAVAILABLE
from digests import compute_digest

log = logging.getLogger("parlance.idempotency")

#: How long a response is stored.
_ANSWER_LIFETIME = timedelta(hours=24)
#: How long a request may run before its process counts as dead.
_RUNNING_LIFETIME = timedelta(seconds=60)

# Replaces or removes only the marker of this request: after a minute another may have begun.
_SETTLE_SCRIPT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request under a key. `answer` is the response to an earlier one; None where this is the first."""

    key: str
    fingerprint: str
    marker: str
    answer: str | None = None


class IdempotencyService:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._settle = redis.register_script(_SETTLE_SCRIPT)

    async def begin(self, user_id: str, operation_id: str, key: str, request: Mapping[str, object]) -> Attempt:
        """Begin a request, or find an earlier response; raise IdempotencyKeyReused or IdempotencyInFlight."""
        # Hashed: a client must not choose the length or the characters of a Redis key.
        name = f"idempotency:{operation_id}:{user_id}:{compute_digest(key)}"
        fingerprint = compute_digest(orjson.dumps(request, option=orjson.OPT_SORT_KEYS))
        marker = orjson.dumps({"fingerprint": fingerprint, "attempt": secrets.token_hex(8)}).decode()
        attempt = Attempt(name, fingerprint, marker)
        try:
            found = await self._redis.set(name, marker, nx=True, get=True, ex=_RUNNING_LIFETIME)
        except UNAVAILABLE:
            log.warning("redis_unavailable subject=idempotency_key operation=%s user_id=%s", operation_id, user_id)
            return attempt
        if not isinstance(found, str | bytes):  # nothing was there
            return attempt
        earlier = orjson.loads(found)
        if earlier["fingerprint"] != fingerprint:
            raise errors.IdempotencyKeyReused()
        if "answer" not in earlier:
            raise errors.IdempotencyInFlight(retry_after=1)
        return Attempt(name, fingerprint, marker, earlier["answer"])

    async def finish(self, attempt: Attempt, answer: str) -> None:
        """Store the response to a request that succeeded."""
        await self._end(attempt, orjson.dumps({"fingerprint": attempt.fingerprint, "answer": answer}).decode())

    async def abandon(self, attempt: Attempt) -> None:
        """Delete the marker of a request that failed, so that it can be sent again."""
        await self._end(attempt, "")

    async def _end(self, attempt: Attempt, value: str) -> None:
        seconds = int(_ANSWER_LIFETIME.total_seconds())
        try:
            await self._settle(keys=[attempt.key], args=[attempt.marker, value, seconds])
        except UNAVAILABLE:
            log.warning("redis_unavailable subject=idempotency_response key=%s", attempt.key)
