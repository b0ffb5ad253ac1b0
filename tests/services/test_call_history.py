"""Rows of calls: ends, statistics and history."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from container import Container
from models import CallSession
from services.calls.rooms import ROOM_SECONDS
from testing.call_history import MakeLearner
from testing.databases import rows, value
from testing.http_answers import read_all_pages
from testing.polling import eventually
from testing.servers import Learner

Pair = tuple[Learner, Learner]


@pytest.fixture
async def pair(make_learner: MakeLearner) -> Pair:
    return await make_learner(ready=False), await make_learner(ready=False)


async def open_call(
    container: Container, one: Learner, other: Learner, *, age: timedelta = timedelta(), connected: bool = True
) -> str:
    """Begin a call some time ago; answer its room."""
    room, began = str(uuid.uuid4()), datetime.now(UTC) - age
    row = CallSession(room_id=room, user_a_id=uuid.UUID(one.id), user_b_id=uuid.UUID(other.id), level="all")
    row.started_at, row.connected_at = began, began if connected else None
    async with container.database.transaction() as db:
        db.add(row)
    return room


async def statistics(container: Container, learner: Learner) -> tuple[int, int, int]:
    """Sessions, minutes, days in a row."""
    columns = "total_sessions, total_practice_mins, streak_days"
    (found,) = await rows(container, f"SELECT {columns} FROM profiles WHERE user_id = :i", i=learner.id)
    return tuple(found)


async def ending(container: Container, room: str) -> Any:
    columns = "ended_at, ended_by, duration_seconds, started_at, connected_at"
    (found,) = await rows(container, f"SELECT {columns} FROM call_sessions WHERE room_id = :r", r=room)
    return found


async def test_concurrent_ends_are_counted_once(container: Container, pair: Pair) -> None:
    ada, bob = pair
    room = await open_call(container, ada, bob, age=timedelta(minutes=10))
    by = [ada.id, bob.id, "timeout", "error"]
    outcomes = await asyncio.gather(*(container.call_history.end(room, ended_by=by[turn % 4]) for turn in range(20)))
    assert outcomes.count(True) == 1 and outcomes.count(False) == 19
    assert await statistics(container, ada) == await statistics(container, bob) == (1, 10, 1)
    before = await ending(container, room)
    assert await container.call_history.end(room, ended_by="error") is False
    assert await ending(container, room) == before


async def test_concurrent_ends_of_one_pair_do_not_deadlock(container: Container, pair: Pair) -> None:
    ada, bob = pair
    for _ in range(100):
        opposite = await asyncio.gather(open_call(container, ada, bob), open_call(container, bob, ada))
        assert (
            await asyncio.gather(*(container.call_history.end(room, ended_by=ada.id) for room in opposite))
            == [True] * 2
        )
    assert (await statistics(container, ada))[0] == (await statistics(container, bob))[0] == 200


async def test_sweeper_and_hang_ups_do_not_deadlock(container: Container, make_learner: MakeLearner) -> None:
    users = [await make_learner(ready=False) for _ in range(6)]
    chance, opened = random.Random(7), 0
    for _ in range(12):
        rooms = []
        for _ in range(10):
            one, other = chance.sample(users, 2)
            rooms.append(await open_call(container, one, other, age=timedelta(hours=3)))
        opened += len(rooms)
        hanging_up = [container.call_history.end(room, ended_by="error") for room in rooms[::2]]
        await asyncio.gather(*hanging_up[:3], container.call_history.end_stale(), *hanging_up[3:])
    counted = [(await statistics(container, each))[0] for each in users]
    assert sum(counted) == 2 * opened


async def test_unconnected_match_earns_no_statistics(container: Container, pair: Pair) -> None:
    ada, bob = pair
    room = await open_call(container, ada, bob, age=timedelta(minutes=1), connected=False)
    assert await container.call_history.end(room, ended_by=bob.id)
    ended_at, ended_by, duration, *_ = await ending(container, room)
    assert ended_at is not None and (ended_by, duration) == ("user_b", 0)
    assert await statistics(container, ada) == await statistics(container, bob) == (0, 0, 0)
    assert await value(container, "SELECT last_session_at FROM profiles WHERE user_id = :i", i=ada.id) is None


async def test_duration_counts_from_the_second_join(container: Container, pair: Pair) -> None:
    room = await open_call(container, *pair, age=timedelta(minutes=30), connected=False)
    await container.call_history.connect(room)
    connected = (await ending(container, room)).connected_at
    await container.call_history.connect(room)
    assert (await ending(container, room)).connected_at == connected, "coming back is not connecting again"
    earlier = "UPDATE call_sessions SET connected_at = connected_at - interval '90 seconds' WHERE room_id = :r"
    await rows(container, f"{earlier} RETURNING room_id", r=room)
    await container.call_history.end(room, ended_by=pair[0].id)
    assert 90 <= (await ending(container, room)).duration_seconds < 150


async def test_ended_call_cannot_connect(container: Container, pair: Pair) -> None:
    room = await open_call(container, *pair, connected=False)
    await container.call_history.end(room, ended_by=pair[0].id)
    await container.call_history.connect(room)
    assert (await ending(container, room)).connected_at is None


async def test_connect_during_end_gives_no_negative_duration(container: Container, pair: Pair) -> None:
    # The end's transaction is the older of the two, and waits for the row that the younger one connects.
    room = await open_call(container, *pair, connected=False)
    async with container.database.transaction() as younger:
        connect = "UPDATE call_sessions SET connected_at = clock_timestamp() + interval '2 seconds' WHERE room_id = :r"
        await younger.execute(sa.text(connect), {"r": room})
        end = asyncio.create_task(container.call_history.end(room, ended_by=pair[0].id))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE call%'"

        async def waits() -> bool:
            return end.done() or bool(await value(container, waiting))

        await eventually(waits, "the end waits for the row")
    assert await end
    found = await ending(container, room)
    assert found.duration_seconds == 0 and found.ended_at >= found.connected_at


async def test_sweeper_ends_only_stale_calls(container: Container, make_learner: MakeLearner) -> None:
    ada, bob, carol, dan = [await make_learner(ready=False) for _ in range(4)]
    stale = await open_call(container, ada, bob, age=timedelta(hours=5))
    never = await open_call(container, ada, bob, age=timedelta(hours=5), connected=False)
    young = await open_call(container, carol, dan, age=timedelta(hours=1, minutes=59))
    assert sum(await asyncio.gather(*(container.call_history.end_stale() for _ in range(3)))) >= 2
    found = await ending(container, stale)
    assert (found.ended_by, found.duration_seconds) == ("timeout", ROOM_SECONDS)
    # It ended when its room did, not when the sweeper noticed: the day counts for the streak.
    assert found.ended_at == found.started_at + timedelta(seconds=ROOM_SECONDS)
    found = await ending(container, never)
    assert (found.ended_by, found.duration_seconds) == ("timeout", 0)
    assert await statistics(container, ada) == await statistics(container, bob) == (1, ROOM_SECONDS // 60, 1)
    assert (await ending(container, young)).ended_at is None
    assert await container.call_history.end_stale() == 0
    assert await container.call_history.end(young, ended_by=carol.id)


async def test_late_end_is_capped(container: Container, pair: Pair) -> None:
    room = await open_call(container, *pair, age=timedelta(hours=9))
    await container.call_history.end(room, ended_by=pair[0].id)
    assert (await ending(container, room)).duration_seconds == ROOM_SECONDS


async def _history(container: Container, me: Learner, others: list[Learner], count: int, *, moments: int) -> list[str]:
    """Write `count` ended calls on both sides of `me`, many of them of the same instant; newest first."""
    now = datetime.now(UTC).replace(microsecond=123_456)
    made = []
    for number in range(count):
        began = now - timedelta(days=1, minutes=number % moments)
        pair = [uuid.UUID(me.id), uuid.UUID(others[number % len(others)].id)]
        user_a, user_b = pair if number % 2 else pair[::-1]
        made.append(
            {
                "id": uuid.uuid4(),
                "room_id": str(uuid.uuid4()),
                "user_a_id": user_a,
                "user_b_id": user_b,
                "level": "all",
                "started_at": began,
                "connected_at": began,
                "ended_at": began + timedelta(minutes=1),
                "duration_seconds": 60,
                "ended_by": "user_a",
            }
        )
    async with container.database.transaction() as db:
        await db.execute(sa.insert(CallSession), made)
    made.sort(key=lambda row: (row["started_at"], row["id"]), reverse=True)
    return [str(row["id"]) for row in made]


async def test_pages_are_stable_while_new_calls_come(container: Container, make_learner: MakeLearner) -> None:
    ada, *others = [await make_learner() for _ in range(4)]
    expected = await _history(container, ada, others, 500, moments=7)
    for limit in (100, 37):
        assert [each["id"] for each in await read_all_pages(ada.http, "/sessions", limit=limit)] == expected

    read: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await ada.http.get("/sessions", params={"limit": 60, **cursor})).json()
        read += [each["id"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
        await open_call(container, *random.sample([ada, others[0]], 2))
    assert read == expected, "a new call moved the pages"


async def test_history_uses_both_indexes(container: Container, make_learner: MakeLearner) -> None:
    ada, bob, carol = [await make_learner(ready=False) for _ in range(3)]
    await _history(container, ada, [bob, carol], 200, moments=50)
    first = await container.call_history.list_calls(ada.id, limit=20, cursor=None)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "call_sessions" in statement:
            asked.append((statement, parameters))

    engine = container.database.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        await container.call_history.list_calls(ada.id, limit=20, cursor=None)
        await container.call_history.list_calls(ada.id, limit=20, cursor=first.next_cursor)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert len(asked) == 2

    # Many rows of others, for as long as this transaction lives.
    many = """
        INSERT INTO call_sessions (id, room_id, user_a_id, user_b_id, level, started_at)
        SELECT gen_random_uuid(), gen_random_uuid()::text, CAST(:bob AS uuid), CAST(:carol AS uuid), 'all',
               now() - number * interval '1 minute' FROM generate_series(1, 30000) AS number
    """
    async with container.database.engine.connect() as connection:
        await connection.execute(sa.text(many), {"bob": bob.id, "carol": carol.id})
        await connection.execute(sa.text("ANALYZE call_sessions"))
        for statement, parameters in asked:
            plan = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            lines = "\n".join(line for (line,) in plan)
            assert "call_sessions_user_a_idx" in lines and "call_sessions_user_b_idx" in lines, lines
            assert "Seq Scan on call_sessions" not in lines, lines
        await connection.rollback()
