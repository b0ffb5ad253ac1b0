"""Rate limits across web processes, and with forged client addresses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import errors
from adapters import redis
from adapters.rate_limiter import RateLimiter
from settings import Settings
from testing.servers import Server, address, own_address, start_server, stop_server
from testing.time_limits import limit


def attempt(email: str) -> dict[str, str]:
    return {"email": email, "password": "wrong password", "deviceId": "phone", "platform": "ios"}


def assert_waits(retry_after: int | None, window: int, began: float) -> None:
    """Check that a window which the first request since `began` opened is waited for to its end, in whole seconds."""
    assert retry_after is not None and window - (time.monotonic() - began) <= retry_after <= window


@pytest.fixture(scope="module")
def strict_server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trusts no proxy on this machine."""
    log: Path = tmp_path_factory.mktemp("strict") / "server.log"
    running = start_server({**environment, "TRUSTED_PROXIES": "10.9.9.9"}, log, workers=1)
    yield running
    stop_server(running)


@pytest.mark.rest_paths
def test_address_limit_holds_over_all_processes(server: Server) -> None:
    mine = {"X-Forwarded-For": address()}
    answers, began = [], time.monotonic()
    for _ in range(8):  # a connection each, so that both workers answer
        answers.append(
            httpx.post(
                f"{server.url}/auth/login", json=attempt(f"{uuid.uuid4()}@x.io"), headers=mine, timeout=limit(15)
            )
        )
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    assert_waits(int(answers[-1].headers["Retry-After"]), 900, began)
    assert answers[-1].json()["code"] == "rate_limited"


def test_account_limit_holds_over_all_addresses(server: Server) -> None:
    email = f"{uuid.uuid4()}@example.com"
    with httpx.Client(base_url=server.url, timeout=limit(15)) as http:
        statuses = [
            http.post("/auth/login", json=attempt(name), headers={"X-Forwarded-For": address()}).status_code
            for name in [email, email.upper()] * 11
        ]
    assert statuses == [401] * 20 + [429] * 2


def test_forwarded_addresses_of_strangers_are_ignored(strict_server: Server) -> None:
    # From an address of its own: other tests log in from 127.0.0.1, and the limit remembers for a quarter of an hour.
    own = httpx.HTTPTransport(local_address=own_address())
    with httpx.Client(base_url=strict_server.url, timeout=limit(15), transport=own) as http:
        statuses = [
            http.post(
                "/auth/login",
                json=attempt(f"{uuid.uuid4()}@example.com"),
                headers={"X-Forwarded-For": f"{address()}, 1.2.3.4"},
            ).status_code
            for _ in range(1000)
        ]
    assert statuses == [401] * 5 + [429] * 995


async def test_limits_do_not_depend_on_process_clocks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    client, key, clock, began = redis.connect(settings), str(uuid.uuid4()), time.time, time.monotonic()
    limiters = [RateLimiter(client) for _ in range(3)]
    for limiter, minutes in zip(limiters, (0, 10, -10), strict=True):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: clock() + minutes * 60)
        await limiter.take(key, 3, 60)
    for limiter in limiters:
        with pytest.raises(errors.RateLimited) as refused:
            await limiter.take(key, 3, 60)
        assert_waits(refused.value.retry_after, 60, began)
    await client.aclose()


async def test_limits_hold_in_memory_without_redis(settings: Settings) -> None:
    away = redis.connect(settings.model_copy(update={"redis_port": 1}))
    limiter, began = RateLimiter(away), time.monotonic()
    for _ in range(3):
        await limiter.take("key", 3, 60)
    with pytest.raises(errors.RateLimited) as refused:
        await limiter.take("key", 3, 60)
    assert_waits(refused.value.retry_after, 60, began)
    await limiter.take("another key", 3, 60)
    await away.aclose()
