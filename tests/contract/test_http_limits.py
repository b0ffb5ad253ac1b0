"""Time and size of a request's head, body and trailers, and of the pause between two requests."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette

import errors
import settings as configuration
from contract import middleware
from contract.http_server import HttpProtocol
from testing.metrics import growth, scrape_all
from testing.polling import eventually
from testing.servers import Server
from testing.time_limits import limit
from tests.contract.test_http_server import serving

GET = b"GET / HTTP/1.1\r\nHost: parlance\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: parlance\r\nTransfer-Encoding: chunked\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the number of body bytes, once they are all there."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer."""
    async with asyncio.timeout(limit(30)):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(size)


async def is_refused(reader: asyncio.StreamReader, error: type[errors.ProductError]) -> None:
    """Assert that the next answer is the problem of `error`, and the last one."""
    status, body = await read_answer(reader)
    problem = orjson.loads(body)
    assert (status, problem["status"], problem["code"]) == (error.status, error.status, error.code), problem
    assert problem["title"] == error.title and problem["type"].endswith(error.code) and problem["detail"]
    assert await asyncio.wait_for(reader.read(), limit(30)) == b""


def padded(size: int, lines: int = 1) -> bytes:
    """A request whose head has so many bytes, in so many header lines besides Host."""
    filler = [b"X-%d: " % number for number in range(lines)]
    room = size - len(GET) - sum(len(each) + 2 for each in filler)
    each, last = divmod(room, lines)
    values = [b"x" * each] * (lines - 1) + [b"x" * (each + last)]
    return GET[:-2] + b"".join(name + value + b"\r\n" for name, value in zip(filler, values, strict=True)) + b"\r\n"


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("earlier", [0, 1])
async def test_request_head_size_is_limited(segments: int, earlier: int) -> None:
    limits = HttpProtocol.limits
    fits, over = padded(limits.head_bytes), padded(limits.head_bytes + 1)
    assert (len(fits), len(over)) == (limits.head_bytes, limits.head_bytes + 1)
    writers = []  # a writer that nobody holds closes its connection
    async with serving(read_all) as port:

        async def ask(*requests: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            for _ in range(earlier):
                writer.write(GET)
                assert await read_answer(reader) == (200, b"0")
            for request in requests:
                size = -(-len(request) // segments)
                for start in range(0, len(request), size):
                    writer.write(request[start : start + size])
                    await writer.drain()
                    await asyncio.sleep(0)
            return reader

        assert await read_answer(await ask(fits)) == (200, b"0")
        assert await read_answer(await ask(padded(8000, limits.head_lines - 1))) == (200, b"0")
        await is_refused(await ask(over), errors.HeadersTooLarge)
        await is_refused(await ask(padded(8000, limits.head_lines)), errors.HeadersTooLarge)
        await is_refused(await ask(GET[:-2] + b"X:" + b" " * limits.head_bytes + b"y\r\n\r\n"), errors.HeadersTooLarge)
        long = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
        assert await read_answer(await ask(long % (b"x" * (limits.target_bytes - 1)))) == (200, b"0")
        for size in (limits.target_bytes, limits.head_bytes, 10 * limits.head_bytes):
            await is_refused(await ask(long % (b"x" * size)), errors.UriTooLong)
        for writer in writers:
            writer.close()


async def test_trailer_size_is_limited() -> None:
    limits = HttpProtocol.limits
    chunk = CHUNKED + b"1\r\nx\r\n0\r\n"
    writers = []  # a writer that nobody holds closes its connection
    async with serving(read_all) as port:

        async def ask(request: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(request)
            return reader

        assert await read_answer(await ask(chunk + b"X: y\r\n" * limits.head_lines + b"\r\n")) == (200, b"1")
        many = chunk + b"X: y\r\n" * (limits.head_lines + 1) + b"\r\n"
        endless = chunk + b"X: " + b"y" * 4 * limits.head_bytes
        extension = CHUNKED + b"1;" + b"x" * 4 * limits.head_bytes
        # Come whole, in one piece with all else.
        large = chunk + b"X: " + b"y" * limits.head_bytes + b"\r\n\r\n"
        for request in (many, large, endless, extension):
            await is_refused(await ask(request), errors.HeadersTooLarge)
        for writer in writers:
            writer.close()


async def test_trailers_are_not_headers() -> None:
    """A trailer that names a header of the request, such as its authorization, reaches nobody."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_all(scope, receive, send)
        seen.extend(scope["headers"])

    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + b"1\r\nx\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        assert await read_answer(reader) == (200, b"1")
        writer.close()
    assert seen == [(b"host", b"parlance"), (b"transfer-encoding", b"chunked")]


def resident() -> float:
    """Megabytes of this process."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: ", b"GET /", CHUNKED + b"1\r\nx\r\n0\r\n", CHUNKED + b"1;"],
    ids=["lines", "a line", "an address", "trailers", "an extension"],
)
async def test_refused_bytes_do_not_stay_in_memory(start: bytes) -> None:
    """64 MB, of which a server that kept them would hold all."""
    piece = b"X-Name: value\r\n" * 4096 if start.endswith(b"\n") else b"x" * 65536
    async with serving(read_all) as port:
        before = resident()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = asyncio.create_task(reader.read())
        sent, highest = 0, before
        try:
            writer.write(start)
            while sent < 64 * 1024 * 1024:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                highest = max(highest, resident())
        except ConnectionError:
            pass
        assert b" 431 " in (got := await answers) or b" 414 " in got, got
        writer.close()
    assert highest - before < 6, highest - before


async def test_pipelined_requests_wait_for_earlier_answers() -> None:
    """A client that asks faster than it is answered is not read ahead of its answers."""
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await read_all(scope, receive, send)

    async with serving(app) as port:
        before = resident()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET * 200_000)
        with pytest.raises(TimeoutError):  # the socket's buffers are full, and stay so
            await asyncio.wait_for(writer.drain(), 2)
        grown = resident() - before
        release.set()
        writer.transport.abort()
    assert grown < 60, grown


async def test_parser_refusal_has_the_usual_headers(server: Server) -> None:
    """What the parser refuses is a problem, with the headers that any other answer has."""
    port = int(server.url.rpartition(":")[2])

    async def send_for_head(request: bytes) -> dict[str, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = (await asyncio.wait_for(reader.read(), limit(30))).decode()
        writer.close()
        return dict(line.lower().split(": ", 1) for line in answer.split("\r\n\r\n")[0].split("\r\n")[1:])

    usual = await send_for_head(
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: a-name\r\n\r\n"
    )
    for broken in (
        b"GET / HTTP/1.1\r\nX-Request-Id: a-name\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\nX-Request-Id: a-name\r\n\r\n" % (b"x" * 9000),
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a-name\r\n%b\r\n" % (b"X: y\r\n" * 200),
    ):
        refused = await send_for_head(broken)
        assert refused.keys() == usual.keys()
        different = {name for name in usual if usual[name] != refused[name]}
        assert different <= {"content-length", "date"}
        assert refused["content-type"] == "application/problem+json" and refused["x-request-id"] == "a-name"
    unnamed = await send_for_head(b"nonsense\r\n\r\n")
    assert len(unnamed["x-request-id"]) == 16 and unnamed["connection"] == "close"


async def test_refusals_are_logged_and_counted(server: Server) -> None:
    """Once each, with their status: what the parser refuses, and a body that breaks while its app is running."""
    port = int(server.url.rpartition(":")[2])
    name = secrets.token_hex(8)
    # In a thread: this process may be a worker too, which answers the others.
    before = await asyncio.to_thread(scrape_all, server.url)
    refused = (
        b"GET /refused-%b?secret HTTP/1.1\r\nX-Request-Id: %b\r\nHost: a\r\nX : 1\r\n\r\n",
        b"POST /refused-%b HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"GET /refused-%b HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    )
    for request in refused:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request % (name.encode(), name.encode()))
        assert await reader.read()
        writer.close()

    def lines() -> list[str]:
        return re.findall(f"(?:GET|POST|-) /refused-{name} \\d+", server.log.read_text())

    await eventually(lambda: len(lines()) >= len(refused), lambda: f"a line for each; {lines()}")
    assert sorted(lines()) == [f"- /refused-{name} 400", f"GET /refused-{name} 431", f"POST /refused-{name} 400"]
    reasons = [line for line in server.log.read_text().splitlines() if "http_request_refused" in line and name in line]
    assert len(reasons) == len(refused), "each with the id of its request"
    more = growth(before, await asyncio.to_thread(scrape_all, server.url))
    assert more("parlance_http_requests", status="431") == 1


async def test_refusal_is_readable_by_allowed_pages() -> None:
    """What the parser refuses has CORS headers where the page's origin had been read."""
    allowed = "https://app.example.com"
    settings = configuration.load(None, app_env="development", cors_origins=allowed)
    app = middleware.wrap(Starlette(), settings, lambda *_: None)
    async with serving(app, lifespan="on") as port:
        for origin, seen in ((allowed, True), ("https://evil.example", False)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET /{'x' * 9000} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"
            writer.write(head.encode())
            answer = (await asyncio.wait_for(reader.read(), limit(30))).decode()
            writer.close()
            assert answer.startswith("HTTP/1.1 414 ")
            assert (f"access-control-allow-origin: {allowed}\r\n" in answer) is seen
            assert "vary: Origin\r\n" in answer and "access-control-expose-headers: " in answer
