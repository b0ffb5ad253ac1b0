"""What the packages of tests with a `deployment` of their own share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from testing.logins import Deployment, Visit
from testing.servers import client


@pytest.fixture
async def visit(deployment: Deployment) -> AsyncIterator[Visit]:
    """Make clients, each from an address of its own."""
    clients: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        clients.append(client(deployment.asgi))
        return clients[-1]

    yield make
    for each in clients:
        await each.aclose()
