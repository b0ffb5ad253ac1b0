"""Budget of a request: the seconds that it waits for PostgreSQL, all its statements together."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

REQUEST_SECONDS = 8.5
#: Seconds that a statement gets when the budget is used up, so that a healthy connection is rolled back.
LAST_SECONDS = 0.5


class Budget:
    """Seconds that the statements of one request may still take."""

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds


_budget: contextvars.ContextVar[Budget | None] = contextvars.ContextVar("postgresql_budget", default=None)


def begin_request() -> contextvars.Token[Budget | None]:
    """Start the budget of a request or an event in this context; it counts waits for PostgreSQL alone."""
    return _budget.set(Budget(REQUEST_SECONDS))


def end_request(token: contextvars.Token[Budget | None]) -> None:
    """Restore what was before `begin_request`."""
    _budget.reset(token)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the waits for PostgreSQL inside the block, all together."""
    left = _budget.get()
    token = _budget.set(Budget(seconds if left is None else min(seconds, left.left)))
    try:
        yield
    finally:
        _budget.reset(token)


def current_budget() -> Budget | None:
    """Return the budget of this request; None outside one."""
    return _budget.get()


def without_budget() -> contextvars.Context:
    """Return a copy of the context, for a task that outlives its request."""
    context = contextvars.copy_context()
    context.run(_budget.set, None)
    return context


@asynccontextmanager
async def counted() -> AsyncIterator[None]:
    """Count the time of the block against a budget; raise TimeoutError when that is used up."""
    budget = _budget.get()
    if budget is None:
        yield
        return
    began, before = time.monotonic(), budget.left
    try:
        # Statements end first, by a limit of their own: a cancelled one would wait for its cancellation.
        async with asyncio.timeout(max(before, 0) + 2 * LAST_SECONDS):
            yield
    finally:
        budget.left = before - (time.monotonic() - began)
