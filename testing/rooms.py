"""Queue entries and rooms in Redis, of users who exist nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from container import Container
from services.calls.room_state import Paired, Queued, QueueEntry
from services.calls.rooms import Rooms

MakeEntry = Callable[..., QueueEntry]


async def find(rooms: Rooms, entry: QueueEntry) -> Queued | Paired:
    return await rooms.find_partner(entry, str(uuid.uuid4()), str(uuid.uuid4()))


async def match_entries(rooms: Rooms, waiting: QueueEntry, seeker: QueueEntry) -> str:
    """Put two in a room; answer its id."""
    room_id = str(uuid.uuid4())
    await rooms.find_partner(waiting, str(uuid.uuid4()), str(uuid.uuid4()))
    outcome = await rooms.find_partner(seeker, room_id, str(uuid.uuid4()))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == waiting["userId"]
    return room_id


async def list_keys(container: Container, pattern: str = "{match}:*") -> set[str]:
    return {key async for key in container.redis.scan_iter(pattern, count=1000)}


async def begin_call(rooms: Rooms, one: QueueEntry, other: QueueEntry) -> str:
    room_id = await match_entries(rooms, one, other)
    for each in (one, other):
        joined = await rooms.join(room_id, each["userId"], each["socket"])
    await rooms.remove_deadline("begin", room_id, joined.connected_ms)
    return room_id
