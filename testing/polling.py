"""The one wait for a condition, and its blocking form for processes that start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from testing.time_limits import limit

#: Seconds between two looks at a condition.
INTERVAL = 0.01


async def eventually(check: Callable[[], Any], what: str | Callable[[], str] = "", *, within: float = 10) -> Any:
    """Repeat `check` until it returns a true value, and return that; fail after `within` seconds of this machine.

    `what` names the condition in the failure; a function is asked when it fails, so that it can say what was seen.
    """
    deadline = asyncio.get_running_loop().time() + limit(within)
    while True:
        found = check()
        answer: Any = await found if isinstance(found, Awaitable) else found
        if answer:
            return answer
        if asyncio.get_running_loop().time() >= deadline:
            seen = what() if callable(what) else what
            raise AssertionError(f"not within {within} s: {seen or check.__qualname__}")
        await asyncio.sleep(INTERVAL)


def wait_until(check: Callable[[], Any], what: str | Callable[[], str], *, within: float) -> None:
    """Block until `check` returns a true value; it raises where waiting has become pointless."""
    deadline = time.monotonic() + limit(within)
    while not check():
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within} s: {what() if callable(what) else what}")
        time.sleep(INTERVAL)
