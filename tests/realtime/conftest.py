"""Fixtures of the Socket.IO tests: an empty queue for each, and a server without the fast path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from container import Container
from testing.calls import empty_queue
from testing.servers import Server, start_server, stop_server


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
