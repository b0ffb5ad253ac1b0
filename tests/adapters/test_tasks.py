"""Background tasks end at `stop`, also when an earlier `stop` was cancelled."""

from __future__ import annotations

import asyncio

from adapters import tasks
from testing.time_limits import limit


async def test_task_that_lost_a_cancellation_is_ended() -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:  # as `wait_for` of Python 3.11 does, now and then
                swallowed += 1
                if swallowed > 1:
                    raise

    async def fails() -> None:
        raise LookupError

    task, failed = asyncio.create_task(work()), asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.end(task, failed), limit(5))
    assert task.cancelled() and failed.done() and swallowed == 2
    await tasks.end()
