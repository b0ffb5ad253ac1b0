"""Background tasks: kept while they run, ended reliably."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from adapters import budgets


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until each has ended.

    Cancels repeatedly: Python 3.11's `wait_for`, which the clients of PostgreSQL and Redis use, can swallow a
    cancellation, and a process that waits for such a task never stops.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
    await asyncio.gather(*tasks, return_exceptions=True)


class BackgroundTasks:
    """Tasks without an awaiter, referenced until they are done: asyncio alone would let them be collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work, context=budgets.without_budget())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel the tasks that still run, and wait for them."""
        await end(*self._tasks)
