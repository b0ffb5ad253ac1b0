"""Owns password hashing: bcrypt, off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import bcrypt

import errors

#: bcrypt reads no further than this.
MAX_BYTES = 72

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords; more than `queue` waiting at once is answered with Unavailable."""

    def __init__(self, rounds: int, *, queue: int = 16) -> None:
        self._rounds = rounds
        # One core stays free for the event loop: bcrypt releases the GIL, not the processor.
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="bcrypt")
        self._free = queue
        self._decoy = bcrypt.hashpw(b"nobody's password", bcrypt.gensalt(rounds))

    async def hash(self, password: str) -> str:
        hashed = await self._run(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds)))
        return hashed.decode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Check a password; a missing hash costs the same and never matches."""
        raw = password.encode()
        known = password_hash.encode() if password_hash else self._decoy
        fits = len(raw) <= MAX_BYTES
        matched = await self._run(partial(bcrypt.checkpw, raw[:MAX_BYTES], known))
        return matched and fits and password_hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free <= 0:
            raise errors.Unavailable("too many sign-ins at once", retry_after=1)
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._free += 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
