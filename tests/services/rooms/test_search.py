"""Searches in Redis: who is matched with whom, however many search at once."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter

import orjson
import pytest

import errors
from container import Container
from services.calls.room_state import Paired, Queued, QueueEntry, Waits
from services.calls.rooms import ROOM_SECONDS, Rooms
from services.calls.search_queue import WAITS_SECONDS
from testing.calls import empty_queue
from testing.rooms import MakeEntry, find, list_keys, match_entries


async def test_two_hundred_searches_become_a_hundred_pairs(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    entries = [make_entry() for _ in range(200)]
    outcomes = await asyncio.gather(*(find(rooms, each) for each in entries))
    pairs = [
        (own["userId"], outcome.partner_entry["userId"])
        for own, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, Paired)
    ]
    assert len(pairs) == 100
    assert all(one != other for one, other in pairs), "matched with themselves"
    met = Counter(user for pair in pairs for user in pair)
    assert set(met.values()) == {1} and set(met) == {each["userId"] for each in entries}
    assert (
        await list_keys(container, "{match}:searching:*") == set()
        and await list_keys(container, "{match}:queue:*") == set()
    )
    rooms_of = [await rooms.get_room_id(each["userId"]) for each in entries]
    assert set(Counter(rooms_of).values()) == {2}


@pytest.mark.parametrize("seed", range(12))
async def test_searches_of_one_loop_turn_are_served_in_order(
    container: Container, rooms: Rooms, make_entry: MakeEntry, seed: int
) -> None:
    choose = random.Random(seed)
    users = [str(uuid.UUID(int=choose.getrandbits(128), version=4)) for _ in range(60)]

    def some(count: int) -> list[tuple[QueueEntry, list[str], int | str]]:
        return [
            (
                make_entry(
                    choose.choice(("all", "beginner", "advanced")),
                    choose.choice(("", "", "food", "work")),
                    user=choose.choice(users),
                    worker=choose.choice(("", "", "", "", "deadbeef")),
                ),
                choose.sample(users, choose.choice((0, 0, 3, 40))),
                choose.choices(("", "head", choose.randrange(10**15)), (8, 1, 1))[0],
            )
            for _ in range(count)
        ]

    before, together = some(25), some(70)
    met_before = [tuple(sorted(choose.sample(users, 2))) for _ in range(300)]

    async def outcome_of(each: tuple[QueueEntry, list[str], int | str]) -> str:
        own, avoid, position = each
        try:
            outcome = await rooms.find_partner(own, str(uuid.uuid4()), str(uuid.uuid4()), avoid, position=position)
        except errors.ProductError as error:
            return error.code
        if isinstance(outcome, Queued):
            return "waits"
        return f"{outcome.partner_entry['userId']} {outcome.level} {outcome.topic}"

    async def story(*, at_once: bool) -> tuple[list[str], dict[str, list[str]]]:
        await empty_queue(container)
        for one, other in met_before:
            await container.redis.set(f"{{match}}:recent:{one}:{other}", "1", ex=600)
        for each in before:
            await outcome_of(each)
        for key in sorted(await list_keys(container, "{match}:searching:*"))[::5]:
            await container.redis.delete(key)  # what its expiry does
        outcomes = (
            await asyncio.gather(*map(outcome_of, together))
            if at_once
            else [await outcome_of(each) for each in together]
        )
        # Entries of searches that ended are removed by the next script that meets them.
        searching = {each["userId"]: each async for each in rooms.iterate_searches()}
        queues: dict[str, list[str]] = {}
        for key in sorted(await list_keys(container, "{match}:queue:*")):
            _, _, level, topic = f"{key}:".split(":")[:4]
            queues[key] = [
                user
                for user in map(str, await container.redis.zrange(key, 0, -1))
                if user in searching and searching[user]["level"] == level and topic in ("", searching[user]["topic"])
            ]
        queues = {key: waiting for key, waiting in queues.items() if waiting}
        due = set(map(str, await container.redis.zrange("{match}:due", 0, -1))) & {
            f"search:{user}" for user in searching
        }
        kept = {
            key for key in await list_keys(container) if ":searching:" in key or ":in_room:" in key or ":recent:" in key
        }
        return outcomes, {**queues, "due": sorted(due), "kept": sorted(kept)}

    one_by_one, at_once = await story(at_once=False), await story(at_once=True)
    assert Counter(one_by_one[0]).keys() >= {"waits", "already_searching", "already_in_room"}
    assert at_once == one_by_one


async def test_mixed_searches_leave_at_most_one_per_kind(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    choose = random.Random(7)
    kinds = [(level, topic) for level in ("beginner", "intermediate", "advanced") for topic in ("", "food", "work")]
    entries = [make_entry(*choose.choice(kinds)) for _ in range(200)]
    choose.shuffle(entries)
    outcomes = await asyncio.gather(*(find(rooms, each) for each in entries))
    met: Counter[str] = Counter()
    for own, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, Paired):
            assert outcome.partner_entry["level"] == own["level"] == outcome.level
            met.update([own["userId"], outcome.partner_entry["userId"]])
    assert set(met.values()) == {1}
    left = Counter(each["level"] for each in entries if each["userId"] not in met)
    searched = Counter(each["level"] for each in entries)
    assert left == {level: 1 for level, count in searched.items() if count % 2}, "two who fit each other both wait"
    for level in ("beginner", "intermediate", "advanced"):
        assert await container.redis.zcard(f"{{match}}:queue:18_plus:{level}") == left[level]


async def test_concurrent_searches_of_one_user_wait_once(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    user = str(uuid.uuid4())
    outcomes = await asyncio.gather(*(find(rooms, make_entry(user=user)) for _ in range(50)), return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {Queued: 1, errors.AlreadySearching: 49}
    assert await container.redis.zrange("{match}:queue:18_plus:all", 0, -1) == [user]


async def test_match_links_room_and_participants(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    ada, bob = make_entry("beginner", "food"), make_entry("all", "food")
    await find(rooms, ada)
    outcome = await rooms.find_partner(bob, "the-room", "the-session")
    assert isinstance(outcome, Paired)
    assert outcome == Paired({**ada, "since": outcome.partner_entry["since"]}, "beginner", "food", outcome.waited_ms)
    assert (outcome.own_wait_ms, outcome.is_level_widened) == (None, False)
    assert 0 <= outcome.waited_ms < 60_000
    meta = await container.redis.hgetall("{match}:room:the-room:meta")
    for each in (ada, bob):
        room, _, held = str(await container.redis.get(f"{{match}}:in_room:{each['userId']}")).partition("\n")
        assert room == "the-room" and orjson.loads(held)["socket"] == each["socket"]
    assert abs(int(meta.pop("createdAt")) / 1000 - time.time()) < 60
    assert meta == {
        "topic": "food",
        "level": "beginner",
        "sessionId": "the-session",
        "userAId": ada["userId"],
        "userBId": bob["userId"],
    }
    assert await container.redis.smembers("{match}:room:the-room:users") == {ada["userId"], bob["userId"]}
    for each in (ada, bob):
        assert await rooms.get_room_id(each["userId"]) == "the-room"
        with pytest.raises(errors.AlreadyInRoom):
            await find(rooms, each)
    assert await list_keys(container, "{match}:queue:*") == await list_keys(container, "{match}:searching:*") == set()


async def test_every_queue_and_room_key_expires(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    await rooms.seed_waits(make_entry(), Waits(10, 60))
    await rooms.close(await match_entries(rooms, make_entry(), make_entry()), None)
    await match_entries(rooms, make_entry("advanced", "food"), make_entry("advanced", "food"))
    await find(rooms, make_entry("beginner", "work"))
    assert {key.split(":")[1] for key in await list_keys(container)} >= {
        "recent",
        "in_room",
        "room",
        "searching",
        "queue",
        "waits",
        "came",
    }
    for key in await list_keys(container) - {"{match}:due"}:  # what is due is taken off when it is done
        seconds = await container.redis.ttl(key)
        kind = key.split(":")[1]
        limits = {"room": ROOM_SECONDS + 60, "in_room": ROOM_SECONDS + 60, "recent": 600, "came": 900}
        limit = {**limits, "waits": WAITS_SECONDS}.get(kind, 305)
        assert limit - 60 <= seconds <= limit, f"{key} expires in {seconds} s"


@pytest.mark.parametrize("topic", ["", "food"])
async def test_expired_search_is_not_matched(
    container: Container, rooms: Rooms, make_entry: MakeEntry, topic: str
) -> None:
    gone = make_entry("all", topic)
    await find(rooms, gone)
    await container.redis.delete(f"{{match}}:searching:{gone['userId']}")  # what its expiry does
    seeker = make_entry("all", topic)
    assert isinstance(await find(rooms, seeker), Queued)
    queues = await list_keys(container, "{match}:queue:*")
    assert queues
    for key in queues:
        assert await container.redis.zrange(key, 0, -1) == [seeker["userId"]], key


async def test_expired_search_leaves_its_old_queue(rooms: Rooms, container: Container, make_entry: MakeEntry) -> None:
    old = make_entry("beginner", "food")
    await find(rooms, old)
    await container.redis.delete(f"{{match}}:searching:{old['userId']}")  # what its expiry does
    await find(rooms, make_entry("advanced", "work", user=old["userId"]))
    assert isinstance(await find(rooms, make_entry("beginner", "food")), Queued), "matched across levels"
    outcome = await find(rooms, make_entry("advanced", "work"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == old["userId"]


async def test_search_of_a_dead_process_is_skipped(rooms: Rooms, make_entry: MakeEntry) -> None:
    dead, alive = make_entry("all", "food", worker="deadbeef"), make_entry("all", "food")
    await find(rooms, dead)
    assert isinstance(await find(rooms, alive), Queued)
    outcome = await find(rooms, make_entry("all", "food"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == alive["userId"]


async def test_find_looks_at_sixty_four_entries_at_most(rooms: Rooms, make_entry: MakeEntry) -> None:
    avoided = [make_entry("beginner") for _ in range(64)]
    for each in avoided:
        await rooms.requeue(each)
    other, seeker = make_entry("beginner"), make_entry("beginner")
    await rooms.requeue(other)
    names = [each["userId"] for each in avoided]
    assert isinstance(await rooms.find_partner(seeker, "room", "session", names), Queued)
    await rooms.leave_queue(seeker["userId"])
    outcome = await rooms.find_partner(seeker, "room", "session", names[1:])
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == names[0]
    outcome = await rooms.find_partner(make_entry("beginner"), "room 2", "session", names[1:])
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == other["userId"]
