"""Pipelined reads: each gets its own row, and an error when PostgreSQL is unavailable."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

import errors
from adapters import postgresql
from adapters.batched_queries import BatchedQueries
from settings import Settings
from testing.ports import free_port

ECHO = "SELECT $1::text, $2::int"
SLEEP = "SELECT pg_sleep($1::float)"


class Line:
    """The way to PostgreSQL, which a test can block or cut."""

    def __init__(self, settings: Settings) -> None:
        self._target = settings.db_host, settings.db_port
        self.port = free_port()
        self.flows = asyncio.Event()
        self.flows.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def cut(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0.05)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._target)
        self._writers += [writer, to_server]
        await asyncio.gather(self._carry(reader, to_server), self._carry(from_server, writer))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.flows.wait()
                target.write(data)
        except OSError:
            pass
        finally:
            target.close()


@pytest.fixture
async def line(settings: Settings) -> AsyncIterator[Line]:
    line = Line(settings)
    await line.open()
    yield line
    line.flows.set()
    await line.cut()


@pytest.fixture
async def reads(settings: Settings, line: Line) -> AsyncIterator[BatchedQueries]:
    there = settings.model_copy(update={"db_port": line.port})
    reads = BatchedQueries(lambda: postgresql.connect(there, autocommit=True), timeout=0.5)
    yield reads
    await reads.close()


async def test_each_read_gets_its_own_row(reads: BatchedQueries) -> None:
    rows = await asyncio.gather(*(reads.fetch_one(ECHO, f"ü{number}", str(number)) for number in range(500)))
    assert rows == [(f"ü{number}", number) for number in range(500)]
    assert await reads.fetch_one("SELECT 1 WHERE $1 = 'no'", "yes") is None


async def test_rows_larger_than_a_packet_arrive_whole(reads: BatchedQueries) -> None:
    texts = [chr(97 + number) * 300_000 for number in range(20)]
    rows = await asyncio.gather(*(reads.fetch_one("SELECT $1::text", text) for text in texts))
    assert [row and row[0] for row in rows] == texts


async def test_failed_read_does_not_affect_others(reads: BatchedQueries) -> None:
    await reads.fetch_one(ECHO, "first", "1")
    divide, never = "SELECT 1 / $1::int", "SELECT no_such_column"
    results = await asyncio.gather(
        reads.fetch_one(divide, "1"),
        reads.fetch_one(divide, "0"),
        reads.fetch_one(ECHO, "a", "1"),
        reads.fetch_one(never),
        reads.fetch_one(ECHO, "b", "not a number"),
        reads.fetch_one(ECHO, "c", "3"),
        return_exceptions=True,
    )
    assert results[0] == (1,)
    assert isinstance(results[1], psycopg.errors.DivisionByZero)
    assert results[2] == ("a", 1)
    assert isinstance(results[3], psycopg.errors.UndefinedColumn)
    assert isinstance(results[4], psycopg.errors.InvalidTextRepresentation)
    assert results[5] == ("c", 3)
    assert await reads.fetch_one(divide, "1") == (1,)


async def test_cancelled_read_does_not_affect_others(reads: BatchedQueries) -> None:
    await reads.fetch_one(ECHO, "first", "1")
    gone = asyncio.create_task(reads.fetch_one(SLEEP, "0.1"))
    stays = asyncio.create_task(reads.fetch_one(ECHO, "stays", "1"))
    await asyncio.sleep(0.02)
    gone.cancel()
    assert await stays == ("stays", 1)


async def test_changed_table_is_read_in_its_new_form(reads: BatchedQueries, settings: Settings) -> None:
    table = f"t{uuid.uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
        await connection.execute(f"CREATE TABLE {table} (value int)")
        await connection.execute(f"INSERT INTO {table} VALUES (7)")
        assert await reads.fetch_one(f"SELECT value FROM {table}") == (7,)
        await connection.execute(f"ALTER TABLE {table} ALTER value TYPE text")
        both = [reads.fetch_one(f"SELECT value FROM {table}"), reads.fetch_one(ECHO, "a", "1")]
        assert await asyncio.gather(*both) == [("7",), ("a", 1)]
        await connection.execute(f"DROP TABLE {table}")


async def test_lost_connection_is_reopened(reads: BatchedQueries, line: Line) -> None:
    assert await reads.fetch_one(ECHO, "before", "1")
    await line.cut()
    await line.open()
    assert await reads.fetch_one(ECHO, "after", "2") == ("after", 2)


async def test_pending_reads_fail_when_the_connection_is_lost(reads: BatchedQueries, line: Line) -> None:
    await reads.fetch_one(ECHO, "first", "1")
    under_way = [asyncio.create_task(reads.fetch_one(SLEEP, "10")) for _ in range(3)]
    await asyncio.sleep(0.05)
    await line.cut()
    for task in under_way:
        with pytest.raises(errors.Unavailable):
            await task
    with pytest.raises(errors.Unavailable):
        await reads.fetch_one(ECHO, "away", "1")
    await line.open()
    assert await reads.fetch_one(ECHO, "back", "1") == ("back", 1)


async def test_silent_database_times_out(reads: BatchedQueries, line: Line) -> None:
    await reads.fetch_one(ECHO, "first", "1")
    line.flows.clear()
    with pytest.raises(errors.Unavailable):
        await reads.fetch_one(ECHO, "lost", "1")
    line.flows.set()
    assert await reads.fetch_one(ECHO, "after", "1") == ("after", 1)


async def test_terminated_backend_is_replaced(reads: BatchedQueries) -> None:
    with pytest.raises((errors.Unavailable, psycopg.OperationalError)):
        await reads.fetch_one("SELECT pg_terminate_backend(pg_backend_pid())")
    await asyncio.sleep(0.05)
    assert await reads.fetch_one(ECHO, "new", "1") == ("new", 1)
