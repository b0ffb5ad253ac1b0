"""Matchmaking: who is matched with whom, who may not search, and matches that one side gives up."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy.exc

import errors
from adapters.redis_pipeline import RedisPipeline
from container import Container
from contract import problems
from models import EndedBy, Level
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Match, Searching
from services.calls.rooms import LUA_DIRECTORY, Rooms
from services.calls.wait_estimates import UNKNOWN_WAIT_SECONDS
from testing.calls import LocalBus, MakePhone, Room, ban, call, call_row, ended_call_row, match
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Learner

MakeLearner = Callable[..., Awaitable[Learner]]


@dataclass
class Device:
    """A learner's device as the services see it: a user and a socket."""

    services: Container
    user_id: str
    socket: str

    async def finds(self, level: Level = "all", topic: str | None = None) -> Searching | Match:
        """Search, at a later millisecond than the searches before."""
        begun = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == begun:
            await asyncio.sleep(0)
        matchmaking = self.services.matchmaking
        outcome = await matchmaking.find_partner(self.user_id, self.socket, level=level, topic=topic)
        assert isinstance(outcome, Searching | Match)
        return outcome

    async def waits(self, level: Level = "all", topic: str | None = None) -> Searching:
        outcome = await self.finds(level, topic)
        assert isinstance(outcome, Searching), f"matched with {outcome.waiting.user_id}"
        return outcome

    async def meets(self, other: Device, level: Level = "all", topic: str | None = None) -> Match:
        outcome = await self.finds(level, topic)
        assert isinstance(outcome, Match), "waits"
        assert (outcome.waiting.user_id, outcome.seeker.user_id) == (other.user_id, self.user_id)
        assert (outcome.waiting.socket_id, outcome.seeker.socket_id) == (other.socket, self.socket)
        return outcome


MakeDevice = Callable[..., Awaitable[Device]]


@pytest.fixture
def make_device(container: Container, make_learner: MakeLearner) -> MakeDevice:
    numbers = itertools.count()

    async def make(*, of: Device | None = None, ready: bool = True) -> Device:
        user_id = of.user_id if of else (await make_learner(ready=ready)).id
        socket = f"{container.bus.process_id}.{next(numbers)}"
        container.matchmaking.connect(socket)
        return Device(container, user_id, socket)

    return make


# --- Who may look ------------------------------------------------------------------------------------


async def test_search_needs_a_username_and_a_level(make_phone: MakePhone) -> None:
    phone = await make_phone(ready=False)
    for profile in ({}, {"username": f"x{uuid.uuid4().hex[:18]}"}):
        assert (await phone.learner.http.patch("/users/me", json={**profile, "bio": "hello"})).status_code == 200
        ack = await phone.send("find_partner", {})
        assert ack["error"]["code"] == "profile_incomplete"
        assert await phone.wait_for("error") == ack["error"]
    assert (await phone.learner.http.patch("/users/me", json={"englishLevel": "beginner"})).status_code == 200
    assert await phone.send("find_partner", {}) == {"ok": True}
    await phone.wait_for("searching")


async def test_search_of_a_user_banned_while_connected(make_phone: MakePhone, container: Container) -> None:
    phone = await make_phone()
    await ban(container, phone.learner.id)
    assert (await phone.send("find_partner", {}))["error"]["code"] == "banned"


async def test_user_searches_once_over_all_devices(make_phone: MakePhone) -> None:
    phone = await make_phone()
    tablet = await make_phone(learner=phone.learner, apart_from=phone)
    assert await phone.send("find_partner", {"level": "beginner"}) == {"ok": True}
    for device in (phone, tablet):
        for search in ({"level": "beginner"}, {"level": "advanced"}, {}):
            assert (await device.send("find_partner", search))["error"]["code"] == "already_searching"
    assert [name for name, _ in phone.received].count("match_found") == 0
    assert await tablet.send("cancel_search") == {"ok": True}
    assert await tablet.send("find_partner", {}) == {"ok": True}


async def test_user_in_a_room_cannot_search_on_any_device(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    tablet = await make_phone(learner=ada.learner)
    room: Room = {"roomId": (await match(ada, bob))["roomId"]}
    for join in (ada, bob, None):
        for device in (ada, bob, tablet):
            assert (await device.send("find_partner", {}))["error"]["code"] == "already_in_room"
        if join:
            await join.send("join_room", room)
    assert await bob.send("end_call", room) == {"ok": True}
    # Not with each other: two who have just met wait for another one first.
    await match(tablet, await make_phone())
    assert await bob.send("find_partner", {}) == {"ok": True}
    assert await bob.send("cancel_search") == {"ok": True}


async def test_cancel_without_a_search(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    assert (await ada.send("cancel_search"))["error"]["code"] == "not_searching"
    await call(ada, bob)
    for phone in (ada, bob):
        assert (await phone.send("cancel_search"))["error"]["code"] == "not_searching"
    assert "peer_left" not in [name for name, _ in (*ada.received, *bob.received)]


# --- Who finds whom ----------------------------------------------------------------------------------

LEVELS = ["all", "beginner", "intermediate", "advanced"]


@pytest.mark.parametrize(("waiting", "seeking"), [*itertools.product(LEVELS, LEVELS)])
async def test_equal_levels_match_and_all_matches_any(make_device: MakeDevice, waiting: Level, seeking: Level) -> None:
    ada, bob = await make_device(), await make_device()
    await ada.waits(waiting)
    if waiting == seeking or "all" in (waiting, seeking):
        found = await bob.meets(ada, seeking)
        assert found.level == (seeking if waiting == "all" else waiting)
        assert found.topic is None
    else:
        await bob.waits(seeking)


async def test_level_of_the_search_overrides_the_profile(make_phone: MakePhone) -> None:
    ada, bob, eve = await make_phone(level="beginner"), await make_phone(level="advanced"), await make_phone()
    await eve.send("find_partner", {"level": "intermediate"})
    found = await match(ada, bob, level="advanced")
    assert found["partner"]["level"] == "advanced" and found["topic"] is None
    assert await bob.wait_for("match_found") and "match_found" not in [name for name, _ in eve.received]


async def test_same_topic_precedes_longer_waits(make_device: MakeDevice) -> None:
    oldest, old, cook, seeker = [await make_device() for _ in range(4)]
    await oldest.waits("beginner")
    await old.waits("intermediate", "sports")
    await cook.waits("advanced", "cooking")
    found = await seeker.meets(cook, "all", "Cooking")
    assert found.topic == "cooking" and found.level == "advanced"


async def test_same_topic_at_another_level_does_not_match(make_device: MakeDevice) -> None:
    cook, other, seeker = [await make_device() for _ in range(3)]
    await cook.waits("advanced", "cooking")
    await other.waits("beginner", "sports")
    await seeker.meets(other, "beginner", "cooking")


async def test_longest_waiting_first_without_a_common_topic(make_device: MakeDevice) -> None:
    first, second, third = [await make_device() for _ in range(3)]
    await first.waits("intermediate", "a")
    await second.waits("beginner")
    await third.waits("advanced", "b")
    for expected, topic in ((first, "z"), (second, None), (third, "y")):
        await (await make_device()).meets(expected, "all", topic)


async def test_longest_waiting_first_within_a_topic(make_device: MakeDevice) -> None:
    first, second, seeker = [await make_device() for _ in range(3)]
    await first.waits("advanced", "cooking")
    await second.waits("beginner", "cooking")
    await seeker.meets(first, "all", "cooking")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Street Food", "  street   food "),
        ("ÜBER UNS", "über uns"),
        ("STRASSE", "straße"),
        ("旅行", "旅行"),
        ("a:b", "A:B"),
        ("*", "*"),
    ],
)
async def test_topics_ignore_case_and_spaces(make_device: MakeDevice, one: str, other: str) -> None:
    ada, bob, eve = [await make_device() for _ in range(3)]
    await eve.waits("beginner", "something else")
    await ada.waits("intermediate", one)
    await bob.meets(ada, "all", other)


@pytest.mark.parametrize("topic", ["ß" * 60, "ΐ" * 60, "ﬃ" * 60, "𝒜" * 60, "x" * 60])
async def test_longest_topic_matches_in_every_script(make_device: MakeDevice, container: Container, topic: str) -> None:
    ada, bob = await make_device(), await make_device()
    await ada.waits("all", topic)
    found = await bob.meets(ada, "all", topic)
    made = await call_row(container, found.room_id)
    assert made is not None and made.topic == found.topic


async def test_blank_topic_is_none(make_device: MakeDevice) -> None:
    ada, bob = await make_device(), await make_device()
    await ada.waits("all", "   ")
    assert (await bob.meets(ada, "all", " ")).topic is None


async def test_user_is_never_matched_with_themselves(make_device: MakeDevice, container: Container) -> None:
    phone = await make_device()
    tablet = await make_device(of=phone)
    await phone.waits("all", "cooking")
    outcomes = await asyncio.gather(*(tablet.finds("all", "cooking") for _ in range(10)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.AlreadySearching] * 10
    # Neither does a search that ran out and is still in the queue.
    await container.redis.delete(f"{{match}}:searching:{phone.user_id}")
    await tablet.waits("all", "cooking")
    await (await make_device()).meets(tablet, "all", "cooking")


async def test_match_is_emitted_to_the_searching_sockets(make_phone: MakePhone) -> None:
    phone = await make_phone()
    tablet = await make_phone(learner=phone.learner, apart_from=phone)
    other = await make_phone(apart_from=phone)
    found = await match(tablet, other)
    assert found["partner"]["userId"] == other.learner.id
    servers = found["iceServers"]
    assert servers[0]["urls"] and all(":" in url for server in servers for url in server["urls"])
    assert servers[1]["username"].endswith(f":{phone.learner.id}")
    assert "match_found" not in [name for name, _ in phone.received]


async def test_match_creates_the_call_row(make_device: MakeDevice, container: Container) -> None:
    ada, bob = await make_device(), await make_device()
    await ada.waits("beginner", "Cooking")
    found = await bob.meets(ada, "all")
    made = await call_row(container, found.room_id)
    assert made is not None
    assert (str(made.id), made.level, made.topic) == (found.session_id, "beginner", "cooking")
    assert (str(made.user_a_id), str(made.user_b_id)) == (ada.user_id, bob.user_id)
    assert (made.connected_at, made.ended_at, made.ended_by, made.duration_seconds) == (None, None, None, None)


async def test_estimated_wait_follows_recent_matches(make_device: MakeDevice, container: Container) -> None:
    """What Redis has of a level counts; where it has nothing, as after a loss, the calls of the last days do."""
    seeker = await make_device()
    waits = container.matchmaking._estimates

    async def estimate(level: Level) -> tuple[int, int]:
        found = await seeker.waits(level)
        await container.matchmaking.cancel_search(seeker.user_id, seeker.socket)
        return found.median_seconds, found.p90_seconds

    await container.redis.delete(*(f"{{match}}:waits:18_plus:{level}" for level in ("beginner", "advanced")))
    waits._read.clear()
    past = await waits.read_past("beginner")
    expected = (UNKNOWN_WAIT_SECONDS, 300) if past is None else tuple(max(1, math.ceil(each)) for each in past)
    assert await estimate("beginner") == expected
    await container.redis.set("{match}:waits:18_plus:beginner", f"{math.log(20)} {math.log(90)} 100")
    assert await estimate("beginner") == (20, 90)
    await container.redis.set("{match}:waits:18_plus:beginner", f"{math.log(0.1)} {math.log(5000)} 100")
    assert await estimate("beginner") == (1, 300)
    for _ in range(3):
        ada, bob = await make_device(), await make_device()
        await ada.waits("beginner")
        await bob.meets(ada, "all")
    shorter = await container.redis.get("{match}:waits:18_plus:beginner")
    assert float(str(shorter).split()[1]) < math.log(5000), "three waits of no time shorten it"


async def test_strict_search_accepts_its_level(make_device: MakeDevice, container: Container) -> None:
    device = await make_device()
    accepted: dict[Level, tuple[str, ...]] = {
        "beginner": ("beginner",),
        "all": ("beginner", "intermediate", "advanced"),
    }
    for level, levels in accepted.items():
        found = await container.matchmaking.find_partner(
            device.user_id,
            device.socket,
            level=level,
            topic=None,
            is_strict=True,
        )
        assert isinstance(found, Searching) and found.levels == levels
        (entry,) = (each for each in container.matchmaking.list_queue_entries() if each["socket"] == device.socket)
        assert entry["isStrict"] and entry["fit"].split()[3] == "1"
        await container.matchmaking.cancel_search(device.user_id, device.socket)


async def test_search_is_described(make_phone: MakePhone) -> None:
    phone = await make_phone()
    assert (await phone.send("find_partner", {"among": "others"}))["error"]["code"] == "bad_payload"
    assert await phone.send("find_partner", {"among": "anyone"}) == {"ok": True}
    searching = await phone.wait_for("searching")
    assert searching["learnersOnline"] >= 1 and searching["levels"] == ["beginner", "intermediate", "advanced"]


# --- Giving up ------------------------------------------------------------------------------------------


async def test_cancelled_search_is_not_matched(make_device: MakeDevice, container: Container) -> None:
    ada, bob = await make_device(), await make_device()
    await ada.waits("beginner", "cooking")
    assert await container.matchmaking.cancel_search(ada.user_id, ada.socket) is None
    with pytest.raises(errors.NotSearching):
        await container.matchmaking.cancel_search(ada.user_id, ada.socket)
    await bob.waits("beginner", "cooking")


@pytest.mark.parametrize("joins", ["nobody", "the refuser", "the other"])
@pytest.mark.parametrize("ended_by", [EndedBy.USER_A, EndedBy.USER_B])
async def test_refused_match_is_cancelled_and_its_row_ends(
    make_phone: MakePhone, container: Container, ended_by: EndedBy, joins: str
) -> None:
    ada, bob = await make_phone(), await make_phone()
    if ada.worker == bob.worker:
        bob = await make_phone(learner=bob.learner, apart_from=ada)
    refuser, other = (ada, bob) if ended_by == EndedBy.USER_A else (bob, ada)
    room: Room = {"roomId": (await match(ada, bob))["roomId"]}
    if joins != "nobody":
        await (refuser if joins == "the refuser" else other).send("join_room", room)
    assert await refuser.send("cancel_search") == {"ok": True}
    assert await other.wait_for("partner_cancelled") == {}
    ended = await ended_call_row(container, room["roomId"])
    assert (ended.ended_by, ended.connected_at, ended.duration_seconds) == (ended_by, None, 0)
    # The one who is left searches on, with what they had asked for.
    await other.wait_for("searching", count=2 if other is ada else 1)
    assert await other.send("cancel_search") == {"ok": True}
    for phone in (refuser, other):
        assert (await phone.send("cancel_search"))["error"]["code"] == "not_searching"
        assert (await phone.send("join_room", room))["error"]["code"] == "not_in_room"
    assert "partner_cancelled" not in [name for name, _ in refuser.received]


async def test_simultaneous_refusals_end_the_match_once(make_phone: MakePhone, container: Container) -> None:
    for _ in range(5):
        ada, bob = await make_phone(), await make_phone()
        room_id = (await match(ada, bob))["roomId"]
        acks = await asyncio.gather(ada.send("cancel_search"), bob.send("cancel_search"))
        # The slower one has nothing to cancel, or cancels the search into which they were requeued.
        assert {ack["ok"] or ack["error"]["code"] for ack in acks} <= {True, "not_searching"}
        ended = await ended_call_row(container, room_id)
        assert ended.connected_at is None and ended.ended_by in (EndedBy.USER_A, EndedBy.USER_B)
        for phone in (ada, bob):
            if any(name == "partner_cancelled" for name, _ in phone.received):
                await phone.send("cancel_search")


async def test_disconnect_removes_the_search(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    await ada.send("find_partner", {"level": "beginner"})
    await ada.client.disconnect()

    async def has_left() -> bool:
        return not await container.redis.exists(f"{{match}}:searching:{ada.learner.id}")

    await eventually(has_left)
    assert await bob.send("find_partner", {}) == {"ok": True}
    await bob.wait_for("searching")


async def test_disconnect_of_another_device_keeps_the_search(make_device: MakeDevice) -> None:
    phone = await make_device()
    tablet = await make_device(of=phone)
    other = await make_device()
    await phone.waits("beginner")
    assert await phone.services.signaling.disconnect(tablet.user_id, tablet.socket) is None
    await other.meets(phone, "beginner")
    assert await phone.services.signaling.disconnect(tablet.user_id, tablet.socket) is None
    with pytest.raises(errors.AlreadyInRoom):
        await phone.finds()


def matchmaking_with(
    container: Container, sessions: CallHistoryService, scripts: RedisPipeline | None = None
) -> MatchmakingService:
    """A service like the container's, but for its sessions or its Redis."""
    rooms = Rooms(scripts or container.scripts)
    rows = CallRecords(rooms, sessions)
    return MatchmakingService(
        LocalBus(container.bus.process_id),
        container.database,
        rooms,
        sessions,
        rows,
        container.gates,
        container.text_filter,
    )


# --- Where PostgreSQL fails -----------------------------------------------------------------------------


class NoDatabase(CallHistoryService):
    """Sessions whose PostgreSQL is unavailable when a match should be written."""

    async def start(self, *arguments: object) -> bool:
        raise sqlalchemy.exc.OperationalError("INSERT", {}, ConnectionError("away"))


async def test_failed_match_write_requeues_the_waiting_user(make_device: MakeDevice, container: Container) -> None:
    first, second, seeker, later = [await make_device() for _ in range(4)]
    await first.waits("beginner", "cooking")
    await second.waits("advanced", "cooking")
    broken = matchmaking_with(container, NoDatabase(container.database, container.gates))
    with pytest.raises(sqlalchemy.exc.OperationalError) as failure:
        await broken.find_partner(seeker.user_id, seeker.socket, level="all", topic="cooking")
    assert problems.socket_problem(failure.value)["code"] == "unavailable"
    assert [key async for key in container.redis.scan_iter("{match}:room:*")] == []
    # The seeker is free, and the first still stands before the second.
    with pytest.raises(errors.NotSearching):
        await container.matchmaking.cancel_search(seeker.user_id, seeker.socket)
    await later.meets(first, "all", "cooking")
    await seeker.meets(second, "all", "cooking")


class GoneMeanwhile(CallHistoryService):
    """Sessions that are slow to write the row of the first match: its waiting one has gone away by then."""

    def __init__(self, container: Container, waiting: Device, *, fails: bool) -> None:
        super().__init__(container.database, container.gates)
        self._goes = [waiting]
        self._services = container
        self._fails = fails

    async def start(self, session_id: str, room_id: str, *facts: Any) -> bool:
        goes = self._goes.pop() if self._goes else None
        if goes:
            assert await self._services.signaling.disconnect(goes.user_id, goes.socket) is None
        if goes and self._fails:
            raise sqlalchemy.exc.OperationalError("INSERT", {}, ConnectionError("away"))
        return await super().start(session_id, room_id, *facts)


async def test_disconnect_during_match_write_cancels_the_match(make_device: MakeDevice, container: Container) -> None:
    gone, seeker, second = [await make_device() for _ in range(3)]
    await gone.waits()
    sessions = GoneMeanwhile(container, gone, fails=False)
    matchmaking = matchmaking_with(container, sessions)
    matchmaking.connect(seeker.socket)
    outcome = await matchmaking.find_partner(seeker.user_id, seeker.socket, level="all", topic=None)
    assert isinstance(outcome, Searching)
    page = await container.call_history.list_calls(seeker.user_id, limit=10, cursor=None)
    assert [call.session.ended_at is not None for call in page.items] == [True]
    await second.meets(seeker)


async def test_disconnect_during_failed_match_is_not_requeued(make_device: MakeDevice, container: Container) -> None:
    gone, seeker, second = [await make_device() for _ in range(3)]
    await gone.waits()
    sessions = GoneMeanwhile(container, gone, fails=True)
    matchmaking = matchmaking_with(container, sessions)
    matchmaking.connect(seeker.socket)
    with pytest.raises(sqlalchemy.exc.OperationalError):
        await matchmaking.find_partner(seeker.user_id, seeker.socket, level="all", topic=None)
    await second.waits()
    await seeker.meets(second)


async def test_search_without_redis_is_unavailable(make_device: MakeDevice, container: Container) -> None:
    device = await make_device()
    nowhere = RedisPipeline(container.settings.model_copy(update={"redis_port": free_port()}), LUA_DIRECTORY)
    matchmaking = matchmaking_with(container, container.call_history, nowhere)
    with pytest.raises(Exception) as failure:
        await matchmaking.find_partner(device.user_id, device.socket, level="all", topic=None)
    assert problems.socket_problem(failure.value)["code"] == "unavailable"
    await nowhere.close()
