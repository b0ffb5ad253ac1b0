"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest
import redis

from adapters.jobs import STALLED_AFTER_SECONDS
from settings import Settings
from testing.databases import execute


@pytest.fixture(autouse=True)
def reset_rate_limits(settings: Settings) -> None:
    """Delete all rate limit counters: all browsers have one address."""
    with redis.Redis(str(settings.redis_host), settings.redis_port) as client:
        for key in client.scan_iter("limit:*", count=1000):
            client.delete(key)


def let_heartbeats_age(settings: Settings) -> None:
    """Make every job worker's last heartbeat so old that its jobs count as stalled."""
    age = f"{STALLED_AFTER_SECONDS + 1} seconds"
    execute(settings, "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - %s::interval", age)
