"""The queue and the rooms in Redis: scripts are atomic, whatever runs at once."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import orjson
import pytest

import errors
from adapters.redis_pipeline import RedisPipeline
from container import Container
from models import Level
from services.calls.room_state import (
    ClosedRoom,
    Paired,
    ParticipantAway,
    PartnerCard,
    PresentParticipant,
    Queued,
    QueueEntry,
)
from services.calls.rooms import LUA_DIRECTORY, ROOM_SECONDS, Rooms
from settings import Settings
from testing.calls import empty_queue

MakeTicket = Callable[..., QueueEntry]


@pytest.fixture(autouse=True)
async def clean_queue(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)


@pytest.fixture
def rooms(container: Container) -> Rooms:
    return Rooms(container.scripts)


@pytest.fixture
def ticket(container: Container) -> MakeTicket:
    """Make tickets of users who exist nowhere else, each a millisecond younger than the one before."""
    begun = int(time.time() * 1000)
    made = 0

    def make(level: Level = "all", topic: str = "", *, user: str = "", worker: str = "") -> QueueEntry:
        nonlocal made
        made += 1
        user_id = user or str(uuid.uuid4())
        socket = f"{worker or container.bus.worker_id}.{uuid.uuid4().hex}"
        card: PartnerCard = {"displayName": "Ada", "avatarUrl": None, "level": "beginner"}
        return {
            "userId": user_id,
            "socket": socket,
            "level": level,
            "topic": topic,
            "since": begun + made,
            "card": card,
        }

    return make


async def find(rooms: Rooms, ticket: QueueEntry) -> Queued | Paired:
    return await rooms.find_partner(ticket, str(uuid.uuid4()), str(uuid.uuid4()))


async def matched(rooms: Rooms, waiting: QueueEntry, seeker: QueueEntry) -> str:
    """Put two in a room; answer its id."""
    room_id = str(uuid.uuid4())
    await rooms.find_partner(waiting, str(uuid.uuid4()), str(uuid.uuid4()))
    outcome = await rooms.find_partner(seeker, room_id, str(uuid.uuid4()))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == waiting["userId"]
    return room_id


async def keys(container: Container, pattern: str = "match:*") -> set[str]:
    return {key async for key in container.redis.scan_iter(pattern, count=1000)}


# --- Finding ------------------------------------------------------------------------------------


async def test_two_hundred_searches_become_a_hundred_pairs(
    container: Container, rooms: Rooms, ticket: MakeTicket
) -> None:
    tickets = [ticket() for _ in range(200)]
    outcomes = await asyncio.gather(*(find(rooms, each) for each in tickets))
    pairs = [
        (own["userId"], outcome.partner_entry["userId"])
        for own, outcome in zip(tickets, outcomes, strict=True)
        if isinstance(outcome, Paired)
    ]
    assert len(pairs) == 100
    assert all(one != other for one, other in pairs), "matched with oneself"
    met = Counter(user for pair in pairs for user in pair)
    assert set(met.values()) == {1} and set(met) == {each["userId"] for each in tickets}
    assert await keys(container, "match:searching:*") == set() and await keys(container, "match:queue:*") == set()
    rooms_of = [await rooms.get_room_id(each["userId"]) for each in tickets]
    assert set(Counter(rooms_of).values()) == {2}


@pytest.mark.parametrize("seed", range(12))
async def test_searches_of_one_loop_turn_are_served_in_order(
    container: Container, rooms: Rooms, ticket: MakeTicket, seed: int
) -> None:
    choose = random.Random(seed)
    users = [str(uuid.UUID(int=choose.getrandbits(128), version=4)) for _ in range(60)]

    def some(count: int) -> list[tuple[QueueEntry, list[str], int | str]]:
        return [
            (
                ticket(
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
        own, avoid, place = each
        try:
            outcome = await rooms.find_partner(own, str(uuid.uuid4()), str(uuid.uuid4()), avoid, position=place)
        except errors.ProductError as error:
            return error.code
        if isinstance(outcome, Queued):
            return "waits"
        return f"{outcome.partner_entry['userId']} {outcome.level} {outcome.topic}"

    async def story(*, at_once: bool) -> tuple[list[str], dict[str, list[str]]]:
        await empty_queue(container)
        for one, other in met_before:
            await container.redis.set(f"match:recent:{one}:{other}", "1", ex=600)
        for each in before:
            await outcome_of(each)
        for key in sorted(await keys(container, "match:searching:*"))[::5]:
            await container.redis.delete(key)  # what its expiry does
        outcomes = (
            await asyncio.gather(*map(outcome_of, together))
            if at_once
            else [await outcome_of(each) for each in together]
        )
        # Entries of searches that ended are removed by the next script that meets them.
        searching = {each["userId"]: each async for each in rooms.iterate_searches()}
        queues: dict[str, list[str]] = {}
        for key in sorted(await keys(container, "match:queue:*")):
            _, _, level, topic = f"{key}:".split(":")[:4]
            queues[key] = [
                user
                for user in map(str, await container.redis.zrange(key, 0, -1))
                if user in searching and searching[user]["level"] == level and topic in ("", searching[user]["topic"])
            ]
        queues = {key: waiting for key, waiting in queues.items() if waiting}
        due = set(map(str, await container.redis.zrange("match:due", 0, -1))) & {f"search:{user}" for user in searching}
        kept = {key for key in await keys(container) if ":searching:" in key or ":in_room:" in key or ":recent:" in key}
        return outcomes, {**queues, "due": sorted(due), "kept": sorted(kept)}

    one_by_one, at_once = await story(at_once=False), await story(at_once=True)
    assert Counter(one_by_one[0]).keys() >= {"waits", "already_searching", "already_in_room"}
    assert at_once == one_by_one


async def test_mixed_searches_leave_at_most_one_per_kind(
    container: Container, rooms: Rooms, ticket: MakeTicket
) -> None:
    choose = random.Random(7)
    kinds = [(level, topic) for level in ("beginner", "intermediate", "advanced") for topic in ("", "food", "work")]
    tickets = [ticket(*choose.choice(kinds)) for _ in range(200)]
    choose.shuffle(tickets)
    outcomes = await asyncio.gather(*(find(rooms, each) for each in tickets))
    met: Counter[str] = Counter()
    for own, outcome in zip(tickets, outcomes, strict=True):
        if isinstance(outcome, Paired):
            assert outcome.partner_entry["level"] == own["level"] == outcome.level
            met.update([own["userId"], outcome.partner_entry["userId"]])
    assert set(met.values()) == {1}
    left = Counter(each["level"] for each in tickets if each["userId"] not in met)
    searched = Counter(each["level"] for each in tickets)
    assert left == {level: 1 for level, count in searched.items() if count % 2}, "two who fit each other both wait"
    for level in ("beginner", "intermediate", "advanced"):
        assert await container.redis.zcard(f"match:queue:{level}") == left[level]


async def test_concurrent_searches_of_one_user_wait_once(
    container: Container, rooms: Rooms, ticket: MakeTicket
) -> None:
    user = str(uuid.uuid4())
    outcomes = await asyncio.gather(*(find(rooms, ticket(user=user)) for _ in range(50)), return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {Queued: 1, errors.AlreadySearching: 49}
    assert await container.redis.zrange("match:queue:all", 0, -1) == [user]


async def test_match_links_room_and_participants(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    ada, bob = ticket("beginner", "food"), ticket("all", "food")
    await find(rooms, ada)
    outcome = await rooms.find_partner(bob, "the-room", "the-session")
    assert isinstance(outcome, Paired)
    assert outcome == Paired({**ada, "since": outcome.partner_entry["since"]}, "beginner", "food", outcome.waited_ms)
    assert 0 <= outcome.waited_ms < 5000
    meta = await container.redis.hgetall("match:room:the-room:meta")
    for each in (ada, bob):
        room, _, held = str(await container.redis.get(f"match:in_room:{each['userId']}")).partition("\n")
        assert room == "the-room" and orjson.loads(held)["socket"] == each["socket"]
    assert abs(int(meta.pop("createdAt")) / 1000 - time.time()) < 5
    assert meta == {
        "topic": "food",
        "level": "beginner",
        "sessionId": "the-session",
        "userAId": ada["userId"],
        "userBId": bob["userId"],
    }
    assert await container.redis.smembers("match:room:the-room:users") == {ada["userId"], bob["userId"]}
    for each in (ada, bob):
        assert await rooms.get_room_id(each["userId"]) == "the-room"
        with pytest.raises(errors.AlreadyInRoom):
            await find(rooms, each)
    assert await keys(container, "match:queue:*") == await keys(container, "match:searching:*") == set()


async def test_every_queue_and_room_key_expires(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    await rooms.close(await matched(rooms, ticket(), ticket()), None)
    await matched(rooms, ticket("advanced", "food"), ticket("advanced", "food"))
    await find(rooms, ticket("beginner", "work"))
    assert {key.split(":")[1] for key in await keys(container)} >= {"recent", "in_room", "room", "searching", "queue"}
    for key in await keys(container) - {"match:due"}:  # what is due is taken off when it is done
        seconds = await container.redis.ttl(key)
        limit = ROOM_SECONDS + 60 if ":room:" in key or ":in_room:" in key else max(305, 360)
        limit = 600 if ":recent:" in key else limit
        assert limit - 60 <= seconds <= limit, f"{key} expires in {seconds} s"


@pytest.mark.parametrize("topic", ["", "food"])
async def test_expired_search_is_not_matched(
    container: Container, rooms: Rooms, ticket: MakeTicket, topic: str
) -> None:
    gone = ticket("all", topic)
    await find(rooms, gone)
    await container.redis.delete(f"match:searching:{gone['userId']}")  # what its expiry does
    seeker = ticket("all", topic)
    assert isinstance(await find(rooms, seeker), Queued)
    queues = await keys(container, "match:queue:*")
    assert queues
    for key in queues:
        assert await container.redis.zrange(key, 0, -1) == [seeker["userId"]], key


async def test_expired_search_leaves_its_old_queue(rooms: Rooms, container: Container, ticket: MakeTicket) -> None:
    old = ticket("beginner", "food")
    await find(rooms, old)
    await container.redis.delete(f"match:searching:{old['userId']}")  # what its expiry does
    await find(rooms, ticket("advanced", "work", user=old["userId"]))
    assert isinstance(await find(rooms, ticket("beginner", "food")), Queued), "matched across levels"
    outcome = await find(rooms, ticket("advanced", "work"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == old["userId"]


async def test_search_of_a_dead_process_is_skipped(rooms: Rooms, ticket: MakeTicket) -> None:
    dead, alive = ticket("all", "food", worker="deadbeef"), ticket("all", "food")
    await find(rooms, dead)
    assert isinstance(await find(rooms, alive), Queued)
    outcome = await find(rooms, ticket("all", "food"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == alive["userId"]


async def test_find_looks_at_sixty_four_entries_at_most(rooms: Rooms, ticket: MakeTicket) -> None:
    avoided = [ticket("beginner") for _ in range(64)]
    for each in avoided:
        await rooms.requeue(each)
    other, seeker = ticket("beginner"), ticket("beginner")
    await rooms.requeue(other)
    names = [each["userId"] for each in avoided]
    assert isinstance(await rooms.find_partner(seeker, "room", "session", names), Queued)
    await rooms.leave_queue(seeker["userId"])
    outcome = await rooms.find_partner(seeker, "room", "session", names[1:])
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == names[0]
    outcome = await rooms.find_partner(ticket("beginner"), "room 2", "session", names[1:])
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == other["userId"]


async def test_find_returns_queue_position_and_match_rate(rooms: Rooms, ticket: MakeTicket) -> None:
    assert (await find(rooms, ticket("advanced")))[:2] == (0, 0)
    await matched(rooms, ticket("beginner"), ticket("beginner"))
    await matched(rooms, ticket("beginner"), ticket("beginner"))
    assert (await find(rooms, ticket("beginner")))[:2] == (0, 2)


# --- Leaving and going back ------------------------------------------------------------------------


async def test_leaving_removes_the_search_from_every_queue(
    container: Container, rooms: Rooms, ticket: MakeTicket
) -> None:
    ada = ticket("beginner", "food")
    await find(rooms, ada)
    assert not await rooms.leave_queue(ada["userId"], "another.socket")
    assert await rooms.leave_queue(ada["userId"], ada["socket"])
    assert not await rooms.leave_queue(ada["userId"])
    assert await keys(container) == set()


async def test_concurrent_leave_and_match_exclude_each_other(rooms: Rooms, ticket: MakeTicket) -> None:
    for _ in range(50):
        ada, bob = ticket(), ticket()
        await find(rooms, ada)
        left, outcome = await asyncio.gather(rooms.leave_queue(ada["userId"]), find(rooms, bob))
        assert (left is not None) is isinstance(outcome, Queued)
        if left:
            await rooms.leave_queue(bob["userId"])


async def test_requeued_search_keeps_its_position(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    first, second = ticket("advanced", "food"), ticket("advanced", "food")
    await find(rooms, first)
    await rooms.leave_queue(first["userId"])
    await find(rooms, second)
    await rooms.requeue(first)
    for queue in ("match:queue:advanced", "match:queue:advanced:food"):
        assert await container.redis.zrange(queue, 0, -1) == [first["userId"], second["userId"]]
    assert 300 <= await container.redis.ttl(f"match:searching:{first['userId']}") <= 305
    outcome = await find(rooms, ticket("advanced"))
    assert isinstance(outcome, Paired) and outcome.partner_entry == first


async def test_requeued_search_may_go_first(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    waiting, first = [ticket("advanced", "food") for _ in range(2)], ticket("advanced", "food")
    avoided = [each["userId"] for each in waiting]
    await find(rooms, waiting[0])
    await rooms.find_partner(waiting[1], "room", "session", avoided)
    assert isinstance(await rooms.find_partner(first, "room", "session", avoided, position="head"), Queued)
    outcome = await find(rooms, ticket("advanced", "food"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == first["userId"]


async def test_requeued_search_may_keep_its_start(rooms: Rooms, ticket: MakeTicket) -> None:
    first, second, third = [ticket("advanced", "food") for _ in range(3)]
    all_users = [each["userId"] for each in (first, second, third)]
    outcomes = await asyncio.gather(
        *(
            rooms.find_partner(each, "room", "session", all_users, position=place)
            for each, place in ((first, ""), (second, 2_000))
        )
    )
    assert [outcome.ahead for outcome in outcomes if isinstance(outcome, Queued)] == [1, 0]
    await rooms.find_partner(third, "room", "session", all_users, position=1_000)
    for expected in (third, second, first):
        outcome = await find(rooms, ticket("advanced", "food"))
        assert isinstance(outcome, Paired) and outcome.partner_entry["userId"] == expected["userId"]


async def test_search_of_a_busy_user_is_not_requeued(rooms: Rooms, ticket: MakeTicket) -> None:
    old = ticket("beginner")
    new = ticket("advanced", user=old["userId"])
    await find(rooms, new)
    await rooms.requeue(old)
    assert isinstance(await find(rooms, ticket("beginner")), Queued)
    outcome = await find(rooms, ticket("advanced"))
    assert isinstance(outcome, Paired) and outcome.partner_entry["socket"] == new["socket"]
    await rooms.requeue(old)  # in a room by now
    await rooms.requeue(new)
    assert not await rooms.leave_queue(old["userId"])


# --- Rooms --------------------------------------------------------------------------------------


async def test_first_to_join_stays_the_caller(rooms: Rooms, ticket: MakeTicket) -> None:
    for first_is_waiting in (True, False):
        one, other = ticket(), ticket()
        room_id = await matched(rooms, one, other)
        first, second = (one, other) if first_is_waiting else (other, one)
        alone = await rooms.join(room_id, first["userId"], "w.first")
        assert (alone.role, alone.peer_id, alone.peer_socket_id) == ("caller", second["userId"], "")
        both = await rooms.join(room_id, second["userId"], "w.second")
        assert (both.role, both.peer_id, both.peer_socket_id) == ("receiver", first["userId"], "w.first")
        again = await rooms.join(room_id, first["userId"], "w.again")
        assert (again.role, again.peer_socket_id) == ("caller", "w.second")
        assert (await rooms.join(room_id, second["userId"], "w.second")).peer_socket_id == "w.again"


async def test_concurrent_joins_make_one_caller(rooms: Rooms, ticket: MakeTicket) -> None:
    for _ in range(50):
        one, other = ticket(), ticket()
        room_id = await matched(rooms, one, other)
        seats = await asyncio.gather(
            rooms.join(room_id, one["userId"], "w.one"), rooms.join(room_id, other["userId"], "w.other")
        )
        assert {(joined.role, bool(joined.peer_socket_id)) for joined in seats} == {
            ("caller", False),
            ("receiver", True),
        }


async def test_room_is_closed_once(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    for _ in range(20):
        one, other = ticket(), ticket()
        room_id = await matched(rooms, one, other)
        for each in (one, other):
            await rooms.join(room_id, each["userId"], each["socket"])
        ends = [rooms.close(room_id, each["userId"]) for each in (one, other) for _ in range(5)]
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        closed = [outcome for outcome in outcomes if outcome is not None]
        assert len(closed) == 1
        assert await rooms.get_room_id(one["userId"]) is await rooms.get_room_id(other["userId"]) is None
    assert await keys(container, "match:room:*") == set()


async def test_room_refuses_other_users(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    one, other, stranger = ticket(), ticket(), ticket()
    room_id = await matched(rooms, one, other)
    before = await container.redis.hgetall(f"match:room:{room_id}:meta")
    for room in (room_id, str(uuid.uuid4())):
        with pytest.raises(errors.NotInRoom):
            await rooms.join(room, stranger["userId"], stranger["socket"])
        assert await rooms.close(room, stranger["userId"]) is None
    assert await container.redis.hgetall(f"match:room:{room_id}:meta") == before


async def test_room_closes_only_for_its_own_socket(rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await matched(rooms, one, other)
    assert await rooms.close(room_id, one["userId"], condition="socket:w.tablet") is None
    await rooms.join(room_id, one["userId"], "w.phone")
    # The socket that searched has handed over to the one that joined.
    assert await rooms.close(room_id, one["userId"], condition=f"socket:{one['socket']}") is None
    closed = await rooms.close(room_id, one["userId"], condition="socket:w.phone")
    assert closed is not None and not closed.was_call
    peer = closed.get_peer(one["userId"])
    assert (peer.user_id, peer.socket_id) == (other["userId"], "") and peer.queue_entry is not None
    assert peer.queue_entry["socket"] == other["socket"]


async def test_match_can_be_refused_until_both_joined(rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await matched(rooms, one, other)
    for each in (one, other):
        await rooms.join(room_id, each["userId"], each["socket"])
    assert await rooms.close(room_id, one["userId"], condition="unjoined") is None
    closed = await rooms.close(room_id, one["userId"])
    assert closed is not None and closed.was_call


async def test_match_is_announced_once(rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await matched(rooms, one, other)
    assert await rooms.announce(room_id)
    assert await rooms.close(room_id, one["userId"])
    assert not await rooms.announce(room_id)
    assert await rooms.get_room_id(one["userId"]) is None


# --- Dropping and coming back ---------------------------------------------------------------------


@pytest.fixture
async def brief(settings: Settings, own_valkey: dict[str, str]) -> AsyncIterator[Rooms]:
    """Rooms with deadlines of milliseconds, on a Redis where no server takes them."""
    own = RedisPipeline(settings.model_copy(update={"redis_port": int(own_valkey["REDIS_PORT"])}), LUA_DIRECTORY)
    await own.execute("FLUSHALL")
    await own.execute("SET", "worker:here", "1")
    soon = timedelta(milliseconds=50)
    yield Rooms(own, search=soon, join=soon, grace=soon)
    await own.close()


async def in_call(rooms: Rooms, one: QueueEntry, other: QueueEntry) -> str:
    room_id = await matched(rooms, one, other)
    for each in (one, other):
        place = await rooms.join(room_id, each["userId"], each["socket"])
    await rooms.remove_deadline("begin", room_id, place.connected_ms)
    return room_id


async def test_call_waits_for_a_dropped_participant(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await in_call(rooms, one, other)
    assert await rooms.drop(room_id, one["userId"], "w.another") is None
    assert await rooms.drop(room_id, one["userId"], one["socket"], b"what it sent") == ParticipantAway(
        other["socket"], joins=1
    )
    assert await rooms.drop(room_id, one["userId"], one["socket"]) is None, "dropped twice"
    assert await rooms.close(room_id, one["userId"], condition="away") is None, "before its time is over"
    place = await rooms.join(room_id, one["userId"], "w.new")
    assert (place.role, place.was_call, place.connected_ms, place.joins) == ("caller", True, "", 2)
    assert (place.saved_state, place.replaced_socket_id, place.peer_socket_id) == ("what it sent", "", other["socket"])
    assert (await rooms.join(room_id, one["userId"], "w.tablet")).replaced_socket_id == "w.new"
    assert await container.redis.zrange("match:due", 0, -1) == [f"room:{room_id}"]


async def test_both_away_each_learns_the_others_deadline(rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await in_call(rooms, one, other)
    await rooms.drop(room_id, one["userId"], one["socket"])
    assert await rooms.drop(room_id, other["userId"], other["socket"]) == ParticipantAway(peer_socket_id="", joins=1)
    place = await rooms.join(room_id, one["userId"], "w.new")
    assert place.peer_socket_id == "" and timedelta(seconds=8) < place.peer_grace <= timedelta(seconds=10)


async def test_deadline_is_taken_once_and_repeats_until_done(brief: Rooms, ticket: MakeTicket) -> None:
    alone, one, other = (ticket(level, worker="here") for level in ("beginner", "advanced", "advanced"))
    await find(brief, alone)
    room_id = await in_call(brief, one, other)
    await brief.drop(room_id, one["userId"], one["socket"])
    unjoined = await matched(brief, *(ticket("intermediate", worker="here") for _ in range(2)))
    await asyncio.sleep(0.1)  # until all three, of milliseconds, are due
    taken = await asyncio.gather(*(brief.take_deadlines() for _ in range(5)))
    due = sorted(":".join(entry) for entries in taken for entry in entries)
    assert due == sorted([f"search:{alone['userId']}", f"grace:{room_id}:{one['userId']}", f"join:{unjoined}"])
    assert await brief.leave_queue(alone["userId"])
    closed = await brief.close(room_id, one["userId"], condition="away")
    assert closed is not None and closed.get_peer(one["userId"]).socket_id == other["socket"]
    closed = await brief.close(unjoined, None, condition="unjoined", by="timeout")
    assert closed is not None and not closed.was_call


async def test_dead_process_ends_matches_and_suspends_calls(rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(worker="11111111"), ticket()
    room_id = await in_call(rooms, other, one)
    assert await rooms.drop(room_id, other["userId"], "11111111.") is None, "lives elsewhere"
    assert await rooms.drop(room_id, one["userId"], "11111111.") == ParticipantAway(other["socket"], joins=1)
    one, other = ticket(worker="11111111"), ticket()
    room_id = await matched(rooms, other, one)
    closed = await rooms.drop(room_id, one["userId"], "11111111.")
    assert isinstance(closed, ClosedRoom) and closed.participants[0].user_id == other["userId"]


async def test_lost_room_is_restored_once(container: Container, rooms: Rooms, ticket: MakeTicket) -> None:
    one, other = ticket(), ticket()
    room_id = await in_call(rooms, one, other)
    await empty_queue(container)
    both = one["userId"], other["userId"]
    hour = timedelta(hours=1)
    present = PresentParticipant(one["userId"], "w.one", joins=1)
    await rooms.restore_room(room_id, "session", both, is_call=True, remaining=hour, participant=present)
    assert await rooms.restore_room(room_id, "session", both, is_call=True, remaining=hour)
    place = await rooms.join(room_id, other["userId"], "w.other")
    assert place.was_call and place.peer_socket_id == "w.one"
    assert await container.redis.zrange("match:due", 0, -1) == [f"room:{room_id}"]
    # One that was closed a moment ago stays so.
    await rooms.close(room_id, one["userId"])
    present = PresentParticipant(other["userId"], "w.other")
    await rooms.restore_room(room_id, "session", both, is_call=True, remaining=hour, participant=present)
    assert await rooms.get_room_id(one["userId"]) is None and await rooms.get_room_id(other["userId"]) is None
    # A user who is in another room by now is not put back into this one.
    await find(rooms, third := ticket("advanced"))
    elsewhere = (third["userId"], str(uuid.uuid4()))
    assert not await rooms.restore_room("another", "session", elsewhere, is_call=True, remaining=hour)
    assert await rooms.get_room_id(third["userId"]) is None
