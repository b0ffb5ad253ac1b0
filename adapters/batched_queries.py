"""Batched queries: small reads of one turn of the event loop, sent together over one connection to PostgreSQL.

A pool gives every query its own connection, wait and wake-up, which cost more than the query. Here the queries of one
turn are sent in one packet (libpq's pipeline mode), and their rows come back in order. For reads by an index only: a
slow query delays those behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

import errors
from adapters import budgets, postgresql

log = logging.getLogger("parlance.database")

#: Seconds after which a query that was sent has failed.
TIMEOUT_SECONDS = 5
#: Maximum of pending queries; more are refused.
MAX_PENDING_QUERIES = 10_000

Row = tuple[Any, ...]


class _Statement:
    """A statement prepared on this connection, and how to read its columns."""

    def __init__(self, name: bytes, text: str, connection: psycopg.AsyncConnection[Any]) -> None:
        self.name = name
        self.text = text
        #: The error of its preparation.
        self.error: psycopg.Error | None = None
        #: Whether it has been answered, so that the types of its columns are known.
        self.worked = False
        self._transformer = Transformer(connection)

    def first_row(self, result: PGresult) -> Row | None:
        # Without a name it is planned each time, and no error names the change of a column.
        self._transformer.set_pgresult(result, set_loaders=not (self.worked and self.name))
        self.worked = True
        return self._transformer.load_row(0, tuple) if result.ntuples else None


@dataclass(slots=True)
class _Query:
    text: str
    parameters: list[bytes]
    future: asyncio.Future[Row | None]
    since: float
    statement: _Statement | None = None

    def refuse(self, reason: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(reason)


class BatchedQueries:
    """One connection to PostgreSQL, opened by the first query and again by the first after it was lost."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]],
        timeout: float = TIMEOUT_SECONDS,
        *,
        prepares: bool = True,
    ) -> None:
        """`connect` makes a connection in autocommit mode; without `prepares` no statement is kept on it."""
        self._connect_to_server = connect
        self._prepares = prepares
        self._timeout = timeout
        self._connection: psycopg.AsyncConnection[Any] | None = None
        #: The connection's, kept because asyncio's look-up of the running one is a system call.
        self._loop: asyncio.AbstractEventLoop
        #: Its file descriptor, which a lost connection no longer has.
        self._socket = -1
        self._opening: asyncio.Task[None] | None = None
        self._statements: dict[str, _Statement] = {}
        self._names = 0
        #: Queries to send at the end of this turn of the loop.
        self._leaving: list[_Query] = []
        #: What was sent, in the order in which answers come: queries, preparations, None for the end of a packet.
        self._sent: deque[_Query | _Statement | None] = deque()
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next query need not wait for a connection, so that it ends within the timeout."""
        return self._connection is not None

    async def fetch_one(self, statement: str, *parameters: str) -> Row | None:
        """Return the first row that a statement finds; its parameters are $1, $2, ...

        Raises Unavailable if PostgreSQL is unavailable, and psycopg.Error if it refuses the statement.
        """
        if len(self._sent) + len(self._leaving) >= MAX_PENDING_QUERIES:
            raise errors.Unavailable()
        if self._connection is None:
            await self._open()
        loop = self._loop
        query = _Query(statement, [value.encode() for value in parameters], loop.create_future(), loop.time())
        self._leave(query)
        return await query.future

    async def close(self) -> None:
        if self._opening:
            self._opening.cancel()
        self._lose("it was closed")

    def replace_connection(self) -> None:
        """Close the connection; the next query opens another."""
        self._lose("it is replaced")

    async def _open(self) -> None:
        # Queries that come meanwhile wait for the same attempt, and one that is cancelled does not end it.
        if self._opening is None:
            # Not within the budget of the query that is first.
            self._opening = asyncio.create_task(self._connect(), context=budgets.without_budget())
            self._opening.add_done_callback(self._opened)
        await asyncio.shield(self._opening)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # raised in the waiting queries, if any are left

    async def _connect(self) -> None:
        try:
            connection = await self._connect_to_server()
        except psycopg.OperationalError as error:
            log.warning("postgresql_unreachable error=%s", error)
            raise errors.Unavailable() from None
        connection.pgconn.nonblocking = 1
        connection.pgconn.enter_pipeline_mode()
        self._connection, self._socket = connection, connection.pgconn.socket
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    def _leave(self, query: _Query) -> None:
        if not self._leaving:
            self._loop.call_soon(self._send)
        self._leaving.append(query)

    def _send(self) -> None:
        queries, self._leaving = self._leaving, []
        if not queries:
            return
        if self._connection is None:
            for query in queries:
                query.refuse(errors.Unavailable())
            return
        pgconn = self._connection.pgconn
        try:
            for query in queries:
                query.statement = self._statements.get(query.text) or self._prepare(query.text, self._connection)
                if self._prepares:
                    pgconn.send_query_prepared(query.statement.name, query.parameters)
                else:
                    pgconn.send_query_params(query.text.encode(), query.parameters)
                self._sent.append(query)
            pgconn.pipeline_sync()
            self._sent.append(None)
            if pgconn.flush():  # the socket is full
                self._loop.add_writer(self._socket, self._flush)
        except psycopg.Error as error:
            self._leaving = queries
            self._lose(error)
            return
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._check)

    def _prepare(self, text: str, connection: psycopg.AsyncConnection[Any]) -> _Statement:
        if not self._prepares:
            return self._statements.setdefault(text, _Statement(b"", text, connection))
        self._names += 1
        statement = _Statement(b"query_%d" % self._names, text, connection)
        connection.pgconn.send_prepare(statement.name, text.encode())
        self._sent.append(statement)
        self._statements[text] = statement
        return statement

    def _flush(self) -> None:
        assert self._connection
        pgconn = self._connection.pgconn
        try:
            if not pgconn.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._lose(error)

    def _receive(self) -> None:
        assert self._connection
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            nothing = False
            while self._sent and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is not None:
                    self._take(self._sent.popleft(), result)
                elif nothing:
                    raise psycopg.OperationalError("an answer is missing")
                nothing = result is None  # one None ends the rows of a query
        except psycopg.Error as error:
            self._lose(error)

    def _take(self, item: _Query | _Statement | None, result: PGresult) -> None:
        if isinstance(item, _Statement):
            if result.status != ExecStatus.COMMAND_OK:
                self._statements.pop(item.text, None)
                if result.status != ExecStatus.PIPELINE_ABORTED:
                    item.error = psycopg.errors.error_from_result(result)
        elif item is not None and item.statement is not None:
            if result.status == ExecStatus.TUPLES_OK:
                row = item.statement.first_row(result)
                if not item.future.done():
                    item.future.set_result(row)
            elif result.status != ExecStatus.PIPELINE_ABORTED:
                error = psycopg.errors.error_from_result(result)
                if isinstance(error, psycopg.errors.FeatureNotSupported) and item.statement.worked:
                    # Its plan is older than a migration: prepare it again.
                    self._statements.pop(item.text, None)
                    self._leave(item)
                else:
                    item.refuse(error)
                    if postgresql.is_unusable(error):
                        raise error  # closes the connection
            elif item.statement.error:
                item.refuse(item.statement.error)
            else:
                self._leave(item)  # another query of its packet failed

    def _check(self) -> None:
        """Close the connection if the oldest query has waited too long."""
        self._watch = None
        oldest = next((item for item in self._sent if isinstance(item, _Query)), None)
        if oldest is None:
            return
        if self._loop.time() - oldest.since >= self._timeout:
            self._lose(f"no answer within {self._timeout} s")
        else:
            self._watch = self._loop.call_at(oldest.since + self._timeout, self._check)

    def _lose(self, reason: object) -> None:
        """Close the connection and fail the queries that wait for it."""
        if self._watch:
            self._watch.cancel()
            self._watch = None
        connection, self._connection = self._connection, None
        if connection:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            connection.pgconn.finish()
        waiting = [item for item in (*self._sent, *self._leaving) if isinstance(item, _Query)]
        self._sent.clear()
        self._leaving = []
        self._statements = {}
        if waiting:
            log.warning("query_connection_lost reason=%s", reason)
        for query in waiting:
            query.refuse(errors.Unavailable())
