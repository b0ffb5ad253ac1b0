"""How often one may try, whichever worker answers and whatever one claims of oneself."""

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
from testing.servers import Server, address, start_server, stop_server


def attempt(email: str) -> dict[str, str]:
    return {"email": email, "password": "wrong password", "deviceId": "phone", "platform": "ios"}


@pytest.fixture(scope="module")
def strict_server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that believe no proxy on this machine."""
    log: Path = tmp_path_factory.mktemp("strict") / "server.log"
    running = start_server({**environment, "TRUSTED_PROXIES": "10.9.9.9"}, log, workers=2)
    yield running
    stop_server(running)


def test_an_address_has_five_tries_over_all_workers(server: Server) -> None:
    mine = {"X-Forwarded-For": address()}
    answers = []
    for _ in range(8):  # a connection each, so that both workers answer
        answers.append(httpx.post(f"{server.url}/auth/login", json=attempt(f"{uuid.uuid4()}@x.io"), headers=mine))
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 900
    assert answers[-1].json()["code"] == "rate_limited"


def test_an_account_has_twenty_tries_over_all_addresses(server: Server) -> None:
    email = f"{uuid.uuid4()}@example.com"
    with httpx.Client(base_url=server.url) as http:
        statuses = [
            http.post("/auth/login", json=attempt(name), headers={"X-Forwarded-For": address()}).status_code
            for name in [email, email.upper()] * 11
        ]
    assert statuses == [401] * 20 + [429] * 2


def test_a_thousand_claimed_addresses_are_one(strict_server: Server) -> None:
    with httpx.Client(base_url=strict_server.url) as http:
        statuses = [
            http.post(
                "/auth/login",
                json=attempt(f"{number}@example.com"),
                headers={"X-Forwarded-For": f"{address()}, 1.2.3.4"},
            ).status_code
            for number in range(1000)
        ]
    assert statuses == [401] * 5 + [429] * 995


async def test_limits_hold_over_workers_whose_clocks_differ(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, key, clock = redis.connect(settings), str(uuid.uuid4()), time.time
    limiters = [RateLimiter(client) for _ in range(3)]
    for limiter, minutes in zip(limiters, (0, 10, -10), strict=True):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: clock() + minutes * 60)
        await limiter.take(key, 3, 60)
    for limiter in limiters:
        with pytest.raises(errors.RateLimited) as refused:
            await limiter.take(key, 3, 60)
        assert refused.value.retry_after is not None and 55 <= refused.value.retry_after <= 60
    await client.aclose()


async def test_limits_hold_in_memory_while_redis_is_away(settings: Settings) -> None:
    away = redis.connect(settings.model_copy(update={"redis_port": 1}))
    limiter = RateLimiter(away)
    for _ in range(3):
        await limiter.take("key", 3, 60)
    with pytest.raises(errors.RateLimited) as refused:
        await limiter.take("key", 3, 60)
    assert refused.value.retry_after is not None and 0 < refused.value.retry_after <= 60
    await limiter.take("another key", 3, 60)
    await away.aclose()
