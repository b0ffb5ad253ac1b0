"""Rotation and pruning of signing keys on a running server under traffic."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from adapters.keys import KeyFiles
from testing.accounts import bearer, credentials
from testing.commands import run_parlance
from testing.containers import load_settings
from testing.polling import eventually
from testing.servers import Server, address, dial, http_client, register, start_server, status_for_token, stop_server
from testing.time_limits import limit


@pytest.fixture(scope="module")
def own_keys(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with signing keys that no other test uses."""
    directory = tmp_path_factory.mktemp("rotation")
    variables = {
        **environment,
        "JWT_PRIVATE_KEY_PATH": str(directory / "private.pem"),
        "JWT_PUBLIC_KEY_PATH": str(directory / "public.pem"),
    }
    KeyFiles(load_settings(variables)).generate()
    return variables


@pytest.fixture(scope="module")
def own_server(own_keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(own_keys, tmp_path_factory.mktemp("server") / "server.log", workers=2)
    yield running
    stop_server(running)


def key_id(token: str) -> str:
    return str(json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"])


class Traffic:
    """Requests and logins without a pause; every answer that should not be is kept."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures: list[str] = []
        self.requests = 0
        #: When each login was answered, and with a token of which key.
        self.logins: list[tuple[float, str]] = []

    async def ask(self, http: httpx.AsyncClient, token: str, what: str) -> None:
        answer = await http.get(f"{self.url}/users/me", headers=bearer(token))
        self.requests += 1
        if answer.status_code != 200:
            self.failures.append(f"{what} {key_id(token)}: {answer.status_code} {answer.text}")

    async def read(self, token: str) -> None:
        async with http_client() as http:
            while True:
                await self.ask(http, token, "old session")

    async def log_in(self, emails: list[str]) -> None:
        while True:
            for email in emails:
                # Each over connections of its own, so that now one worker signs and another verifies.
                async with http_client() as http:
                    answer = await http.post(
                        f"{self.url}/auth/login", json=credentials(email), headers={"X-Forwarded-For": address()}
                    )
                if answer.status_code != 200:
                    self.failures.append(f"login: {answer.status_code} {answer.text}")
                    continue
                token = answer.json()["accessToken"]
                self.logins.append((time.monotonic(), key_id(token)))
                for _ in range(3):
                    async with http_client() as http:
                        await self.ask(http, token, "fresh login")
                await asyncio.sleep(0.05)


@pytest.fixture
async def http(own_server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(own_server.url) as client:
        yield client


async def published(url: str) -> list[set[str]]:
    """The key ids that workers publish, asked often enough to reach each process."""
    found = []
    for _ in range(8):
        async with http_client() as http:
            found.append({key["kid"] for key in (await http.get(f"{url}/.well-known/jwks.json")).json()["keys"]})
    return found


async def test_rotation_under_traffic_fails_no_request(
    own_server: Server, own_keys: dict[str, str], http: httpx.AsyncClient
) -> None:
    learner = await register(http)
    others = []
    for _ in range(8):
        async with http_client(own_server.url) as each:
            others.append((await register(each, ready=False)).email)
    old_key = key_id(learner.access_token)
    phone = await dial(own_server.url, learner)
    traffic = Traffic(own_server.url)
    running = [
        asyncio.create_task(traffic.read(learner.access_token)),
        asyncio.create_task(traffic.log_in(others[:4])),
        asyncio.create_task(traffic.log_in(others[4:])),
    ]
    try:
        rotated = await run_parlance(own_keys, "keys", "rotate")
        finished = time.monotonic()
        assert rotated.code == 0, rotated.err
        [new_key] = {key.key_id for key in KeyFiles(load_settings(own_keys)).published()} - {old_key}
        assert new_key in rotated.out
        # Each login has a connection of its own: so many in a row are answered by both processes.
        await eventually(
            lambda: [kid for _, kid in traffic.logins[-24:]] == [new_key] * 24, "every process signs with the new key"
        )
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    assert traffic.failures == [] and traffic.requests > 100
    kinds = {kid for _, kid in traffic.logins}
    assert kinds == {old_key, new_key}, "logins went on before and after"
    last_old = max(at for at, kid in traffic.logins if kid == old_key)
    assert last_old - finished < limit(2), "a process went on signing with the old key"
    assert phone.client.connected
    await phone.client.disconnect()

    # What was signed with the old key still works everywhere, and both keys are published.
    assert {await status_for_token(own_server.url, learner.access_token) for _ in range(8)} == {200}
    for kids in await published(own_server.url):
        assert kids == {old_key, new_key}
    second = await dial(own_server.url, learner)
    await second.client.disconnect()


async def test_pruned_key_verifies_nothing_on_any_process(
    own_server: Server, own_keys: dict[str, str], http: httpx.AsyncClient
) -> None:
    files = KeyFiles(load_settings(own_keys))
    learner = await register(http)
    old_key = key_id(learner.access_token)
    new_key = files.rotate()
    lifetime = timedelta(minutes=15, seconds=30)
    assert old_key not in files.prune(lifetime)
    assert {await status_for_token(own_server.url, learner.access_token) for _ in range(8)} == {200}

    note = Path(own_keys["JWT_PRIVATE_KEY_PATH"]).parent / "published" / f"{old_key}.retired"
    note.write_text((datetime.now(UTC) - lifetime - timedelta(seconds=1)).isoformat())
    assert old_key in files.prune(lifetime)

    async def refused_everywhere() -> bool:
        return {await status_for_token(own_server.url, learner.access_token) for _ in range(8)} == {401}

    await eventually(refused_everywhere, within=3, what="tokens of the pruned key are refused by every worker")
    for kids in await published(own_server.url):
        assert old_key not in kids and new_key in kids
    answer = await http.post("/auth/refresh", json={"refreshToken": learner.refresh_token})
    assert answer.status_code == 200 and key_id(answer.json()["accessToken"]) == new_key
    assert await status_for_token(own_server.url, answer.json()["accessToken"]) == 200
