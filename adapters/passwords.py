"""Password hashing: bcrypt, off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
import enum
import functools
import importlib.util
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import bcrypt

import errors

#: bcrypt ignores bytes beyond this.
MAX_PASSWORD_BYTES = 72

MIN_PASSWORD_LENGTH = 8
#: Of each of zxcvbn's lists. A password is in the list in which its rank is lowest, so the 10,000 commonest are among
#: the first 10,000 of all of them.
_COMMON_RANKS = 10_000
#: General categories that OpaqueString refuses (RFC 8265, 4.2; RFC 8264, 9): controls, unassigned, private, surrogates.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cn", "Co", "Cs"})

T = TypeVar("T")


class Verdict(enum.Enum):
    WRONG = "wrong"
    RIGHT = "right"
    #: Right, but the hash is not of the prepared form.
    OUTDATED = "outdated"


def prepare(password: str) -> str | None:
    """Prepare a password as RFC 8265's OpaqueString: spaces to U+0020, then NFC; None for one that it refuses."""
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in password)
    prepared = unicodedata.normalize("NFC", spaced)
    refused = any(unicodedata.category(each) in _REFUSED_CATEGORIES for each in prepared)
    return None if refused or not prepared else prepared


def is_common(password: str) -> bool:
    """Return whether a password is one of the commonest, in any case."""
    return password.casefold() in _read_common()


@functools.cache
def _read_common() -> frozenset[str]:
    """Read the ranked lists of zxcvbn, without the rest of it, which would keep 10 MB of tables in memory."""
    package = importlib.util.find_spec("zxcvbn")
    assert package is not None and package.origin is not None
    path = Path(package.origin).with_name("frequency_lists.py")
    spec = importlib.util.spec_from_file_location("zxcvbn_frequency_lists", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ranked = module.FREQUENCY_LISTS.values()
    return frozenset(word for words in ranked for word in words[:_COMMON_RANKS] if len(word) >= MIN_PASSWORD_LENGTH)


class Passwords:
    """Hashing and checks of passwords; with more than `queue` waiting, Unavailable is raised."""

    def __init__(self, rounds: int, *, queue: int = 16) -> None:
        self._rounds = rounds
        # One core stays free for the event loop: bcrypt releases the GIL, but uses a whole core.
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="bcrypt")
        self._free = queue
        self._decoy = bcrypt.hashpw(secrets.token_bytes(32).hex().encode(), bcrypt.gensalt(rounds))

    async def hash(self, password: str) -> str:
        """Hash the prepared form of a password."""
        return await self._run(partial(self._hash, prepare(password) or password))

    async def hash_new(self, password: str, field: str) -> str:
        """Hash a new password; raise RequestInvalid, naming `field`, or PasswordTooCommon."""
        prepared = prepare(password)
        if prepared is None:
            raise errors.RequestInvalid(f"'{field}' has control or unassigned characters; leave them out")
        if len(prepared) < MIN_PASSWORD_LENGTH:
            raise errors.RequestInvalid(f"'{field}' is too short; the least is {MIN_PASSWORD_LENGTH} characters")
        if len(prepared.encode()) > MAX_PASSWORD_BYTES:
            raise errors.RequestInvalid(f"'{field}' is too long; the most is {MAX_PASSWORD_BYTES} bytes")

        def work() -> str | None:
            # In a thread: the first call of a process reads the list.
            return None if is_common(prepared) else self._hash(prepared)

        hashed = await self._run(work)
        if hashed is None:
            raise errors.PasswordTooCommon()
        return hashed

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Check a password; a missing or empty hash costs the same and never matches."""
        return await self.verify(password, password_hash) is not Verdict.WRONG

    async def verify(self, password: str, password_hash: str | None) -> Verdict:
        """Check a password, and whether its hash is of the outdated form; an empty hash never matches.

        Older hashes are of the unprepared input, byte for byte. The forms to check depend on the input alone, and all
        of them are checked, so that the duration reveals nothing about the account.
        """
        prepared = prepare(password)
        forms = list(dict.fromkeys(form.encode() for form in (prepared, password) if form is not None))
        known = password_hash.encode() if password_hash else self._decoy

        def work() -> list[bool]:
            return [
                bcrypt.checkpw(form[:MAX_PASSWORD_BYTES], known) and len(form) <= MAX_PASSWORD_BYTES for form in forms
            ]

        matched = await self._run(work)
        if not password_hash or not any(matched):
            return Verdict.WRONG
        return Verdict.RIGHT if prepared is None or matched[0] else Verdict.OUTDATED

    def _hash(self, prepared: str) -> str:
        return bcrypt.hashpw(prepared.encode(), bcrypt.gensalt(self._rounds)).decode()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free <= 0:
            raise errors.Unavailable("too many logins at once", retry_after=1)
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._free += 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
