"""An ended login stops working within a second: over HTTP, on live sockets, on every process."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
import redis
import sqlalchemy as sa
from redis.asyncio import Redis
from socketio.exceptions import ConnectionError as HandshakeRefused

import errors
from container import Container
from devtools.embedded import EmbeddedServices
from services.identity.login_revocations import LoginRevocations
from testing.accounts import bearer, credentials
from testing.commands import run_parlance
from testing.containers import load_settings, running_container
from testing.databases import execute
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, address, dial, http_client, register, start_servers
from testing.time_limits import limit

#: Seconds after which a revocation has to take effect.
PROMISED = 1.0
#: Seconds that are enough while Redis is unavailable.
WITHOUT_REDIS = 4.0


@dataclass
class Deployment:
    """Two workers, distinguished by their ports, on a Redis of their own that a test may stop."""

    workers: list[Server]
    environment: dict[str, str]
    valkey: EmbeddedServices

    def redis(self) -> redis.Redis:
        return redis.Redis(port=int(self.environment["REDIS_PORT"]))


@pytest.fixture(scope="module")
def deployment(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    valkey = EmbeddedServices(directory / "valkey", durable=False, only={"valkey"})
    variables = {**environment, **valkey.start()}
    try:
        with start_servers([variables, variables], directory) as workers:
            yield Deployment(workers, variables, valkey)
    finally:
        valkey.stop()


@pytest.fixture
async def call(deployment: Deployment) -> AsyncIterator[Callable[[Server, Learner], Awaitable[Phone]]]:
    """Connect a learner's socket to a worker."""
    phones: list[Phone] = []

    async def connect(worker: Server, learner: Learner) -> Phone:
        phones.append(await dial(worker.url, learner))
        return phones[-1]

    yield connect
    for phone in phones:
        if phone.client.connected:
            await phone.client.disconnect()


Call = Callable[[Server, Learner], Awaitable[Phone]]


@pytest.fixture
async def newcomer(deployment: Deployment) -> AsyncIterator[Callable[..., Awaitable[Learner]]]:
    """Make learners; their `http` talks to the first worker."""
    clients: list[httpx.AsyncClient] = []

    async def make() -> Learner:
        clients.append(http_client(deployment.workers[0].url))
        return await register(clients[-1], ready=False)

    yield make
    for each in clients:
        await each.aclose()


Newcomer = Callable[..., Awaitable[Learner]]


async def sign_in(learner: Learner, device: str) -> Learner:
    """The same account on another device."""
    answer = await learner.http.post(
        "/auth/login", json=credentials(learner.email, device=device), headers={"X-Forwarded-For": address()}
    )
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    return Learner(
        learner.id, learner.email, learner.username, tokens["accessToken"], tokens["refreshToken"], learner.http
    )


async def seconds_until_refused(url: str, token: str, *, within: float) -> float:
    started = time.monotonic()
    async with http_client() as http:

        async def refused() -> bool:
            answer = await http.get(f"{url}/users/me", headers=bearer(token))
            assert answer.status_code in (200, 401), answer.text
            return answer.status_code == 401

        await eventually(refused, within=within, what=f"{url} refuses the token")
    return time.monotonic() - started


async def seconds_until_cut(phone: Phone, *, within: float) -> float:
    started = time.monotonic()
    await eventually(lambda: not phone.client.connected, within=within, what="the socket is cut")
    return time.monotonic() - started


async def assert_ended(deployment: Deployment, learner: Learner, phones: list[Phone], *, within: float) -> float:
    """Wait until no worker takes the learner's token and the sockets are gone; answer the seconds of the slowest."""
    took = await asyncio.gather(
        *(seconds_until_refused(worker.url, learner.access_token, within=within) for worker in deployment.workers),
        *(seconds_until_cut(phone, within=within) for phone in phones),
    )
    for worker in deployment.workers:
        with pytest.raises(HandshakeRefused):
            await dial(worker.url, learner)
    return max(took)


async def logout(deployment: Deployment, learner: Learner) -> None:
    answer = await learner.http.post("/auth/logout", headers=bearer(learner.access_token))
    assert answer.status_code == 204, answer.text


async def logout_all(deployment: Deployment, learner: Learner) -> None:
    answer = await learner.http.post("/auth/logout-all", headers=bearer(learner.access_token))
    assert answer.status_code == 204


async def end_the_device(deployment: Deployment, learner: Learner) -> None:
    answer = await learner.http.delete("/auth/devices/phone", headers=bearer(learner.access_token))
    assert answer.status_code == 204


async def reset_the_password(deployment: Deployment, learner: Learner) -> None:
    token = f"mailed-{uuid.uuid4().hex}"
    execute(
        load_settings(deployment.environment),
        "INSERT INTO password_reset_tokens (id, user_id, token_hash, expires_at) "
        "VALUES (gen_random_uuid(), %s, %s, now() + interval '1 hour')",
        learner.id,
        hashlib.sha256(token.encode()).hexdigest(),
    )
    answer = await learner.http.post(
        "/auth/reset-password",
        json={"token": token, "newPassword": "a brand new password"},
        headers={"X-Forwarded-For": address()},
    )
    assert answer.status_code == 204


async def promote(deployment: Deployment, learner: Learner) -> None:
    ran = await run_parlance(deployment.environment, "admins", "promote", learner.email)
    assert ran.code == 0, ran.err


async def sign_in_again(deployment: Deployment, learner: Learner) -> None:
    await sign_in(learner, "phone")


async def use_a_stolen_token(deployment: Deployment, learner: Learner) -> None:
    async def refresh(token: str) -> httpx.Response:
        return await learner.http.post(
            "/auth/refresh", json={"refreshToken": token}, headers={"X-Forwarded-For": address()}
        )

    child = (await refresh(learner.refresh_token)).json()["refreshToken"]
    await refresh(child)
    assert (await refresh(learner.refresh_token)).json()["code"] == "refresh_token_reused"


@pytest.mark.parametrize(
    "end",
    [logout, logout_all, end_the_device, reset_the_password, promote, sign_in_again, use_a_stolen_token],
    ids=lambda f: f.__name__,
)
async def test_ended_login_is_refused_within_a_second(
    deployment: Deployment, newcomer: Newcomer, call: Call, end: Callable[[Deployment, Learner], Awaitable[None]]
) -> None:
    """On every process the token is refused and the sockets are disconnected; other logins go on."""
    learner, stranger = await newcomer(), await newcomer()
    tablet = await sign_in(learner, "tablet")
    phones = [await call(worker, learner) for worker in deployment.workers]
    tablets = [await call(worker, tablet) for worker in deployment.workers]
    strangers = [await call(worker, stranger) for worker in deployment.workers]

    await end(deployment, learner)
    await assert_ended(deployment, learner, phones, within=PROMISED)

    whole_account = end in (logout_all, reset_the_password, promote)
    if whole_account:
        await assert_ended(deployment, tablet, tablets, within=PROMISED)
    else:
        assert all(phone.client.connected for phone in tablets)
    assert all(phone.client.connected for phone in strangers)
    for worker in deployment.workers:
        async with http_client(worker.url) as http:
            assert (await http.get("/users/me", headers=bearer(stranger.access_token))).status_code == 200
            answer = await http.get("/users/me", headers=bearer(tablet.access_token))
            assert answer.status_code == (401 if whole_account else 200)


async def test_logout_reaches_both_processes_of_a_server(
    make_phone: Callable[..., Awaitable[Phone]], server: Server
) -> None:
    here = await make_phone()
    there = await make_phone(learner=here.learner, apart_from=here)
    other = await make_phone(together_with=there)
    assert (await here.learner.http.post("/auth/logout")).status_code == 204
    for phone in (here, there):
        await eventually(lambda phone=phone: not phone.client.connected, within=PROMISED, what="cut")  # type: ignore[misc]
    async with http_client(server.url) as http:
        answers = await asyncio.gather(
            *(
                http.get("/users/me", headers={**bearer(here.learner.access_token), "Connection": "close"})
                for _ in range(20)
            )
        )
    assert {answer.status_code for answer in answers} == {401}
    assert other.client.connected


async def test_later_process_knows_ended_logins(deployment: Deployment, newcomer: Newcomer) -> None:
    learner, stranger = await newcomer(), await newcomer()
    await logout(deployment, learner)
    async with running_container(load_settings(deployment.environment)) as later:
        with pytest.raises(errors.Unauthenticated):
            later.logins.identify(learner.access_token)
        assert later.logins.identify(stranger.access_token).user_id == stranger.id


async def test_process_without_postgresql_refuses_all_tokens(deployment: Deployment, newcomer: Newcomer) -> None:
    learner = await newcomer()
    services = Container(load_settings({**deployment.environment, "DB_PORT": "1"}))
    try:
        with pytest.raises(errors.Unavailable):
            services.logins.identify(learner.access_token)
        await services.login_revocations.start()
        with pytest.raises(errors.Unavailable):
            services.logins.identify(learner.access_token)
    finally:
        await services.login_revocations.stop()
        await services.close()


async def test_ended_logins_stay_ended_after_a_flush(deployment: Deployment, newcomer: Newcomer, call: Call) -> None:
    before, after, at_once = await newcomer(), await newcomer(), await newcomer()
    await logout(deployment, before)
    await assert_ended(deployment, before, [], within=PROMISED)
    with deployment.redis() as client:
        client.flushall()
        # In the same moment: no worker has looked in between.
        await logout(deployment, at_once)
    await assert_ended(deployment, at_once, [], within=PROMISED)
    phones = [await call(worker, after) for worker in deployment.workers]
    await logout(deployment, after)
    await assert_ended(deployment, after, phones, within=PROMISED)
    for worker in deployment.workers:
        for learner in (before, at_once):
            assert await seconds_until_refused(worker.url, learner.access_token, within=0.5) < limit(0.5)


async def test_revocation_survives_the_loss_of_its_mark(deployment: Deployment, newcomer: Newcomer) -> None:
    first, second = await newcomer(), await newcomer()
    with deployment.redis() as client:
        client.flushall()
        for learner in (first, second):
            await logout(deployment, learner)
            await assert_ended(deployment, learner, [], within=PROMISED)
            client.flushall()


class CountingRedis:
    """The commands of Redis that revocations use, counted."""

    def __init__(self, redis_: Any) -> None:
        self._redis = redis_
        self.gets = 0

    async def get(self, name: str) -> Any:
        self.gets += 1
        return await self._redis.get(name)

    async def set(self, *arguments: Any, **options: Any) -> Any:
        return await self._redis.set(*arguments, **options)


async def test_revocations_are_read_only_when_there_are_new_ones(deployment: Deployment) -> None:
    """Between two revocations PostgreSQL is asked every five seconds, though Redis is asked three times a second."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "refresh_tokens" in statement:
            asked.append(statement)

    with deployment.redis() as client:
        client.flushall()
    services = Container(load_settings(deployment.environment))
    counting = CountingRedis(services.redis)
    revocations = LoginRevocations(services.database, cast("Redis", counting), timedelta(minutes=15))
    sa.event.listen(services.database.engine.sync_engine, "before_cursor_execute", note)
    try:
        await revocations.start()
        await eventually(lambda: counting.gets == 2, "the mark has been seen")
        known = len(asked)
        await eventually(lambda: counting.gets >= 6, "the mark is looked at")
        assert len(asked) == known, "PostgreSQL is asked though nothing is new"
        await revocations.publish([str(uuid.uuid4())])
        await eventually(lambda: len(asked) == known + 1, "PostgreSQL is asked after a revocation", within=PROMISED)
    finally:
        await revocations.stop()
        await services.close()


async def test_hanging_redis_delays_a_logout_briefly(deployment: Deployment, newcomer: Newcomer, call: Call) -> None:
    learner = await newcomer()
    phones = [await call(worker, learner) for worker in deployment.workers]
    with deployment.redis() as client:
        client.execute_command("CLIENT", "PAUSE", "5000", "ALL")
        started = time.monotonic()
        await logout(deployment, learner)
        assert time.monotonic() - started < 2 + limit(0.5)
        await assert_ended(deployment, learner, phones, within=WITHOUT_REDIS)
        client.ping()  # waits until it answers again


async def test_logout_without_redis_reaches_every_process(
    deployment: Deployment, newcomer: Newcomer, call: Call
) -> None:
    learner, stranger, last = await newcomer(), await newcomer(), await newcomer()
    phones = [await call(worker, learner) for worker in deployment.workers]
    strangers = [await call(worker, stranger) for worker in deployment.workers]
    deployment.valkey.stop()
    try:
        await logout(deployment, learner)
        await assert_ended(deployment, learner, phones, within=WITHOUT_REDIS)
        assert all(phone.client.connected for phone in strangers)
    finally:
        restarted = deployment.valkey.start()
    assert restarted["REDIS_PORT"] == deployment.environment["REDIS_PORT"]
    for worker in deployment.workers:
        assert await seconds_until_refused(worker.url, learner.access_token, within=0.5) < limit(0.5)
    await logout(deployment, last)
    await assert_ended(deployment, last, [], within=PROMISED)
