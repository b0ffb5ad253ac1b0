"""Owns the job queue: procrastinate, whose jobs are rows of PostgreSQL."""

from __future__ import annotations

from procrastinate import App, PsycopgConnector

from settings import Settings

#: Seconds without a sign of life after which a worker's job is taken up by another.
STALLED_AFTER = 10


def queue(settings: Settings) -> App:
    """Make the queue; open it before use (`async with queue.open_async()`)."""
    return App(connector=PsycopgConnector(conninfo=settings.database_url, min_size=1, max_size=4))
