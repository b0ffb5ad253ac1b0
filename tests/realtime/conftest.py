"""Fixtures of the Socket.IO tests: an empty queue for each, and a server without the fast path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest

from container import Container
from testing.calls import empty_queue
from testing.containers import load_settings
from testing.deployment import Deployment, ReconnectingClient
from testing.servers import Server, http_client, register, start_server, stop_server


class MakeClient(Protocol):
    """Connects a new learner to a server of the deployment, `at` its number; the client is closed after the test."""

    async def __call__(self, *, at: int) -> ReconnectingClient: ...


@pytest.fixture(autouse=True)
async def clean_queue(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)


@pytest.fixture(scope="session")
def server_without_fast_lane(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that handles signaling as it does all other events; started once a process, where a test asks for it."""
    log = tmp_path_factory.mktemp("ordinary") / "server.log"
    running = start_server({**environment, "EVENTS_FAST_LANE": "false"}, log, workers=2)
    yield running
    stop_server(running)


@pytest.fixture
async def services(deployment: Deployment) -> AsyncIterator[Container]:
    """The services of the deployment, to look at what is in its database and its Redis."""
    container = Container(load_settings(deployment.environment))
    yield container
    await container.close()


@pytest.fixture
async def make_client(deployment: Deployment) -> AsyncIterator[MakeClient]:
    made: list[ReconnectingClient] = []

    async def make(*, at: int) -> ReconnectingClient:
        learner = await register(http_client(deployment.servers[1].url))
        client = ReconnectingClient(learner, lambda: [server.url for server in deployment.servers])
        made.append(client)
        await client.connect(at=at)
        return client

    yield make
    for client in made:
        await client.close()
