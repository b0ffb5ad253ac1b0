"""Owns the job queue: procrastinate, whose jobs are rows of PostgreSQL."""

from __future__ import annotations

from typing import Any

from procrastinate import App, PsycopgConnector
from sqlmodel.ext.asyncio.session import AsyncSession

from settings import Settings

#: Seconds without a sign of life after which a worker's job is taken up by another.
STALLED_AFTER = 10


class Jobs:
    """Jobs by name. `cli/worker.py` says what each does."""

    def __init__(self, settings: Settings) -> None:
        self.app = App(connector=PsycopgConnector(conninfo=settings.database_url, min_size=1, max_size=4))

    async def enqueue(self, session: AsyncSession, name: str, **arguments: Any) -> None:
        """Add a job inside the caller's transaction: it exists exactly if the transaction commits."""
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        await self.app.configure_task(name, connection=raw.driver_connection).defer_async(**arguments)
