"""Logins that ended before their access tokens expire, known to every process within a second.

PostgreSQL has the rows (`refresh_tokens.revoked_at`). A mark in Redis changes when there are new ones; each process
polls it several times a second and reads PostgreSQL when it has changed, is missing, or Redis is unavailable, and every
five seconds anyway. So checking a token costs no query, and a restart of either store loses no revocation.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa
from redis.asyncio import Redis
from sqlmodel import col

import errors
from adapters import budgets, tasks
from adapters.database import Database, require_writable
from adapters.redis import UNAVAILABLE
from instants import utc_now
from models import RefreshToken

log = logging.getLogger("parlance.revocations")

#: Seconds between two reads of the mark, and between two reads of PostgreSQL while the mark does not change.
_MARK_POLL_SECONDS, _DATABASE_READ_SECONDS = 0.3, 5.0
#: Seconds after which Redis, and PostgreSQL, count as unavailable. Short, so that the first read after a partition is
#: not one that still waits for a packet from before.
_REDIS_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS = 1.0, 3.0
#: `revoked_at` is when a transaction began; one that commits later must not be missed.
_READ_OVERLAP = timedelta(seconds=60)
_MARK_KEY = "auth:revocations"


class LoginRevocations:
    def __init__(self, database: Database, redis_: Redis, token_lifetime: timedelta) -> None:
        """`token_lifetime` is how long an access token is valid after it was issued."""
        self._database = database
        self._redis = redis_
        self._lifetime = token_lifetime
        self._ended: dict[str, datetime] = {}
        self._read_until: datetime | None = None
        self._listeners: list[Callable[[set[str]], None]] = []
        self._task: asyncio.Task[None] | None = None

    def on_ended(self, listener: Callable[[set[str]], None]) -> None:
        """Call `listener` with the ids of logins (of their refresh-token families) that have just ended."""
        self._listeners.append(listener)

    def check(self, family_id: str) -> None:
        """Raise Unauthenticated for a login that has ended; Unavailable until PostgreSQL was first read."""
        if family_id in self._ended:
            raise errors.Unauthenticated("This login has ended; log in again.")
        if self._read_until is None:
            raise errors.Unavailable()

    def has_ended(self, family_id: str) -> bool:
        """Return whether a login has ended, as far as this process knows."""
        return family_id in self._ended

    async def publish(self, family_ids: Iterable[str]) -> None:
        """Publish that logins have ended; call it after the commit that ended them."""
        ended = set(family_ids)
        if not ended:
            return
        self._record(dict.fromkeys(ended, utc_now()))
        # While Redis is unavailable every process reads PostgreSQL.
        with suppress(*UNAVAILABLE):
            async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                # Not a counter: one that is lost and starts again may reach the value that was read last.
                await self._redis.set(_MARK_KEY, secrets.token_hex(8))

    def _record(self, ended: dict[str, datetime]) -> None:
        fresh = ended.keys() - self._ended.keys()
        self._ended.update(ended)
        if fresh:
            for listener in self._listeners:
                listener(set(fresh))

    async def start(self) -> None:
        with suppress(Exception):  # the loop tries again; until then `check` raises Unavailable
            await self._read()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task:
            await tasks.end(self._task)

    async def _watch(self) -> None:
        seen: str | bytes | None = None
        read_at = 0.0
        while True:
            await asyncio.sleep(_MARK_POLL_SECONDS)
            try:
                async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                    mark = await self._redis.get(_MARK_KEY)
                    if mark is None:  # lost or never set: without one every process would read PostgreSQL each time
                        await self._redis.set(_MARK_KEY, secrets.token_hex(8), nx=True)
            except UNAVAILABLE:
                mark = None
            now = asyncio.get_running_loop().time()
            if mark is not None and mark == seen and now - read_at < _DATABASE_READ_SECONDS:
                continue
            try:
                await self._read()
                seen, read_at = mark, now
            except Exception as error:
                log.warning("login_revocations_unread error=%s", error)

    async def _read(self) -> None:
        with budgets.time_limit(_READ_TIMEOUT_SECONDS):
            await self._read_ended()

    async def _read_ended(self) -> None:
        async with self._database.transaction() as db:
            # A standby may lack the newest rows, and a demoted primary gets no more.
            await require_writable(db)
            # PostgreSQL's clock, which wrote `revoked_at`: those of the processes may differ.
            now: datetime = (await db.execute(sa.select(sa.func.now()))).scalar_one()
            since = (
                max(self._read_until - _READ_OVERLAP, now - self._lifetime)
                if self._read_until
                else now - self._lifetime
            )
            statement = (
                sa.select(col(RefreshToken.family_id), sa.func.max(col(RefreshToken.revoked_at)))
                .where(col(RefreshToken.revoked), col(RefreshToken.revoked_at) > since)
                .group_by(col(RefreshToken.family_id))
            )
            rows = (await db.execute(statement)).all()
        self._ended = {family_id: at for family_id, at in self._ended.items() if at > now - self._lifetime}
        self._read_until = now
        self._record({str(family_id): at for family_id, at in rows})
