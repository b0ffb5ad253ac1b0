"""Requests while Redis is silent: it accepts connections and answers nothing."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from adapters.redis_connection import CONNECT_TIMEOUT_SECONDS, REPLY_TIMEOUT_SECONDS
from adapters.redis_link import WATCH_SECONDS
from container import Container
from testing.accounts import credentials, make_admin
from testing.payments import add_course
from testing.polling import eventually
from testing.redis_servers import RedisServer, running_servers
from testing.servers import Server, address, http_client, register, start_server, stop_server
from testing.time_limits import limit

#: One reply is waited for, and one connection to repeat the command on.
WAIT_SECONDS = REPLY_TIMEOUT_SECONDS + CONNECT_TIMEOUT_SECONDS


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_servers(tmp_path, 1) as (server,):
        yield server


@pytest.fixture
def server(own_redis: RedisServer, environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    variables = {**environment, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(own_redis.port)}
    started = start_server(variables, tmp_path / "server.log", workers=1)
    yield started
    stop_server(started)


async def test_silent_redis_delays_no_request_for_long(
    server: Server, own_redis: RedisServer, container: Container
) -> None:
    """A request of several commands waits for the first of them alone."""
    learner = await register(http_client(server.url))
    admin = await make_admin(container, http_client(server.url))
    course_id = await add_course(container, price=0)

    async def log_in() -> httpx.Response:
        async with http_client(server.url) as http:
            body = credentials(learner.email, device="desk")
            return await http.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})

    async def enroll() -> httpx.Response:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return await learner.http.post(f"/courses/{course_id}/enroll", headers=headers)

    async def read_stats() -> httpx.Response:
        return await admin.http.get("/admin/stats")

    async def check_ready() -> httpx.Response:
        async with http_client(server.url) as http:
            return await http.get("/ready")

    async def measure(send: Callable[[], Awaitable[httpx.Response]]) -> tuple[int, float]:
        began = time.monotonic()
        answer = await send()
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code, time.monotonic() - began

    requests = (log_in, enroll, read_stats, check_ready)
    assert (await log_in()).status_code == 200
    assert (await check_ready()).status_code == 200
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        first = await asyncio.gather(*map(measure, requests))
        assert [status for status, _ in first] == [200, 201, 200, 503]
        assert max(seconds for _, seconds in first) < WAIT_SECONDS + limit(1.5), first
        # Known to be silent: nothing waits for it, also while it is tried again.
        ends = time.monotonic() + 2 * (WATCH_SECONDS + WAIT_SECONDS)
        while time.monotonic() < ends:
            status, seconds = await measure(check_ready)
            assert status == 503 and seconds < limit(1)
        for send, expected in zip(requests, (200, 409, 200, 503), strict=True):
            status, seconds = await measure(send)
            assert (status, seconds < limit(1)) == (expected, True), (status, seconds)
    finally:
        own_redis.process.send_signal(signal.SIGCONT)

    async def is_ready() -> bool:
        return (await check_ready()).status_code == 200

    await eventually(is_ready, within=10)
    key = uuid.uuid4().hex
    other = await add_course(container, price=0)
    for status, replayed in ((201, None), (201, "true")):
        answer = await learner.http.post(f"/courses/{other}/enroll", headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (status, replayed)
