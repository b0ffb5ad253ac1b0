"""Owns what "ready" means: every service this process depends on answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

import errors
from adapters.database import Database
from adapters.storage import Storage

#: Seconds that a dependency has to answer.
TIMEOUT = 2


class HealthService:
    def __init__(self, database: Database, redis: Redis, storage: Storage) -> None:
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": database.ping,
            "redis": redis.ping,
            "storage": storage.ping,
        }

    async def ready(self) -> dict[str, float]:
        """Time each dependency in milliseconds; raise Unavailable naming those that do not answer."""
        timings = await asyncio.gather(*(self._time(check) for check in self._checks.values()))
        answers = dict(zip(self._checks, timings, strict=True))
        away = [name for name, milliseconds in answers.items() if milliseconds is None]
        if away:
            raise errors.Unavailable(f"{' and '.join(away)} not answering")
        return {name: milliseconds for name, milliseconds in answers.items() if milliseconds is not None}

    @staticmethod
    async def _time(check: Callable[[], Awaitable[object]]) -> float | None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT):
                await check()
        except Exception:
            return None
        return round((time.perf_counter() - started) * 1000, 2)
