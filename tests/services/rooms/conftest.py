"""What tests of queue and rooms share: an empty queue, and entries for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.redis_pipeline import RedisPipeline
from container import Container
from models import AgeBand, Level
from services.calls.room_state import PartnerCard, QueueEntry
from services.calls.rooms import LUA_DIRECTORY, Rooms
from settings import Settings
from testing.calls import empty_queue
from testing.rooms import MakeEntry


@pytest.fixture
async def rooms(container: Container) -> AsyncIterator[Rooms]:
    """Rooms on the Redis of the test run, with an empty queue."""
    await empty_queue(container)
    yield Rooms(container.scripts)
    await empty_queue(container)


@pytest.fixture
def make_entry(container: Container) -> MakeEntry:
    """Make entries of users who exist nowhere else, each a millisecond younger than the one before."""
    begun = int(time.time() * 1000)
    made = 0

    def make(
        level: Level = "all",
        topic: str = "",
        *,
        user: str = "",
        worker: str = "",
        pool: AgeBand = AgeBand.ADULT,
    ) -> QueueEntry:
        nonlocal made
        made += 1
        user_id = user or str(uuid.uuid4())
        socket = f"{worker or container.bus.process_id}.{uuid.uuid4().hex}"
        card: PartnerCard = {"displayName": "Ada", "avatarUrl": None, "level": "beginner"}
        return {
            "pool": pool,
            "userId": user_id,
            "socket": socket,
            "level": level,
            "topic": topic,
            "since": begun + made,
            "card": card,
        }

    return make


@pytest.fixture
async def brief(settings: Settings, own_valkey: dict[str, str]) -> AsyncIterator[Rooms]:
    """Rooms with deadlines of milliseconds, on a Redis where no server takes them."""
    own = RedisPipeline(settings.model_copy(update={"redis_port": int(own_valkey["REDIS_PORT"])}), LUA_DIRECTORY)
    await own.execute("FLUSHALL")
    await own.execute("SET", "worker:{match}:here", "1")
    soon = timedelta(milliseconds=50)
    yield Rooms(own, search=soon, join=soon, grace=soon)
    await own.close()
