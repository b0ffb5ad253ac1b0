"""Connections to PostgreSQL: the one place that writes conninfos and connects.

TCP notices a host that vanished (keepalives, `tcp_user_timeout`); a time limit of each statement notices what answers
TCP and nothing else, such as a proxy whose server is gone. The statements, connects and waits of one request share a
budget (`begin_request`).

A private part, held to its source by `tests/contract/test_seams.py`: `wait` of psycopg's connection, through which each
of its statements goes.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from procrastinate import PsycopgConnector
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from adapters import budgets
from settings import Settings

#: Seconds in which one address of a host has to accept a connection.
CONNECT_SECONDS = 3
#: Seconds after which PostgreSQL itself ends a statement, and after which the connection counts as dead.
STATEMENT_TIMEOUT_SECONDS, DEAD_AFTER_SECONDS = 8, 9
#: Seconds after which PostgreSQL ends a transaction of a client that is silent: its locks would stop all others.
_IDLE_TRANSACTION_SECONDS = 10
#: The same for the statement that checks an idle connection of a pool.
_CHECK_SECONDS = 2
#: Seconds between two checks of a connection that listens for notifications.
_LISTEN_CHECK_SECONDS = 5

# A host that vanished without closing its connections is found after 8 seconds: by the probes of an idle connection
# (2 + 3 * 2), or by what was sent and is not acknowledged. A partition of five seconds ends no connection.
_LIVENESS: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,
}
#: The same on the server's side, whose defaults are hours.
_SERVER_LIVENESS = {
    "tcp_keepalives_idle": 2,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 8000,
}
_TIMEOUTS = {
    "statement_timeout": STATEMENT_TIMEOUT_SECONDS * 1000,
    "idle_in_transaction_session_timeout": _IDLE_TRANSACTION_SECONDS * 1000,
}

#: SQLSTATEs after which the connections to this server are of no use: it is a standby, shuts down or starts, or the
#: connection failed (class 08, also the errors of PgBouncer).
_UNUSABLE_STATES = {"25006", "57P01", "57P02", "57P03"}
_CONNECTION_CLASS = "08"


#: By the addresses of a setting: the host and port that could write last, and the search for another one.
_primaries: dict[str, tuple[str, int]] = {}
_searches: dict[str, asyncio.Task[None]] = {}


class ConnectionUnusable(psycopg.OperationalError):
    """The server cannot write, or has ended the transaction: the operation may be repeated on another connection."""


def is_unusable(error: BaseException) -> bool:
    """Say whether an error means that connections to this server have to be replaced."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    state = original.sqlstate if isinstance(original, psycopg.Error) else None
    return state is not None and (state in _UNUSABLE_STATES or state.startswith(_CONNECTION_CLASS))


def is_repeatable(error: BaseException) -> bool:
    """Say whether an error is one of the server's state that psycopg raises as if it were the statement's."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(original, (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.IdleInTransactionSessionTimeout))


class Connection(psycopg.AsyncConnection[Any]):
    """A connection whose statements end: by the server, by the request's budget, or because it is dead."""

    #: Whether it waits in a pool, so that its next statement is the pool's check.
    is_idle = False
    #: The end of the wait that goes on.
    _watch: asyncio.TimerHandle

    @classmethod
    async def connect(cls, conninfo: str = "", *, keeps_settings: bool = True, **options: Any) -> Connection:  # type: ignore[override]
        """Connect as psycopg does, within the budget; without `keeps_settings` each transaction has to make its own.

        Outside a budget the limit is that of `_connect_seconds`: psycopg has none for the look-up of names.
        """
        budget = budgets.current_budget()
        seconds = _connect_seconds(conninfo) if budget is None else max(budget.left, budgets.LAST_SECONDS)
        try:
            async with budgets.counted(), asyncio.timeout(seconds):
                connection = await super().connect(conninfo, **options)
        except TimeoutError:
            raise psycopg.OperationalError("connection timeout expired") from None
        # Not by the startup parameter `options`, which PgBouncer refuses.
        settings = {"timezone": "UTC"} | (_SERVER_LIVENESS | _TIMEOUTS if keeps_settings else {})
        autocommit = connection.autocommit
        try:
            await connection.set_autocommit(True)
            await connection.execute(_set(settings, is_local=False))
            await connection.set_autocommit(autocommit)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement; after the time limit the socket is shut, which raises OperationalError in it."""
        if options.get("timeout") is not None:  # a wait for notifications, which may never come
            return await super().wait(*arguments, **options)
        budget = budgets.current_budget()
        seconds: float = _CHECK_SECONDS if self.is_idle else DEAD_AFTER_SECONDS
        if budget is not None:
            seconds = min(seconds, max(budget.left, budgets.LAST_SECONDS))
        began = time.monotonic()
        # Not `asyncio.timeout`: psycopg asks the server to cancel a statement and waits for that for ten seconds.
        self._watch = asyncio.get_running_loop().call_later(seconds, self._give_up)
        try:
            return await super().wait(*arguments, **options)
        finally:
            self._watch.cancel()
            if budget is not None:
                budget.left -= time.monotonic() - began

    async def notifies(self, *, timeout: float | None = None, stop_after: int | None = None) -> Any:  # noqa: ASYNC109 - psycopg's
        """Yield notifications for a few seconds at most, after which procrastinate checks the connection."""
        seconds = _LISTEN_CHECK_SECONDS if timeout is None else min(timeout, _LISTEN_CHECK_SECONDS)
        async for notification in super().notifies(timeout=seconds, stop_after=stop_after):
            yield notification

    async def cancel_safe(self, *, timeout: float = 30) -> None:  # noqa: ASYNC109 - psycopg's
        """Ask the server to cancel the statement, for a second at most."""
        await super().cancel_safe(timeout=min(timeout, 1))

    def _give_up(self) -> None:
        """Shut the socket down, not the descriptor, which is libpq's."""
        answered = select.poll()
        answered.register(self.fileno(), select.POLLIN)
        if answered.poll(0):  # by what a busy event loop has yet to read
            self._watch = asyncio.get_running_loop().call_later(budgets.LAST_SECONDS, self._give_up)
            return
        # The other side may be faster.
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)


def _connect_seconds(conninfo: str) -> int:
    """Return the seconds for the look-up of all hosts, and for two addresses of each: IPv4 and IPv6."""
    hosts = str(conninfo_to_dict(conninfo).get("host") or "").split(",")
    return CONNECT_SECONDS * (1 + 2 * len(hosts))


def conninfo(settings: Settings) -> str:
    """Write a conninfo, password included: never log it."""
    hosts = settings.database_hosts
    if (found := _primaries.get(settings.database_address)) in hosts:
        hosts = [found, *(host for host in hosts if host != found)]
    return make_conninfo(
        host=",".join(host for host, _ in hosts),
        port=",".join(str(port) for _, port in hosts),
        user=settings.db_username,
        password=settings.db_password.get_secret_value(),
        dbname=settings.db_name,
        sslmode=settings.db_sslmode,
        sslrootcert=settings.db_sslrootcert,
        application_name="parlance",
        connect_timeout=CONNECT_SECONDS,
        target_session_attrs="read-write",
        **_LIVENESS,
    )


def _options(settings: Settings) -> dict[str, Any]:
    """Return the options of `Connection.connect`; a pooler of transactions keeps no statements and no settings."""
    if settings.db_transaction_pooling:
        return {"keeps_settings": False, "prepare_threshold": None}
    return {}


async def connect(settings: Settings, **options: Any) -> Connection:
    """Connect to a server that can write; raise psycopg.OperationalError.

    Of several hosts the one that could write last is tried first: a silent one takes longer than some budgets.
    """
    address = settings.database_address
    try:
        connection = await Connection.connect(conninfo(settings), **_options(settings), **options)
    except psycopg.OperationalError:
        if len(settings.database_hosts) > 1 and address not in _searches:
            search = asyncio.create_task(_find_primary(settings), context=budgets.without_budget())
            _searches[address] = search
            search.add_done_callback(lambda _: _searches.pop(address))
        raise
    _primaries[address] = connection.info.host, connection.info.port
    return connection


async def _find_primary(settings: Settings) -> None:
    """Try all hosts, in the time that each may take, and note the one that can write."""
    with suppress(psycopg.OperationalError):
        connection = await Connection.connect(conninfo(settings), **_options(settings))
        _primaries[settings.database_address] = connection.info.host, connection.info.port
        await connection.close()


def connect_and_block(settings: Settings, **options: Any) -> psycopg.Connection[Any]:
    """Connect as `connect` does, for commands; statements may take as long as they need."""
    return psycopg.connect(conninfo(settings), prepare_threshold=None, **options)


def blocking_engine(settings: Settings) -> sa.Engine:
    """Build an engine without a pool, for migrations."""
    return sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connect_and_block(settings), poolclass=sa.pool.NullPool
    )


def engine(settings: Settings) -> AsyncEngine:
    """Build the engine of transactions, with its pool."""
    made = create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: connect(settings),
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        # An unexpected error is logged, and parameters are hashes of passwords and tokens.
        hide_parameters=True,
    )
    sa.event.listen(made.sync_engine, "checkin", _note_idle)
    sa.event.listen(made.sync_engine, "checkout", _note_used)
    if settings.db_transaction_pooling:
        sa.event.listen(made.sync_engine, "begin", _limit_transaction)
    return made


def _note_idle(_: object, entry: ConnectionPoolEntry) -> None:
    if isinstance(connection := entry.driver_connection, Connection):
        connection.is_idle = True


def _note_used(_: object, entry: ConnectionPoolEntry, __: object) -> None:
    if isinstance(connection := entry.driver_connection, Connection):
        connection.is_idle = False


def _limit_transaction(connection: sa.Connection) -> None:
    connection.exec_driver_sql(_set(_TIMEOUTS, is_local=True).decode())


def _set(values: Mapping[str, object], *, is_local: bool) -> bytes:
    """Write the statement that sets parameters, for the session or for a transaction."""
    calls = [f"set_config('{name}', '{value}', {str(is_local).lower()})" for name, value in values.items()]
    return f"SELECT {', '.join(calls)}".encode()


def job_connector(settings: Settings) -> PsycopgConnector:
    """Build procrastinate's connections: a pool, and one that listens for new jobs."""
    return PsycopgConnector(
        conninfo=conninfo(settings),
        connection_class=Connection,
        kwargs=_options(settings),
        min_size=1,
        max_size=4,
        max_idle=60,
        timeout=DEAD_AFTER_SECONDS,
        pool_factory=_job_pool,
        # The pool's pauses double until this: with its five minutes the first connection after an outage comes late.
        reconnect_timeout=5,
    )


def _job_pool(**options: Any) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(**{**options, "check": _check_idle})


async def _check_idle(connection: Connection) -> None:
    connection.is_idle = True
    try:
        await AsyncConnectionPool.check_connection(connection)
    finally:
        connection.is_idle = False
