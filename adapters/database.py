"""Connections to PostgreSQL: a pool for transactions, one for batched queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy.exc
from psycopg.conninfo import make_conninfo
from sqlalchemy import event, func, make_url, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.batched_queries import BatchedQueries, Row
from settings import Settings

#: What a statement raises while PostgreSQL is unreachable, refuses to serve or is too busy.
UNAVAILABLE = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
)


class Database:
    """PostgreSQL through psycopg 3; `transaction()` is the one way to write, `fetch_one()` a quicker way to read."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=settings.db_pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            # An unexpected error is logged, and parameters are hashes of passwords and tokens.
            hide_parameters=True,
            connect_args={"connect_timeout": 5, "options": "-c timezone=UTC -c statement_timeout=15000"},
        )
        event.listen(self.engine.sync_engine, "handle_error", _leave_out_rows)
        self._reads = BatchedQueries(
            make_conninfo(settings.database_url, connect_timeout=5, options="-c timezone=UTC -c statement_timeout=5000")
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session that commits on leaving and rolls back on an exception."""
        async with AsyncSession(self.engine, expire_on_commit=False) as db, db.begin():
            yield db

    async def fetch_one(self, statement: str, *parameters: str) -> Row | None:
        """Return the first row that a statement finds by an index; see `adapters/batched_queries.py`."""
        return await self._reads.fetch_one(statement, *parameters)

    async def ping(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._reads.close()
        await self.engine.dispose()


async def lock_name(db: AsyncSession, name: str) -> None:
    """Wait for other transactions that lock this name, and have the next ones wait for the end of this one.

    For what has no row yet that could be locked.
    """
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


async def plan_by_values(db: AsyncSession) -> None:
    """Plan each statement of this transaction for its values, also if it was prepared before.

    A generic plan uses no partial index and no prefix, and does not expect that a month is a small part of a table.
    """
    await db.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _leave_out_rows(context: ExceptionContext) -> None:
    """Shorten an error to PostgreSQL's first line: its DETAIL quotes whole rows, password hashes included."""
    original, raised = context.original_exception, context.sqlalchemy_exception
    if isinstance(original, psycopg.Error) and original.diag.message_primary:
        original.args = (original.diag.message_primary,)
        if raised is not None:
            kind = type(original)
            raised.args = (f"({kind.__module__}.{kind.__qualname__}) {original.diag.message_primary}",)
