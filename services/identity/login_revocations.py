"""Owns which sign-ins have ended before their access tokens expire, as every worker knows it within a second.

PostgreSQL holds the facts (`refresh_tokens.revoked_at`). A mark in Redis changes when there are new ones; each worker
looks at it several times a second and reads PostgreSQL when it has changed, is gone, or Redis does not answer, and
every five seconds anyway. So checking a token costs no query, and neither store's restart forgets a revocation.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import redis.exceptions
import sqlalchemy as sa
from redis.asyncio import Redis
from sqlmodel import col

import errors
from adapters import tasks
from adapters.database import Database
from models import RefreshToken

log = logging.getLogger("parlance.revocations")

#: Seconds between two looks at the mark, and between two reads of PostgreSQL without a sign.
_LOOK, _READ = 0.3, 5.0
#: Seconds that Redis has to answer before it counts as away.
_PATIENCE = 1.0
#: `revoked_at` is when a transaction began; one that commits later must not be missed.
_OVERLAP = timedelta(seconds=60)
_MARK = "auth:revocations"


class LoginRevocations:
    def __init__(self, database: Database, redis_: Redis, token_lifetime: timedelta) -> None:
        """`token_lifetime` is how long an access token may still work after its sign-in has ended."""
        self._database = database
        self._redis = redis_
        self._lifetime = token_lifetime
        self._ended: dict[str, datetime] = {}
        self._read_until: datetime | None = None
        self._listeners: list[Callable[[set[str]], None]] = []
        self._task: asyncio.Task[None] | None = None

    def on_ended(self, listener: Callable[[set[str]], None]) -> None:
        """Call `listener` with the ids of sign-ins (families) that have just ended."""
        self._listeners.append(listener)

    def check(self, family_id: str) -> None:
        """Raise Unauthenticated for a sign-in that has ended; Unavailable until it is known which have."""
        if family_id in self._ended:
            raise errors.Unauthenticated("This sign-in has ended; sign in again.")
        if self._read_until is None:
            raise errors.Unavailable()

    def has_ended(self, family_id: str) -> bool:
        """Say whether a sign-in has ended, as far as this worker knows."""
        return family_id in self._ended

    async def announce(self, family_ids: Iterable[str]) -> None:
        """Make it known that sign-ins have ended; call it after the commit that ended them."""
        ended = set(family_ids)
        if not ended:
            return
        self._note(dict.fromkeys(ended, datetime.now(UTC)))
        with suppress(redis.exceptions.RedisError, OSError):  # every worker reads PostgreSQL while Redis is away
            async with asyncio.timeout(_PATIENCE):
                # Not a counter: one that is lost and begins again may come to the number that was seen last.
                await self._redis.set(_MARK, secrets.token_hex(8))

    def _note(self, ended: dict[str, datetime]) -> None:
        fresh = ended.keys() - self._ended.keys()
        self._ended.update(ended)
        if fresh:
            for listener in self._listeners:
                listener(set(fresh))

    async def start(self) -> None:
        with suppress(Exception):  # the loop goes on trying; until then `check` answers Unavailable
            await self._read()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task:
            await tasks.end(self._task)

    async def _watch(self) -> None:
        seen: str | bytes | None = None
        read_at = 0.0
        while True:
            await asyncio.sleep(_LOOK)
            try:
                async with asyncio.timeout(_PATIENCE):
                    mark = await self._redis.get(_MARK)
                    if mark is None:  # Redis has forgotten it, or never knew one: else all would read until the next
                        await self._redis.set(_MARK, secrets.token_hex(8), nx=True)
            except (redis.exceptions.RedisError, OSError):
                mark = None
            now = asyncio.get_running_loop().time()
            if mark is not None and mark == seen and now - read_at < _READ:
                continue
            try:
                await self._read()
                seen, read_at = mark, now
            except Exception as error:
                log.warning("PostgreSQL does not say which sign-ins have ended: %s", error)

    async def _read(self) -> None:
        async with self._database.transaction() as db:
            # PostgreSQL's clock, which wrote `revoked_at`: that of another worker may differ.
            now: datetime = (await db.execute(sa.select(sa.func.now()))).scalar_one()
            since = max(self._read_until - _OVERLAP, now - self._lifetime) if self._read_until else now - self._lifetime
            statement = (
                sa.select(col(RefreshToken.family_id), sa.func.max(col(RefreshToken.revoked_at)))
                .where(col(RefreshToken.revoked), col(RefreshToken.revoked_at) > since)
                .group_by(col(RefreshToken.family_id))
            )
            rows = (await db.execute(statement)).all()
        self._ended = {family: at for family, at in self._ended.items() if at > now - self._lifetime}
        self._read_until = now
        self._note({str(family): at for family, at in rows})
