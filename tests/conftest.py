"""Fixtures of all tests: real PostgreSQL, Valkey and S3, the app in this process, and a server in its own.

Tests share one database and keep apart by making their own learners; nothing is truncated, nothing is patched.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

import app
import settings as configuration
from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded import EmbeddedServices
from settings import Settings
from testing.payments import fake_providers, with_payment_accounts
from testing.servers import Learner, Phone, Server, client, dial, http_client, register, start_server, stop_server
from testing.time_limits import GRACE, JOIN, PROCESS_LOSS_GRACE

#: Files that take minutes are begun first, so that at the end no process waits for the last of them.
LONGEST_FILES = (
    "tests/services/test_matchmaking_model.py",
    "tests/cli/test_operators.py",
    "tests/realtime/test_calls_under_faults.py",
    "tests/services/test_payment_streams.py",
    "tests/cli/test_supervisor.py",
    "tests/e2e/test_checkout.py",
    "tests/cli/test_appeals.py",
    "tests/contract/test_schemathesis.py",
    "tests/e2e/test_payment_kills.py",
    "tests/e2e/test_video_kills.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {config.rootpath / file: place for place, file in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables under which a process of the product finds this test run's services."""
    directory = tmp_path_factory.mktemp("parlance")
    with EmbeddedServices(directory / "services", durable=False) as connections:
        variables = {
            **connections,
            "APP_ENV": "test",
            "BCRYPT_ROUNDS": "4",
            # Named here, so that it is the same for the app in this process and for every server.
            "REST_FAST_PATH": os.environ.get("REST_FAST_PATH", "true"),
            "JWT_PRIVATE_KEY_PATH": str(directory / "keys" / "private.pem"),
            "JWT_PUBLIC_KEY_PATH": str(directory / "keys" / "public.pem"),
            "TURN_SECRET": "turn-secret-of-the-tests",
            "TURN_HOST": "127.0.0.1",
            "JOIN_DEADLINE": f"{JOIN}s",
            "RECONNECT_GRACE": f"{GRACE}s",
            "PROCESS_LOSS_GRACE": f"{PROCESS_LOSS_GRACE}s",
            # Tests hurry; those of the limits serve with others.
            "SOCKET_EVENTS_PER_SECOND": "100000",
            "SOCKET_EVENT_BURST": "100000",
            "SOCKETS_PER_USER": "1000",
            # Calls of tests are short; those of the record of matches serve with others.
            "EARLY_LEAVE": "0s",
            # Learners whom other tests hold.
            "REPORT_RECORD_HOLDS": "1000000",
        }
        loaded = configuration.load(None, **{name.lower(): value for name, value in variables.items()})
        KeyFiles(loaded).generate()
        upgrade_to_head(loaded)
        yield variables


@pytest.fixture(scope="session")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a Valkey that no server uses, for tests that empty it or fill it with deadlines."""
    with EmbeddedServices(tmp_path_factory.mktemp("valkey"), durable=False, only=("valkey",)) as connections:
        yield connections


@pytest.fixture(scope="session")
def settings(environment: dict[str, str]) -> Settings:
    return configuration.load(None, **{name.lower(): value for name, value in environment.items()})


@pytest.fixture(scope="session")
async def container(settings: Settings) -> AsyncIterator[Container]:
    services = Container(settings, payment_providers=fake_providers(with_payment_accounts(settings)))
    async with services.lifespan(None):
        yield services


@pytest.fixture(scope="session")
async def asgi(container: Container) -> Any:
    """The whole app, in this process."""
    return app.create(container)


@pytest.fixture
async def api(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(asgi) as anonymous:
        yield anonymous


@pytest.fixture
async def make_learner(asgi: Any) -> AsyncIterator[Callable[..., Awaitable[Learner]]]:
    """Make learners of the app in this process."""
    clients: list[httpx.AsyncClient] = []

    async def make(**options: Any) -> Learner:
        clients.append(client(asgi))
        return await register(clients[-1], **options)

    yield make
    for each in clients:
        await each.aclose()


@pytest.fixture(scope="session")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with two worker processes."""
    running = start_server(environment, tmp_path_factory.mktemp("server") / "server.log", workers=2)
    yield running
    stop_server(running)


@pytest.fixture
async def make_phone(server: Server) -> AsyncIterator[Callable[..., Awaitable[Phone]]]:
    """Make learners of the running server, connected; `apart_from` lands on another worker than that phone's."""
    phones: list[Phone] = []
    clients: list[httpx.AsyncClient] = []

    async def make(
        *,
        learner: Learner | None = None,
        apart_from: Phone | None = None,
        together_with: Phone | None = None,
        **options: Any,
    ) -> Phone:
        if learner is None:
            clients.append(http_client(server.url))
            learner = await register(clients[-1], **options)
        for _ in range(200):
            phone = await dial(server.url, learner)
            if (apart_from is None or phone.worker != apart_from.worker) and (
                together_with is None or phone.worker == together_with.worker
            ):
                phones.append(phone)
                return phone
            await phone.client.disconnect()
        raise AssertionError("every socket landed on the same worker")

    yield make
    for phone in phones:
        if phone.client.connected:
            await phone.client.disconnect()
    for each in clients:
        await each.aclose()
