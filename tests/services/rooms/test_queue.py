"""Queue entries in Redis that leave the queue, or return to it."""

from __future__ import annotations

import asyncio
import time
import uuid

import orjson

from container import Container
from models import AgeBand
from services.calls.room_state import Paired, Queued, QueueEntry
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
    # For some minutes it still says that learners like this one come.
    assert await list_keys(container) == {"{match}:came:18_plus"}


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
    for queue in ("{match}:queue:18_plus:advanced", "{match}:queue:18_plus:advanced:food"):
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
    begun = [outcome.entry["since"] for outcome in outcomes if isinstance(outcome, Queued)]
    assert len(begun) == 2 and begun[1] == 2_000 < begun[0]
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


async def test_search_meets_only_its_own_pool(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    """Every level and topic: who waits in one pool is not found from another."""
    waiting = make_entry("all", "food", pool=AgeBand.FROM_16)
    assert isinstance(await find(rooms, waiting), Queued)
    for pool in set(AgeBand) - {AgeBand.FROM_16}:
        seeker = make_entry("all", "food", pool=pool)
        assert isinstance(await find(rooms, seeker), Queued)
        assert await container.redis.zrange(f"{{match}}:queue:{pool}:all:food", 0, -1) == [seeker["userId"]]
    assert (await rooms.count_searches_by_level())["all"] == 4
    outcome = await find(rooms, make_entry("beginner", pool=AgeBand.FROM_16))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == waiting["userId"]


async def test_searches_of_all_pools_are_counted(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    """Of partners and courses too, whether they came with a find or were put back; none whose search is over."""
    courses = [f"18_plus_course_{uuid.uuid4().hex}" for _ in range(2)]
    entries: list[QueueEntry] = [
        {**make_entry("beginner"), "pool": pool} for pool in ("18_plus", "13_15_partners", *courses)
    ]
    for each in entries[:3]:
        assert isinstance(await find(rooms, each), Queued)
    await rooms.requeue({**entries[3], "since": int(time.time() * 1e6)})
    await find(rooms, make_entry("advanced"))
    found = await rooms.count_searches_by_level()
    assert (found["beginner"], found["advanced"], await rooms.count_searches()) == (4, 1, 5)
    # A pool in which nobody has begun for as long as a search lasts is forgotten with the next one.
    await container.redis.zadd("{match}:pools", {courses[0]: 1})
    await rooms.leave_queue(entries[2]["userId"])
    await find(rooms, {**make_entry("beginner"), "pool": "16_17_partners"})
    assert set(await container.redis.zrange("{match}:pools", 0, -1)) == {"13_15_partners", "16_17_partners", courses[1]}
    assert await rooms.count_searches() == 5


async def test_pools_in_one_batch_of_finds_stay_apart(rooms: Rooms, make_entry: MakeEntry) -> None:
    """The finds of one turn of the event loop are one run of the script."""
    entries = [make_entry(pool=pool) for _ in range(6) for pool in (AgeBand.FROM_13, AgeBand.FROM_16, AgeBand.ADULT)]
    outcomes = await asyncio.gather(*(find(rooms, each) for each in entries))
    pools = {each["userId"]: each["pool"] for each in entries}
    met = [
        (own["pool"], pools[outcome.partner_entry["userId"]])
        for own, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, Paired)
    ]
    assert len(met) == 9 and all(one == other for one, other in met)


async def test_moved_search_is_not_found_in_its_old_pool(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    """A user who searches again in another pool, while an entry of the first one is left in its queue."""
    old = make_entry(pool=AgeBand.FROM_16)
    await find(rooms, old)
    await container.redis.delete(f"{{match}}:searching:{old['userId']}")
    await find(rooms, {**old, "pool": AgeBand.ADULT})
    seeker = make_entry(pool=AgeBand.FROM_16)
    assert isinstance(await find(rooms, seeker), Queued)
    assert await container.redis.zrange("{match}:queue:16_17:all", 0, -1) == [seeker["userId"]]


async def test_search_of_the_earlier_release_stays_apart(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    """A process of the release before pools has put a search into its queue; here it is not found, and can be left."""
    user_id, socket = str(uuid.uuid4()), f"{container.bus.process_id}.old"
    entry = orjson.dumps({"userId": user_id, "socket": socket, "level": "all", "topic": "food"}).decode()
    since = 1_000_000
    await container.redis.set(f"{{match}}:searching:{user_id}", f"all\nfood\n{socket}\n{since}\n{entry}")
    for queue in ("{match}:queue:all", "{match}:queue:all:food"):
        await container.redis.zadd(queue, {user_id: since})
    assert isinstance(await find(rooms, make_entry("all", "food")), Queued)
    left = await rooms.leave_queue(user_id, socket)
    assert left is not None and left["userId"] == user_id
    assert await list_keys(container, "{match}:queue:all*") == set()
