"""All web processes are started again, and Redis comes back with an older copy of its data: what calls are credited."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from adapters import bus
from adapters.redis_pipeline import RedisPipeline
from adapters.web_processes import WebProcesses
from models import CallSession
from models.call_session import EndedBy
from services.calls.outcomes import Searching
from testing.calls import backdate_call, call_row, is_away, make_due
from testing.redis_copies import RedisCopy
from tests.services.test_older_copy import SOCKETS, Deployment, deployment, users

__all__ = ["deployment", "users"]


async def begin_call(deployment: Deployment, users: list[str], *, seconds: int) -> str:
    """Let two learners begin a call, which began that long ago; return the room."""
    room_id = await deployment.call(users[0], users[1], SOCKETS)
    await backdate_call(deployment.container, {"roomId": room_id}, seconds)
    redis, meta = deployment.container.redis, f"{{match}}:room:{room_id}:meta"
    connected: Any = await redis.hget(meta, "connected")
    await redis.hset(meta, "connected", int(connected) - seconds * 1000)
    return room_id


async def note_heartbeats(deployment: Deployment, *, seconds: int) -> None:
    """Let the last heartbeats of all processes be that long ago."""
    now: Any = await deployment.container.redis.time()
    score = (now[0] - seconds) * 1000
    await deployment.container.redis.zadd("workers:{match}", dict[Any, float].fromkeys(deployment.processes, score))


async def restart_all(deployment: Deployment, copy: RedisCopy, *process_ids: str) -> None:
    for process_id in list(deployment.processes):
        await deployment.kill(process_id)
        copy.keys.pop(f"worker:{{match}}:{process_id}".encode(), None)
    await copy.restore()
    for process_id in process_ids:
        await deployment.start(process_id)


async def restore_data(deployment: Deployment, *process_ids: str) -> list[Any]:
    recoveries = [deployment.processes[each].recovery for each in process_ids]
    begun = [outcome for each in recoveries async for outcome in each.begin_restoring()]
    return begun + [outcome for each in recoveries async for outcome in each.finish_restoring()]


async def expire_graces(deployment: Deployment, room_id: str, user_ids: list[str]) -> CallSession:
    """Let no participant come back in time; return the row of the ended call."""
    for user_id in user_ids:
        assert await is_away(deployment.container, {"roomId": room_id}, user_id)
        await deployment.container.redis.hset(f"{{match}}:room:{room_id}:meta", f"away:{user_id}", "1")
    await make_due(deployment.container, "grace:")
    process = next(iter(deployment.processes.values()))
    async for _ in process.recovery.handle_deadlines():
        pass
    ended = await call_row(deployment.container, room_id)
    assert ended is not None and ended.ended_at is not None and ended.connected_at is not None
    return ended


@pytest.mark.parametrize("known", ["call", "match", "nothing", "one away"])
async def test_call_is_credited_up_to_what_is_known_of_it(deployment: Deployment, users: list[str], known: str) -> None:
    """A call of 100 seconds at the last heartbeat, then 600 in which nothing runs."""
    copy = await RedisCopy.take(deployment.port)
    if known == "match":
        room_id = await deployment.match(users[0], users[1], SOCKETS)
        copy = await RedisCopy.take(deployment.port)
        for user_id, socket_id in zip(users, SOCKETS, strict=False):
            await deployment.join(user_id, socket_id, room_id)
        await backdate_call(deployment.container, {"roomId": room_id}, 700)
    else:
        room_id = await begin_call(deployment, users, seconds=700)
    await note_heartbeats(deployment, seconds=600)
    if known == "one away":
        await deployment.processes["two"].signaling.disconnect(users[1], SOCKETS[1])
        moments: Any = await deployment.container.redis.time()
        away = (moments[0] - 620) * 1000
        await deployment.container.redis.hset(f"{{match}}:room:{room_id}:meta", f"away:{users[1]}", away)
        await deployment.container.redis.zadd("{match}:due", {f"grace:{room_id}:{users[1]}": away})
    if known in ("call", "one away"):
        copy = await RedisCopy.take(deployment.port)
    await restart_all(deployment, copy, "three", "four")
    assert await restore_data(deployment, "three", "four") == []
    ended = await expire_graces(deployment, room_id, users[:2])
    low, high = {"call": (99, 150), "one away": (79, 95)}.get(known, (0, 0))
    assert low <= (ended.duration_seconds or 0) <= high
    assert not await deployment.container.redis.exists(f"{{match}}:room:{room_id}:meta")


@pytest.mark.parametrize("first", ["one", "three"])
async def test_process_that_knows_nothing_decides_no_duration(
    deployment: Deployment, users: list[str], first: str
) -> None:
    """A process that went on knows when Redis last had the call, one that has just started does not."""
    copy = await RedisCopy.take(deployment.port)
    await deployment.start("gone")
    room_id = await deployment.call(users[0], users[1], ("gone.ada", "gone.bob"))
    await backdate_call(deployment.container, {"roomId": room_id}, 700)
    await deployment.kill("gone")
    await copy.restore()
    await deployment.start("three")
    for process_id in ("one", "two"):
        await deployment.container.redis.set(f"worker:{{match}}:{process_id}", 1)
    known = {"one": timedelta(seconds=600), "three": None}
    in_order = sorted(known, key=lambda each: each != first)
    for part in ("begin", "finish"):
        for process_id in in_order:
            reconciliation = deployment.processes[process_id].reconciliation
            assert not [each async for each in getattr(reconciliation, part)(known[process_id])]
    ended = await expire_graces(deployment, room_id, users[:2])
    assert 99 <= (ended.duration_seconds or 0) <= 150


async def test_late_process_shortens_no_live_call(deployment: Deployment, users: list[str]) -> None:
    """A process without Redis for ten minutes comes back while a participant of others is away for a moment."""
    room_id = await begin_call(deployment, users, seconds=700)
    await deployment.start("late")
    await deployment.processes["two"].signaling.disconnect(users[1], SOCKETS[1])
    late = deployment.processes["late"].reconciliation
    for part in (late.begin, late.finish):
        assert not [each async for each in part(timedelta(seconds=600))]
    assert await is_away(deployment.container, {"roomId": room_id}, users[1])
    assert await deployment.processes["one"].signaling.end_call(users[0], SOCKETS[0], room_id) is None
    ended = await call_row(deployment.container, room_id)
    assert ended is not None and 699 <= (ended.duration_seconds or 0) <= 730


async def test_repeated_losses_credit_no_outage(
    deployment: Deployment, users: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis loses its data twice within the grace: the second time it had answered a moment ago."""
    copy = await RedisCopy.take(deployment.port)
    await deployment.start("gone")
    room_id = await deployment.call(users[0], users[1], ("gone.ada", "gone.bob"))
    recovery = deployment.processes["one"].recovery
    assert [each async for each in recovery.handle_deadlines()] == []
    await backdate_call(deployment.container, {"roomId": room_id}, 700)
    monkeypatch.setattr(recovery, "_answered_at", recovery._answered_at - 600)
    await deployment.kill("gone")
    for _ in range(2):
        await copy.restore()
        for process_id in deployment.processes:
            await deployment.container.redis.set(f"worker:{{match}}:{process_id}", 1)
        await restore_data(deployment, "one")
        assert [each async for each in recovery.handle_deadlines()] == []
    ended = await expire_graces(deployment, room_id, users[:2])
    assert 99 <= (ended.duration_seconds or 0) <= 150


async def test_no_outage_is_credited_where_the_dead_are_declared_first(
    deployment: Deployment, users: list[str]
) -> None:
    """All processes are away for ten minutes, and Redis is not; the new one declares them dead before it reconciles."""
    room_id = await begin_call(deployment, users, seconds=700)
    await note_heartbeats(deployment, seconds=600)
    pipeline = RedisPipeline(deployment.container.settings, bus.LUA)
    processes = WebProcesses(pipeline, "three", on_lost=Mock(), on_data_lost=Mock())
    gone = [*deployment.processes]
    for process_id in gone:
        await deployment.kill(process_id)
        await processes.declare_dead(process_id)
    await pipeline.close()
    await deployment.start("three")
    for process_id in gone:
        assert [each async for each in deployment.processes["three"].recovery.recover_process(process_id)] == []
    assert await restore_data(deployment, "three") == []
    ended = await expire_graces(deployment, room_id, users[:2])
    assert 99 <= (ended.duration_seconds or 0) <= 150


async def test_end_that_waits_for_its_row_counts(deployment: Deployment, users: list[str]) -> None:
    """PostgreSQL was away while a call ended, and one of its learners searches by now."""
    room_id = await begin_call(deployment, users, seconds=100)
    closed = await deployment.processes["one"].rooms.close(room_id, users[0])
    assert closed is not None
    await deployment.container.redis.delete(*await deployment.container.redis.keys("{match}:recent:*"))
    assert isinstance(await deployment.search(users[0], SOCKETS[0]), Searching)
    await deployment.start("three")
    assert await restore_data(deployment, "three") == []
    ended = await call_row(deployment.container, room_id)
    assert ended is not None and ended.ended_by != EndedBy.ERROR and 99 <= (ended.duration_seconds or 0) <= 150
    assert await deployment.container.redis.keys("{match}:room:*") == []


async def test_ended_call_of_the_copy_is_removed(deployment: Deployment, users: list[str]) -> None:
    room_id = await begin_call(deployment, users, seconds=100)
    copy = await RedisCopy.take(deployment.port)
    await deployment.processes["one"].signaling.end_call(users[0], SOCKETS[0], room_id)
    ended = await call_row(deployment.container, room_id)
    await restart_all(deployment, copy, "three", "four")
    assert await restore_data(deployment, "three", "four") == []
    assert await deployment.container.redis.keys("{match}:in_room:*") == []
    assert await deployment.container.redis.zrange("{match}:due", 0, -1) == []
    assert await call_row(deployment.container, room_id) == ended
