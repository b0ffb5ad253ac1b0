"""Owns that each test of the socket door finds an empty queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from container import Container
from testing.calls import empty_queue


@pytest.fixture(autouse=True)
async def nobody_else(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)
