"""Readiness: every service that this process depends on answers, and PostgreSQL can write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

import errors
from adapters.database import Database
from adapters.storage import Storage

#: Of each check.
TIMEOUT_SECONDS = 2


class HealthService:
    def __init__(self, database: Database, redis: Redis, storage: Storage) -> None:
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": database.check_writable,
            "redis": redis.ping,
            "storage": storage.ping,
        }

    async def check_ready(self) -> dict[str, float]:
        """Time each dependency in milliseconds; raise Unavailable naming those that do not answer."""
        timings = await asyncio.gather(*(self._time_check(check) for check in self._checks.values()))
        answers = dict(zip(self._checks, timings, strict=True))
        unavailable = [name for name, milliseconds in answers.items() if milliseconds is None]
        if unavailable:
            raise errors.Unavailable(f"{' and '.join(unavailable)} unavailable")
        return {name: milliseconds for name, milliseconds in answers.items() if milliseconds is not None}

    @staticmethod
    async def _time_check(check: Callable[[], Awaitable[object]]) -> float | None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await check()
        except Exception:
            return None
        return round((time.perf_counter() - started) * 1000, 2)
