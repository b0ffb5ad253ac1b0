"""Readiness: every service that this process depends on answers, and PostgreSQL can write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

import errors
from adapters.database import Database
from adapters.redis_connection import NotPrimary, is_primary
from adapters.storage import Storage

#: Of each check.
TIMEOUT_SECONDS = 2


class HealthService:
    def __init__(self, database: Database, redis: Redis, storage: Storage, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {
            "database": database.check_writable,
            "redis": lambda: _require_primary(redis),
            "storage": storage.ping,
        }

    async def check_ready(self) -> dict[str, float]:
        """Time each dependency in milliseconds; raise Unavailable, with those that do not answer, or while stopping."""
        if self._stopping.is_set():
            raise errors.Unavailable("this server is about to stop")
        timings = await asyncio.gather(*(self._time_check(check) for check in self._checks.values()))
        answers = dict(zip(self._checks, timings, strict=True))
        unavailable = [name for name, answer in answers.items() if answer is None]
        problems = [f"{' and '.join(unavailable)} unavailable"] if unavailable else []
        problems += [answer for answer in answers.values() if isinstance(answer, str)]
        if problems:
            raise errors.Unavailable(" and ".join(problems))
        return {name: answer for name, answer in answers.items() if isinstance(answer, float)}

    @staticmethod
    async def _time_check(check: Callable[[], Awaitable[object]]) -> float | str | None:
        """Return milliseconds, what is wrong, or None where there is no answer."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await check()
        except NotPrimary:
            return "redis is a replica"
        except Exception:
            return None
        return round((time.perf_counter() - started) * 1000, 2)


async def _require_primary(client: Redis) -> None:
    """Raise where Redis does not answer, or is a replica: it cannot be written."""
    try:
        role = await client.execute_command("ROLE")  # type: ignore[no-untyped-call]
    except NoPermissionError:
        role = await client.ping()
    if not is_primary(role):
        raise NotPrimary("Redis is a replica")
