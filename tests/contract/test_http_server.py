"""A response written at once equals one that uvicorn writes, on every kind of connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from contract import http_server, middleware
from contract.operations import WHOLE
from settings import Settings
from testing.ports import free_port
from testing.servers import Server, http_client
from testing.time_limits import limit


async def talk(server: Server, *requests: str) -> str:
    """Send the requests in one piece over one connection; answer all that comes until the server closes it."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("".join(request.replace("\n", "\r\n") for request in requests).encode())
    answers = await asyncio.wait_for(reader.read(), limit(10))
    writer.close()
    return answers.decode()


@asynccontextmanager
async def serving(
    app: Any, protocol: type[http_server.HttpProtocol] = http_server.HttpProtocol, **options: Any
) -> AsyncIterator[int]:
    """Serve an app of the test's own; the port."""
    port = free_port()
    config = uvicorn.Config(app, port=port, http=protocol, log_config=None, **{"lifespan": "off", **options})
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


def split_lines(head: str) -> list[str]:
    """Return the lines of an answer's head, but for what differs from one answer to the next."""
    return sorted(line for line in head.split("\r\n") if not re.match("date|x-request-id", line))


async def test_whole_answer_has_the_head_of_uvicorn(server: Server) -> None:
    # What HEAD asks for is never sent whole.
    (whole, body), (usual, none) = [
        (await talk(server, f"{method} /health HTTP/1.1\nHost: parlance\nConnection: close\n\n")).split("\r\n\r\n")
        for method in ("GET", "HEAD")
    ]
    assert split_lines(whole) == split_lines(usual)
    assert whole.startswith("HTTP/1.1 200 OK\r\n") and body.startswith('{"status":"ok"') and not none
    for name in ("date", "x-request-id"):
        assert len(re.findall(f"\r\n{name}: ", whole)) == len(re.findall(f"\r\n{name}: ", usual)) == 1
    assert "\r\nconnection: close" in whole


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    names = [f"turn-{number}" for number in range(20)]
    ends = ["\n"] * 19 + ["Connection: close\n\n"]
    requests = [
        f"GET /health HTTP/1.1\nHost: parlance\nX-Request-Id: {name}\n{end}"
        for name, end in zip(names, ends, strict=True)
    ]
    assert re.findall("\r\nx-request-id: (.*)\r\n", await talk(server, *requests)) == names


async def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    answer = await talk(server, "GET /health HTTP/1.0\n\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and "\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example.com", True), ("https://evil.example", False)])
async def test_answer_to_another_origin_is_not_whole(settings: Settings, origin: str, allowed: bool) -> None:
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert WHOLE not in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    changed = settings.model_copy(update={"cors_origins": ["https://app.example.com"]})
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/health",
        "headers": [(b"origin", origin.encode())],
        "extensions": {WHOLE: {}},
    }
    await middleware.wrap(app, changed, lambda *_: None)(scope, receive, send)
    assert ((b"access-control-allow-origin", origin.encode()) in sent[0]["headers"]) is allowed


async def test_scope_extensions_do_not_outlive_a_request() -> None:
    noted: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        noted.append("of a request" in scope["extensions"])
        scope["extensions"]["of a request"] = {}
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with serving(app) as port, http_client(f"http://127.0.0.1:{port}") as http:
        for _ in range(3):
            await http.get("/")
    assert noted == [False] * 3


@pytest.mark.rest_paths
async def test_plain_answers_are_whole_where_supported(settings: Settings, asgi: Any) -> None:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/health",
        "raw_path": b"/health",
        "query_string": b"",
        "headers": [(b"host", b"parlance")],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
        "extensions": {WHOLE: {}},
    }
    await asgi(scope, receive, send)
    usual = ["http.response.start", "http.response.body"]
    assert [message["type"] for message in sent] == ([WHOLE] if settings.rest_fast_path else usual)
