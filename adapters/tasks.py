"""Owns the end of background tasks."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until each has ended.

    More than once: Python 3.11's `wait_for`, in which clients of PostgreSQL and Redis wait, can swallow a cancellation,
    and a process that waits for such a task never stops.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
    await asyncio.gather(*tasks, return_exceptions=True)
