"""Time that a request's head and body may take, and the pause between two requests, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from contract.http_limits import Limits
from tests.contract.test_http_limits import CHUNKED, GET, read_all
from tests.contract.timed_connection import TimedConnection, settle

LIMITS = Limits()
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0"
KEEP_ALIVE = 30


def connection(app: Any = read_all) -> TimedConnection:
    return TimedConnection(app, timeout_keep_alive=KEEP_ALIVE)


def assert_timeout(client: TimedConnection) -> None:
    """Assert that the answer is problem 408, the last one, with all of it readable before the connection ends."""
    head, _, body = client.answers().partition(b"\r\n\r\n")
    problem = orjson.loads(body)
    assert head.startswith(b"HTTP/1.1 408 ") and b"connection: close" in head
    assert (problem["status"], problem["code"]) == (408, "request_timeout")
    assert client.is_half_closed and not client.is_closed


@pytest.mark.parametrize("earlier", [0, 1, 2])
async def test_slow_head_is_refused(earlier: int) -> None:
    """On a fresh connection its time begins with the connection's first byte; behind answers, with its own."""
    client = connection()
    for _ in range(earlier):
        await client.send(GET)
        assert client.answers() == EMPTY
        await client.advance(KEEP_ALIVE - 1)
    await client.send(b"GET / HTTP/1.1\r\n")
    for _ in range(int(LIMITS.head_seconds) - 1):
        await client.advance(1)
        await client.send(b"X: y\r\n")
    await client.advance(0.9)
    assert client.answers() == b""
    await client.advance(0.2)
    assert_timeout(client)


async def test_head_in_time_is_answered() -> None:
    client = connection()
    await client.send(GET[:-2])
    await client.advance(LIMITS.head_seconds - 0.1)
    await client.send(b"\r\n")
    assert client.answers() == EMPTY


async def test_connection_without_a_request_is_closed() -> None:
    client = connection()
    await client.advance(LIMITS.head_seconds - 0.1)
    assert not client.is_closed
    await client.advance(0.2)
    assert client.is_closed and client.answers() == b""


async def test_refused_client_can_read_the_answer() -> None:
    """Then the connection ends, also under a client that goes on sending."""
    client = connection()
    await client.send(GET[:-2] + b"X : 1\r\n\r\n")
    assert client.answers().startswith(b"HTTP/1.1 400 ")
    await client.advance(LIMITS.linger_seconds - 0.1)
    await client.send(GET)
    assert not client.is_closed
    await client.advance(0.2)
    assert client.is_aborted and client.answers() == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_slow_body_is_refused(framing: str) -> None:
    client = connection()
    per_second = int(LIMITS.body_bytes_per_second) - 10
    piece = b"x" * per_second
    if framing == "chunked":
        await client.send(CHUNKED)
        piece = b"%x\r\n%b\r\n" % (per_second, piece)
    else:
        await client.send(GET[:-2] + b"Content-Length: 100000\r\n\r\n")
    for _ in range(int(LIMITS.body_seconds) - 1):
        await client.advance(1)
        await client.send(piece)
    await client.advance(0.9)
    assert client.answers() == b""
    await client.advance(0.2)
    assert_timeout(client)


async def test_chunk_lines_do_not_count_as_body() -> None:
    """A chunk of one byte brings one byte, however much frames it."""
    client = connection()
    await client.send(CHUNKED)
    for _ in range(int(LIMITS.body_seconds) + 1):
        await client.send((b"1;" + b"x" * 40 + b"\r\ny\r\n") * 20)
        await client.advance(1)
    assert_timeout(client)


async def test_steady_slow_body_is_read() -> None:
    """It lasts ten times as long as the span over which its rate is measured, with pauses shorter than that."""
    client = connection()
    size = 0
    await client.send(CHUNKED)
    for _ in range(10):
        await client.advance(LIMITS.body_seconds - 1)
        await client.send(b"2000\r\n%b\r\n" % (b"x" * 0x2000))
        size += 0x2000
        await client.advance(1)
    await client.send(b"0\r\n\r\n")
    assert client.answers().endswith(b"\r\n\r\n%d" % size)


async def test_body_the_app_does_not_read_is_not_slow() -> None:
    """While the app is busy reading is paused, and the client cannot send; nor is a long answer a timeout."""
    resume = asyncio.Event()

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await resume.wait()
        await read_all(scope, receive, send)

    client = connection(busy)
    size = 1024 * 1024
    await client.send(GET[:-2] + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
    await client.advance(3600)
    resume.set()
    await client.advance(0)
    while not (answers := client.answers()) and not client.is_closed:
        await client.advance(0)
    assert answers.endswith(b"\r\n\r\n%d" % size)


async def test_body_that_waits_for_100_is_not_slow() -> None:
    resume = asyncio.Event()

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await resume.wait()
        await read_all(scope, receive, send)

    client = connection(busy)
    await client.send(GET[:-2] + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    await client.advance(3600)
    assert client.answers() == b""
    resume.set()
    await settle()
    assert client.answers() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"x")
    assert client.answers().endswith(b"\r\n\r\n1")


async def test_line_breaks_do_not_keep_a_connection() -> None:
    """The idle timeout runs from the last answer; bytes that are no request do not extend it."""
    client = connection()
    await client.send(GET)
    assert client.answers() == EMPTY
    for _ in range(KEEP_ALIVE - 1):
        await client.send(b"\r\n")
        await client.advance(1)
    await client.advance(0.9)
    assert not client.is_closed
    await client.advance(0.2)
    assert client.is_closed and client.answers() == b""


async def test_connection_is_kept_from_its_last_answer() -> None:
    """Requests that follow each other in time are not cut off, nor is an answer that takes longer."""
    answer = asyncio.Event()
    answer.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer.wait()
        await read_all(scope, receive, send)

    client = connection(app)
    for _ in range(3):
        await client.send(GET)
        assert client.answers() == EMPTY
        await client.advance(KEEP_ALIVE - 1)
    answer.clear()
    await client.send(GET)
    await client.advance(10 * KEEP_ALIVE)
    answer.set()
    await settle()
    assert client.answers() == EMPTY
    await client.advance(KEEP_ALIVE - 0.1)
    assert not client.is_closed
    await client.advance(0.2)
    assert client.is_closed
