"""Owns that each test begins with no limit spent: all browsers come from one address."""

from __future__ import annotations

import pytest
import redis

from settings import Settings


@pytest.fixture(autouse=True)
def nothing_spent(settings: Settings) -> None:
    with redis.Redis(str(settings.redis_host), settings.redis_port) as client:
        for key in client.scan_iter("limit:*", count=1000):
            client.delete(key)
