"""Owns the job queue: procrastinate, whose jobs are rows of PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import DEFAULT_QUEUE
from sqlmodel.ext.asyncio.session import AsyncSession

from settings import Settings

#: Seconds without a sign of life after which a worker's job is taken up by another.
STALLED_AFTER = 10

#: The queue of what takes minutes: a worker does one of it at a time, beside what is in the default one.
VIDEOS = "videos"


class Jobs:
    """Jobs by name. `cli/worker.py` says what each does."""

    def __init__(self, settings: Settings) -> None:
        self.app = App(connector=PsycopgConnector(conninfo=settings.database_url, min_size=1, max_size=4))

    async def enqueue(
        self,
        session: AsyncSession,
        name: str,
        *,
        wait: timedelta | None = None,
        queue: str = DEFAULT_QUEUE,
        **arguments: Any,
    ) -> None:
        """Add a job inside the caller's transaction: it exists exactly if the transaction commits.

        With `wait` it is due only then.
        """
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        due = {"seconds": int(wait.total_seconds())} if wait else None
        job = self.app.configure_task(name, connection=raw.driver_connection, schedule_in=due, queue=queue)
        try:
            await job.defer_async(**arguments)
        except ConnectorException as error:
            # A database that is away should look the same whichever library noticed.
            if isinstance(error.__cause__, psycopg.OperationalError):
                raise error.__cause__ from None
            raise

    async def forget(self, session: AsyncSession, *, email: str, user_id: str) -> None:
        """Remove the jobs, done or not, whose arguments name a person, inside the caller's transaction."""
        await session.execute(
            sa.text(
                "DELETE FROM procrastinate_jobs WHERE status <> 'doing'"
                " AND (lower(args->>'email') = lower(:email) OR args->>'user_id' = :user_id)"
            ),
            {"email": email, "user_id": user_id},
        )
