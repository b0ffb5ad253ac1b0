"""Queue entries in Redis that leave the queue, or return to it."""

from __future__ import annotations

import asyncio

from container import Container
from services.calls.room_state import Paired, Queued
from services.calls.rooms import Rooms
from testing.rooms import MakeEntry, find, list_keys


async def test_leaving_removes_the_search_from_every_queue(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    ada = make_entry("beginner", "food")
    await find(rooms, ada)
    assert not await rooms.leave_queue(ada["userId"], "another.socket")
    assert await rooms.leave_queue(ada["userId"], ada["socket"])
    assert not await rooms.leave_queue(ada["userId"])
    assert await list_keys(container) == set()


async def test_concurrent_leave_and_match_exclude_each_other(rooms: Rooms, make_entry: MakeEntry) -> None:
    for _ in range(50):
        ada, bob = make_entry(), make_entry()
        await find(rooms, ada)
        left, outcome = await asyncio.gather(rooms.leave_queue(ada["userId"]), find(rooms, bob))
        assert (left is not None) is isinstance(outcome, Queued)
        if left:
            await rooms.leave_queue(bob["userId"])


async def test_requeued_search_keeps_its_position(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    first, second = make_entry("advanced", "food"), make_entry("advanced", "food")
    await find(rooms, first)
    await rooms.leave_queue(first["userId"])
    await find(rooms, second)
    await rooms.requeue(first)
    for queue in ("{match}:queue:advanced", "{match}:queue:advanced:food"):
        assert await container.redis.zrange(queue, 0, -1) == [first["userId"], second["userId"]]
    assert 240 <= await container.redis.ttl(f"{{match}}:searching:{first['userId']}") <= 305
    outcome = await find(rooms, make_entry("advanced"))
    assert isinstance(outcome, Paired) and outcome.partner_entry == first


async def test_requeued_search_may_go_first(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    waiting, first = [make_entry("advanced", "food") for _ in range(2)], make_entry("advanced", "food")
    avoided = [each["userId"] for each in waiting]
    await find(rooms, waiting[0])
    await rooms.find_partner(waiting[1], "room", "session", avoided)
    assert isinstance(await rooms.find_partner(first, "room", "session", avoided, position="head"), Queued)
    outcome = await find(rooms, make_entry("advanced", "food"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == first["userId"]


async def test_requeued_search_may_keep_its_start(rooms: Rooms, make_entry: MakeEntry) -> None:
    first, second, third = [make_entry("advanced", "food") for _ in range(3)]
    all_users = [each["userId"] for each in (first, second, third)]
    outcomes = await asyncio.gather(
        *(
            rooms.find_partner(each, "room", "session", all_users, position=position)
            for each, position in ((first, ""), (second, 2_000))
        )
    )
    assert [outcome.ahead for outcome in outcomes if isinstance(outcome, Queued)] == [1, 0]
    await rooms.find_partner(third, "room", "session", all_users, position=1_000)
    for expected in (third, second, first):
        outcome = await find(rooms, make_entry("advanced", "food"))
        assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == expected["userId"]


async def test_search_of_a_busy_user_is_not_requeued(rooms: Rooms, make_entry: MakeEntry) -> None:
    old = make_entry("beginner")
    new = make_entry("advanced", user=old["userId"])
    await find(rooms, new)
    await rooms.requeue(old)
    assert isinstance(await find(rooms, make_entry("beginner")), Queued)
    outcome = await find(rooms, make_entry("advanced"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["socket"] == new["socket"]
    await rooms.requeue(old)  # in a room by now
    await rooms.requeue(new)
    assert not await rooms.leave_queue(old["userId"])
