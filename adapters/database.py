"""Connections to PostgreSQL: a pool for transactions, one for batched queries."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy.exc
from sqlalchemy import event, func, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters import budgets, postgresql
from adapters.batched_queries import TIMEOUT_SECONDS, BatchedQueries, Row
from settings import Settings

#: What a statement raises while PostgreSQL is unreachable, refuses to serve, cannot write or is too busy.
UNAVAILABLE = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
    TimeoutError,
)

#: Seconds in which PostgreSQL answers `check_writable`.
_CHECK_SECONDS = 1.5
_GENERATION = "generation"


class Database:
    """PostgreSQL through psycopg 3; `transaction()` is the one way to write, `fetch_one()` a quicker way to read."""

    def __init__(self, settings: Settings) -> None:
        self.engine: AsyncEngine = postgresql.engine(settings)
        event.listen(self.engine.sync_engine, "handle_error", _leave_out_rows)
        event.listen(self.engine.sync_engine, "checkout", self._require_generation)
        #: Increases when the connections made so far have to be replaced.
        self._generation = 0
        self._reads = BatchedQueries(
            lambda: postgresql.connect(settings, autocommit=True), prepares=not settings.db_transaction_pooling
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session that commits on leaving and rolls back on an exception.

        Raises one of UNAVAILABLE, in a request before its budget is exceeded.
        """
        try:
            async with AsyncSession(self.engine, expire_on_commit=False) as db, db.begin():
                async with budgets.counted():
                    await db.connection()
                yield db
        except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
            if postgresql.is_unusable(error):
                self.replace_connections()
            if postgresql.is_repeatable(error):
                raise postgresql.ConnectionUnusable(str(error)) from error
            raise

    async def fetch_one(self, statement: str, *parameters: str) -> Row | None:
        """Return the first row that a statement finds by an index; see `adapters/batched_queries.py`."""
        budget = budgets.current_budget()
        if budget is None or budget.left < TIMEOUT_SECONDS or not self._reads.is_open:
            async with budgets.counted():
                return await self._reads.fetch_one(statement, *parameters)
        # It ends by itself; the context managers would cost as much as the rest of the read.
        began = time.monotonic()
        try:
            return await self._reads.fetch_one(statement, *parameters)
        finally:
            budget.left -= time.monotonic() - began

    async def check_writable(self) -> None:
        """Raise one of UNAVAILABLE, soon, where PostgreSQL does not answer or cannot write."""
        with budgets.time_limit(_CHECK_SECONDS):
            async with self.transaction() as db:
                await require_writable(db)

    def replace_connections(self) -> None:
        """Have each connection closed when it is next needed, and another made: to the primary, after a switch."""
        self._generation += 1
        self._reads.replace_connection()

    def _require_generation(self, _: object, entry: ConnectionPoolEntry, __: object) -> None:
        if entry.info.setdefault(_GENERATION, self._generation) != self._generation:
            raise InvalidatePoolError

    async def close(self) -> None:
        await self._reads.close()
        await self.engine.dispose()


async def require_writable(db: AsyncSession) -> None:
    """Raise ReadOnlySqlTransaction on a standby, and on a server that is read only."""
    statement = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
    if (await db.execute(statement)).scalar_one():
        raise psycopg.errors.ReadOnlySqlTransaction("PostgreSQL is a standby, or read only")


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
