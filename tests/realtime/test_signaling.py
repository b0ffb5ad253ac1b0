"""Owns rooms as their members live them: roles, the relay and its order, and the ways a call ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy.exc

import errors
from container import Container
from models import CallSession, EndedBy
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import Match, MatchmakingService
from services.calls.recovery import RecoveryService
from services.calls.rooms import Rooms
from services.calls.signaling import PeerAway, PeerBack, PeerLeft, Seat, SignalingService
from testing.calls import HeldBus, LocalBus, MakePhone, Room, becomes, call, empty_queue, ended_row, match, row
from testing.servers import Phone, Server, start_server, stop_server
from testing.time_limits import GRACE
from wire import events

Pair = tuple[Phone, Phone]
#: Seconds that a dropped member of a call has on the tests' server.


@pytest.fixture(scope="module", params=["fast lane", "no fast lane"])
def server(
    request: pytest.FixtureRequest,
    server: Server,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The running server, and one that sends signaling the way of all events: nobody may notice."""
    if request.param == "fast lane":
        yield server
        return
    log = tmp_path_factory.mktemp("ordinary") / "server.log"
    running = start_server({**environment, "EVENTS_FAST_LANE": "false"}, log, workers=2)
    yield running
    stop_server(running)


@pytest.fixture(params=["on one worker", "across workers"])
async def pair(request: pytest.FixtureRequest, make_phone: MakePhone) -> Pair:
    one = await make_phone()
    where = {"together_with": one} if request.param == "on one worker" else {"apart_from": one}
    return one, await make_phone(**where)


def names(phone: Phone) -> list[str]:
    return [name for name, _ in phone.heard]


def code(ack: dict[str, Any]) -> str:
    return "ok" if ack["ok"] else str(ack["error"]["code"])


def candidates(phone: Phone) -> list[Any]:
    return [payload["candidate"] for name, payload in phone.heard if name == "webrtc_ice"]


async def is_searching(container: Container, phone: Phone) -> bool:
    return bool(await container.redis.exists(f"match:searching:{phone.learner.id}"))


async def negotiation(phone: Phone, room: Room) -> dict[str, str]:
    """Send each event of a room; answer what each was told."""
    payloads = {
        "webrtc_offer": {**room, "sdp": "v=0"},
        "webrtc_answer": {**room, "sdp": "v=0"},
        "webrtc_ice": {**room, "candidate": None},
    }
    return {event: code(await phone.send(event, payload)) for event, payload in payloads.items()}


# --- Entering ----------------------------------------------------------------------------------------


async def test_whoever_joins_first_is_the_caller_and_each_hears_who_joined(pair: Pair) -> None:
    one, other = pair
    for caller, receiver in ((one, other), (other, one)):
        room = {"roomId": (await match(one, other))["roomId"]}
        await caller.send("join_room", room)
        as_caller = {"role": "caller", "userId": caller.learner.id}
        as_receiver = {"role": "receiver", "userId": receiver.learner.id}
        assert await caller.hears("peer_joined") == as_caller
        assert "peer_joined" not in names(receiver)
        await receiver.send("join_room", room)
        await caller.hears("peer_joined", count=2)
        assert [payload for name, payload in caller.heard if name == "peer_joined"] == [as_caller, as_receiver]
        assert [payload for name, payload in receiver.heard if name == "peer_joined"] == [as_receiver]
        await caller.send("end_call", room)


async def test_both_who_join_at_once_get_one_role_each_and_can_talk_at_once(make_phone: MakePhone) -> None:
    one = await make_phone()
    near, far = await make_phone(together_with=one), await make_phone(apart_from=one)
    callers = []
    for other in [near, far] * 50:
        room = {"roomId": (await match(one, other))["roomId"]}
        for phone in (one, other):
            phone.heard.clear()
        acks = await asyncio.gather(one.send("join_room", room), other.send("join_room", room))
        assert [code(ack) for ack in acks] == ["ok", "ok"]
        joins: list[dict[str, str]] = []
        for phone in (one, other):
            joins = [await phone.hears("peer_joined")]
            if joins[0]["role"] == "caller":
                callers.append(phone)
                assert joins[0]["userId"] == phone.learner.id
                joins.append(await phone.hears("peer_joined", count=2))
            assert joins[-1]["role"] == "receiver"
        caller, receiver = (one, other) if joins[-1]["userId"] == other.learner.id else (other, one)
        assert callers[-1] is caller
        for event, sender, listener in (("webrtc_offer", caller, receiver), ("webrtc_answer", receiver, caller)):
            await sender.client.emit(event, {**room, "sdp": event})
            assert (await listener.hears(event))["sdp"] == event
        await other.send("end_call", room)
        await one.hears("peer_left")
    assert len(callers) == 100, "a round with two callers, or none"


async def test_joining_again_keeps_the_role_and_the_call(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    made = await row(container, room["roomId"])
    heard = [len(phone.heard) for phone in pair]
    for phone in pair:
        assert await phone.send("join_room", room) == {"ok": True}
    assert [len(phone.heard) for phone in pair] == heard, "nothing has changed for anybody"
    assert await caller.send("webrtc_offer", {**room, "sdp": "again"}) == {"ok": True}
    await receiver.hears("webrtc_offer")
    again = await row(container, room["roomId"])
    assert made is not None and again is not None and again.connected_at == made.connected_at is not None


# --- Who may send what ---------------------------------------------------------------------------------


async def test_the_caller_offers_the_receiver_answers_and_both_send_candidates(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    assert await negotiation(caller, room) == {"webrtc_offer": "ok", "webrtc_answer": "bad_role", "webrtc_ice": "ok"}
    assert await negotiation(receiver, room) == {"webrtc_offer": "bad_role", "webrtc_answer": "ok", "webrtc_ice": "ok"}
    await receiver.hears("webrtc_ice")
    await caller.hears("webrtc_ice")
    assert [name for name in names(receiver) if name.startswith("webrtc")] == ["webrtc_offer", "webrtc_ice"]
    assert [name for name in names(caller) if name.startswith("webrtc")] == ["webrtc_answer", "webrtc_ice"]


async def test_nothing_is_relayed_before_the_partner_has_joined(pair: Pair) -> None:
    caller, receiver = pair
    room = {"roomId": (await match(caller, receiver))["roomId"]}
    assert set((await negotiation(caller, room)).values()) == {"not_in_room"}, "matched, but not joined"
    await caller.send("join_room", room)
    assert await negotiation(caller, room) == {
        "webrtc_offer": "peer_not_ready",
        "webrtc_answer": "bad_role",
        "webrtc_ice": "peer_not_ready",
    }
    assert set((await negotiation(receiver, room)).values()) == {"not_in_room"}
    await receiver.send("join_room", room)
    assert await receiver.send("webrtc_ice", {**room, "candidate": None}) == {"ok": True}
    await caller.hears("webrtc_ice")
    assert not [name for name in names(receiver) if name.startswith("webrtc")]


async def test_the_room_of_others_answers_like_one_that_is_not_there(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    eve = await make_phone()
    mallory = await make_phone(apart_from=eve)
    theirs = await call(ada, bob)
    missing = {"roomId": str(uuid.uuid4())}
    shouted = {"roomId": theirs["roomId"].upper()}
    heard = [len(ada.heard), len(bob.heard)]

    async def told(phone: Phone, room: Room) -> list[dict[str, Any]]:
        phone.heard.clear()
        acks = [
            await phone.send("join_room", room),
            await phone.send("webrtc_offer", {**room, "sdp": "v=0 intruder"}),
            await phone.send("webrtc_answer", {**room, "sdp": "v=0 intruder"}),
            await phone.send("webrtc_ice", {**room, "candidate": None}),
            await phone.send("end_call", room),
        ]
        assert [payload for name, payload in phone.heard if name == "error"] == [ack["error"] for ack in acks]
        return acks

    for stranger in (eve, mallory):
        foreign = await told(stranger, theirs)
        assert [code(ack) for ack in foreign] == ["not_in_room"] * 5
        assert foreign == await told(stranger, missing) == await told(stranger, shouted)
    # The same for strangers who are in a call of their own, which goes on.
    own = await call(eve, mallory)
    for stranger in (eve, mallory):
        assert await told(stranger, theirs) == await told(stranger, missing) == foreign
    assert await eve.send("webrtc_offer", {**own, "sdp": "v=0 own"}) == {"ok": True}
    assert (await mallory.hears("webrtc_offer"))["sdp"] == "v=0 own"
    assert await ada.send("webrtc_offer", {**theirs, "sdp": "v=0 theirs"}) == {"ok": True}
    assert (await bob.hears("webrtc_offer"))["sdp"] == "v=0 theirs"
    assert [len(ada.heard), len(bob.heard) - 1] == heard, "a stranger was heard"


async def test_a_call_of_the_past_is_closed_and_its_room_id_opens_nothing(pair: Pair) -> None:
    caller, receiver = pair
    past = await call(caller, receiver)
    await caller.send("end_call", past)
    await receiver.hears("peer_left")
    present = await call(caller, receiver)
    for phone in pair:
        assert set((await negotiation(phone, past)).values()) == {"not_in_room"}
        assert code(await phone.send("end_call", past)) == code(await phone.send("join_room", past)) == "not_in_room"
    assert await negotiation(caller, present) == {"webrtc_offer": "ok", "webrtc_answer": "bad_role", "webrtc_ice": "ok"}


async def test_another_device_of_a_member_relays_nothing_without_joining(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    tablet = await make_phone(learner=ada.learner)
    room = await call(ada, bob)
    assert set((await negotiation(tablet, room)).values()) == {"not_in_room"}


# --- The relay ------------------------------------------------------------------------------------------


async def test_a_thousand_candidates_each_way_arrive_once_and_in_order(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    sent = {
        phone.learner.id: [
            None if number == 999 else {"candidate": f"{phone.learner.id} {number}", "sdpMid": "0", "sdpMLineIndex": 0}
            for number in range(1000)
        ]
        for phone in pair
    }

    async def send(phone: Phone) -> None:
        for candidate in sent[phone.learner.id]:
            await phone.client.emit("webrtc_ice", {**room, "candidate": candidate})

    await asyncio.gather(send(caller), send(receiver))
    for phone, partner in ((caller, receiver), (receiver, caller)):
        await phone.hears("webrtc_ice", count=1000, within=20)
        assert candidates(phone) == sent[partner.learner.id]
        assert "error" not in names(phone)


async def test_what_a_partner_sends_comes_in_the_order_it_was_sent_whatever_it_is(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    caller.heard.clear()
    receiver.heard.clear()
    for number in range(50):
        await caller.client.emit("webrtc_ice", {**room, "candidate": {"candidate": str(number)}})
        await caller.client.emit("webrtc_offer", {**room, "sdp": str(number)})
    await caller.client.emit("end_call", room)
    await receiver.hears("peer_left")
    numbers = [payload.pop("seq") for name, payload in receiver.heard if name.startswith("webrtc")]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert receiver.heard == [
        *(
            event
            for number in map(str, range(50))
            for event in (("webrtc_ice", {"candidate": {"candidate": number}}), ("webrtc_offer", {"sdp": number}))
        ),
        ("peer_left", {"reason": "ended"}),
    ]
    assert caller.heard == []


async def test_a_call_as_long_as_a_call_may_be_is_ended(container: Container, pair: Pair) -> None:
    room = await call(*pair)
    due = f"room:{room['roomId']}"
    assert await container.redis.zadd("match:due", {due: 1}, xx=True, ch=True) == 1
    for phone in pair:
        assert await phone.hears("peer_left") == {"reason": "timeout"}
    assert (await ended_row(container, room["roomId"])).ended_by == EndedBy.TIMEOUT


async def test_whoever_does_not_wait_for_answers_is_served_in_order_too(pair: Pair) -> None:
    caller, receiver = pair
    room = {"roomId": (await match(caller, receiver))["roomId"]}
    await caller.send("join_room", room)
    caller.heard.clear()
    receiver.heard.clear()
    for event, payload in (
        ("join_room", room),
        ("webrtc_ice", {**room, "candidate": None}),
        ("webrtc_answer", {**room, "sdp": "v=0"}),
        ("end_call", room),
        ("find_partner", {"topic": f"next {receiver.learner.username}"}),
        ("cancel_search", {}),
    ):
        await receiver.client.emit(event, payload)
    await caller.hears("peer_left")
    assert names(caller) == ["peer_joined", "webrtc_ice", "webrtc_answer", "peer_left"]
    assert (await receiver.send("cancel_search"))["error"]["code"] == "not_searching"
    assert names(receiver) == ["peer_joined", "searching", "error"]


async def test_a_description_of_32768_characters_passes_and_one_more_does_not(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    line = "a=candidate:842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 0.0.0.0 rport 0\r\n"
    for sent, sdp in enumerate(("x" * 32768, ("v=0\r\ns=café\r\n" + line * 400)[:32768]), start=1):
        assert len(sdp) == 32768
        assert await caller.send("webrtc_offer", {**room, "sdp": sdp}) == {"ok": True}
        assert (await receiver.hears("webrtc_offer", count=sent))["sdp"] == sdp
        refused = await caller.send("webrtc_offer", {**room, "sdp": sdp + "x"})
        assert code(refused) == "bad_payload" and "sdp" in refused["error"]["message"]
    assert await receiver.send("webrtc_answer", {**room, "sdp": "v=0"}) == {"ok": True}
    assert names(receiver).count("webrtc_offer") == 2


async def test_a_candidate_of_4096_characters_passes_and_one_more_does_not(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    longest = {"candidate": "x" * 4096, "sdpMid": "y" * 256, "usernameFragment": "z" * 256, "sdpMLineIndex": 65535}
    assert await receiver.send("webrtc_ice", {**room, "candidate": longest}) == {"ok": True}
    assert (await caller.hears("webrtc_ice"))["candidate"] == longest
    for change in ({"candidate": "x" * 4097}, {"sdpMid": "y" * 257}, {"sdpMLineIndex": 65536}, {"sdpMLineIndex": -1}):
        ack = await receiver.send("webrtc_ice", {**room, "candidate": {**longest, **change}})
        assert code(ack) == "bad_payload"
    assert len(candidates(caller)) == 1


# --- Leaving --------------------------------------------------------------------------------------------


async def test_hanging_up_ends_the_call_for_both_and_in_the_record(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    for leaver, stayer, ended_by in ((receiver, caller, EndedBy.USER_B), (caller, receiver, EndedBy.USER_A)):
        room = await call(caller, receiver)
        assert await leaver.send("end_call", room) == {"ok": True}
        assert await stayer.hears("peer_left") == {"reason": "ended"}
        ended = await ended_row(container, room["roomId"])
        assert ended.ended_by is ended_by and ended.duration_seconds == 0
        assert ended.connected_at is not None and ended.ended_at is not None
        assert ended.started_at <= ended.connected_at <= ended.ended_at
        for phone in pair:
            assert set((await negotiation(phone, room)).values()) == {"room_closed"}
            assert code(await phone.send("end_call", room)) == "room_closed"
            assert code(await phone.send("join_room", room)) == "not_in_room"
            assert names(phone).count("peer_left") == (phone is stayer)
        assert (await row(container, room["roomId"])) == ended


async def test_both_who_hang_up_at_once_end_the_call_once(pair: Pair, container: Container) -> None:
    for _ in range(15):
        room = await call(*pair)
        acks = await asyncio.gather(*(phone.send("end_call", room) for phone in pair for _ in range(2)))
        told = [code(ack) for ack in acks]
        assert sorted(told) == ["ok", "room_closed", "room_closed", "room_closed"]
        ended = await ended_row(container, room["roomId"])
        first = told.index("ok") // 2
        assert ended.ended_by is (EndedBy.USER_A, EndedBy.USER_B)[first]
        await pair[1 - first].hears("peer_left")
        assert names(pair[first]).count("peer_left") == 0
        assert names(pair[1 - first]).count("peer_left") == 1


async def test_hanging_up_before_both_have_joined_cancels_the_match(pair: Pair, container: Container) -> None:
    one, other = pair
    for joins in ((), (one,), (other,)):
        room = {"roomId": (await match(one, other))["roomId"]}
        for phone in joins:
            await phone.send("join_room", room)
        assert await one.send("end_call", room) == {"ok": True}
        assert await other.hears("partner_cancelled") == {}
        await becomes(lambda: is_searching(container, other))
        assert await other.send("cancel_search") == {"ok": True}
        ended = await ended_row(container, room["roomId"])
        assert (ended.ended_by, ended.connected_at, ended.duration_seconds) == (EndedBy.USER_A, None, 0)
        assert "peer_left" not in names(other)


async def test_a_socket_that_goes_away_in_a_call_and_does_not_come_back_ends_it(
    pair: Pair, container: Container
) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    await caller.client.disconnect()
    assert await receiver.hears("peer_reconnecting") == {"graceSeconds": GRACE}
    assert await receiver.hears("peer_left", within=GRACE + 3) == {"reason": "disconnected"}
    ended = await ended_row(container, room["roomId"])
    assert ended.ended_by is EndedBy.USER_A and ended.connected_at is not None
    assert set((await negotiation(receiver, room)).values()) == {"room_closed"}
    assert code(await receiver.send("end_call", room)) == "room_closed"
    assert await receiver.send("find_partner", {"topic": "on we go"}) == {"ok": True}


@pytest.mark.parametrize("joined", ["nobody", "leaver", "stayer"])
async def test_a_socket_that_goes_away_before_both_have_joined_cancels_the_match(
    pair: Pair, container: Container, joined: str
) -> None:
    leaver, stayer = pair
    room = {"roomId": (await match(leaver, stayer))["roomId"]}
    if joined != "nobody":
        await (leaver if joined == "leaver" else stayer).send("join_room", room)
    await leaver.client.disconnect()
    assert await stayer.hears("partner_cancelled") == {}
    ended = await ended_row(container, room["roomId"])
    assert (ended.ended_by, ended.connected_at) == (EndedBy.USER_A, None)
    await becomes(lambda: is_searching(container, stayer))
    assert await stayer.send("cancel_search") == {"ok": True}
    assert "peer_left" not in names(stayer)


async def test_a_call_ended_from_another_device_is_closed_on_the_one_that_was_in_it(
    make_phone: MakePhone, container: Container
) -> None:
    ada, bob = await make_phone(), await make_phone()
    tablet = await make_phone(learner=ada.learner, apart_from=ada)
    room = await call(ada, bob)
    assert await tablet.send("end_call", room) == {"ok": True}
    assert await bob.hears("peer_left") == {"reason": "ended"}
    bob.heard.clear()

    async def is_closed() -> bool:
        return set((await negotiation(ada, room)).values()) == {"room_closed"}

    await becomes(is_closed)
    assert (await ended_row(container, room["roomId"])).ended_by is EndedBy.USER_A


# --- The service by itself --------------------------------------------------------------------------------


class Away(CallHistoryService):
    """Sessions whose PostgreSQL is away until `is_away` is false."""

    is_away = True

    async def connect(self, room_id: str, **times: Any) -> None:
        self._ask()
        await super().connect(room_id, **times)

    async def end(self, room_id: str, **what: Any) -> bool:
        self._ask()
        return await super().end(room_id, **what)

    def _ask(self) -> None:
        if self.is_away:
            raise sqlalchemy.exc.OperationalError("UPDATE", {}, ConnectionError("away"))


class Services:
    """Signaling and recovery over a bus of the test's, and real Redis and PostgreSQL."""

    def __init__(
        self, container: Container, *, bus: LocalBus | None = None, rooms: Rooms | None = None, sessions: Any = None
    ) -> None:
        self.bus = bus or HeldBus()
        self.bus.on("emit", self._emit)
        self.emitted: list[tuple[str, str, Any]] = []
        self.moves: list[PeerAway | PeerBack] = []
        rooms, sessions = rooms or Rooms(container.scripts), sessions or container.call_history
        rows = CallRecords(rooms, sessions)
        matchmaking = MatchmakingService(self.bus, container.database, rooms, sessions, rows)
        self.signaling = SignalingService(self.bus, rooms, rows, matchmaking)
        self.recovery = RecoveryService(rooms, rows, sessions, matchmaking, self.signaling, others_come_first=0)

        self.signaling.on_peer_moved(self._move)

    async def _move(self, moved: PeerAway | PeerBack) -> None:
        self.moves.append(moved)

    async def _emit(self, socket: str, name: str, payload: Any) -> None:
        self.emitted.append((socket, name, payload))


@pytest.fixture
async def strangers(container: Container, make_learner: Any) -> tuple[str, str, str]:
    """A match between two learners who have no socket: their ids, and the room."""
    one, other = [(await make_learner()).id for _ in range(2)]
    for user_id in (one, other):
        socket = f"{container.bus.worker_id}.{user_id}"
        container.matchmaking.connect(socket)
        outcome = await container.matchmaking.find_partner(user_id, socket, level="all", topic=None)
    assert isinstance(outcome, Match)
    return one, other, outcome.room_id


def offer(signaling: SignalingService, socket: str, room_id: str) -> str | None:
    return signaling.relay(socket, room_id, "webrtc_offer", {"sdp": "v=0", "seq": 0})


def answer(signaling: SignalingService, socket: str, room_id: str) -> str | None:
    return signaling.relay(socket, room_id, "webrtc_answer", {"sdp": "v=0", "seq": 0})


async def overdue(container: Container, *names: str) -> list[str]:
    """Let what is noted under these names be due, as five seconds do; answer the notes, as many as there are."""
    noted: Any = await container.redis.zrange("match:due", 0, -1)
    found: list[str] = [entry for entry in noted if entry.startswith(names)]
    if found:
        await container.redis.zadd("match:due", dict[Any, float].fromkeys(found, 0))
    return found


async def test_a_join_whose_row_could_not_be_written_is_written_a_little_later(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    sessions = Away(container.database)
    services = Services(container, sessions=sessions)
    await services.signaling.join_room(one, "w.one", room_id)
    joined = await services.signaling.join_room(other, "w.other", room_id)
    assert (joined.role, joined.peer_socket, joined.is_back) == ("receiver", "w.one", False)
    began = datetime.now(UTC)
    await asyncio.sleep(0.5)
    sessions.is_away = False
    assert len(await overdue(container, f"begin:{room_id}")) == 1
    assert [outcome async for outcome in services.recovery.due()] == []
    made = await row(container, room_id)
    assert made is not None and made.connected_at is not None
    assert made.connected_at - began < timedelta(seconds=0.3), "it says when they joined, not when it was written"
    assert await overdue(container, f"begin:{room_id}") == []


async def test_a_call_that_began_and_ended_while_postgresql_was_away_is_told_as_it_was(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    sessions = Away(container.database)
    services = Services(container, sessions=sessions)
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await services.signaling.join_room(user_id, socket, room_id)
    await asyncio.sleep(1.2)
    await services.signaling.end_call(one, "w.one", room_id)
    ended = datetime.now(UTC)
    await asyncio.sleep(1)
    sessions.is_away = False
    # Whichever comes first.
    assert len(await overdue(container, f"end:{room_id}")) == 1
    assert [outcome async for outcome in services.recovery.due()] == []
    await overdue(container, f"begin:{room_id}")
    assert [outcome async for outcome in services.recovery.due()] == []
    made = await row(container, room_id)
    assert made is not None and made.connected_at is not None and made.ended_at is not None
    assert made.duration_seconds == 1 and made.ended_at - ended < timedelta(seconds=0.3)
    assert await overdue(container, f"end:{room_id}", f"begin:{room_id}") == []


async def test_a_peer_who_joins_while_ones_own_join_is_under_way_is_not_missed(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = HeldBus()

    class Slow(Rooms):
        """Rooms whose answer to the first to join is late: the second has joined, and said so."""

        async def join(self, room_id: str, user_id: str, socket: str, after: int | None = None) -> Any:
            seat = await super().join(room_id, user_id, socket, after)
            if user_id == one:
                await signaling.join_room(other, "w.other", room_id)
                await bus.let_go()
            return seat

    signaling = Services(container, bus=bus, rooms=Slow(container.scripts)).signaling
    joined = await signaling.join_room(one, "w.one", room_id)
    assert joined.role == "caller"
    assert offer(signaling, "w.one", room_id) == "w.other"
    assert answer(signaling, "w.other", room_id) == "w.one"


async def test_a_socket_that_fails_to_enter_another_room_stays_in_its_own(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = HeldBus()
    signaling = Services(container, bus=bus).signaling
    await signaling.join_room(one, "w.one", room_id)
    with pytest.raises(errors.NotInRoom):
        await signaling.join_room(one, "w.one", str(uuid.uuid4()))
    await signaling.join_room(other, "w.other", room_id)
    await bus.let_go()
    assert offer(signaling, "w.one", room_id) == "w.other"


async def test_another_device_that_goes_away_leaves_the_call_alone(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = HeldBus()
    services = Services(container, bus=bus)
    signaling = services.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.let_go()
    for socket in ("w.tablet", f"{container.bus.worker_id}.{one}"):
        assert await signaling.disconnect(one, socket) is None
    assert bus.held == [] and offer(signaling, "w.one", room_id) == "w.other"
    made = await row(container, room_id)
    assert made is not None and made.ended_at is None
    assert await signaling.disconnect(one, "w.one") is None
    await bus.let_go()
    assert services.moves == [PeerAway("w.other", 10)]
    assert await signaling.end_call(other, "w.other", room_id) is None, "there is nobody to tell"
    assert (await ended_row(container, room_id)).ended_by is not None


@pytest.mark.parametrize("heard_of_it", [True, False])
async def test_what_a_room_was_comes_too_late_to_undo_what_it_is(
    container: Container, strangers: tuple[str, str, str], heard_of_it: bool
) -> None:
    one, other, room_id = strangers
    bus = HeldBus()
    services = Services(container, bus=bus)
    signaling = services.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.let_go()
    # The other drops and comes back, and one worker is slower to say so than another: it goes and comes again.
    await signaling.disconnect(other, "w.other")
    if heard_of_it:
        await bus.let_go()
    late = [*bus.held]
    bus.held.clear()
    await signaling.join_room(other, "w.second", room_id)
    await bus.let_go()
    back = [*services.moves]
    assert back == ([PeerAway("w.one", 10), PeerBack("w.one")] if heard_of_it else [PeerBack("w.one")])
    bus.held[:] = late
    await bus.let_go()
    assert services.moves == back, "they were told that a peer is away who is there"
    assert offer(signaling, "w.one", room_id) == "w.second"


async def test_where_one_heard_of_two_comings_in_the_wrong_order_the_last_one_counts(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = HeldBus()
    signaling = Services(container, bus=bus).signaling
    await signaling.join_room(one, "w.one", room_id)
    for number in range(3):
        await signaling.join_room(other, f"w.{number}", room_id)
    assert [kind for _, kind, _ in bus.held] == ["peer_here", "peer_here", "unseat", "peer_here", "unseat"]
    bus.held.reverse()
    await bus.let_go()
    assert offer(signaling, "w.one", room_id) == "w.2"
    # A device that takes the call back is not put out by the news that it was once replaced.
    await signaling.join_room(other, "w.1", room_id)
    replaced = [("w.1", "unseat", (room_id, 3)), *bus.held]
    bus.held[:] = replaced
    await bus.let_go()
    assert answer(signaling, "w.1", room_id) == "w.one"
    with pytest.raises(errors.RoomClosed):
        answer(signaling, "w.2", room_id)


@pytest.mark.parametrize("first", ["who hears", "who speaks"])
@pytest.mark.parametrize("says_what_it_heard", [True, False])
async def test_both_drop_and_what_was_said_is_heard_whoever_comes_back_first(
    container: Container, strangers: tuple[str, str, str], first: str, says_what_it_heard: bool
) -> None:
    one, other, room_id = strangers
    services = Services(container, bus=LocalBus())
    signaling = services.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    def say(socket: str) -> int:
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        if (peer := signaling.relay(socket, room_id, "webrtc_ice", payload)) is not None:
            services.emitted.append((peer, "webrtc_ice", payload))
        return int(payload["seq"])

    said = [say("w.one")]
    await signaling.disconnect(other, "w.other")
    said += [say("w.one"), say("w.one")]
    for turn in range(2):
        await signaling.disconnect(one, "w.one" if not turn else "w.one 0")

        async def hearer_returns(turn: int = turn) -> None:
            heard = [payload["seq"] for socket, _, payload in services.emitted if socket.startswith("w.other")]
            after = heard[-1] if says_what_it_heard else None
            await signaling.join_room(other, f"w.other {turn}", room_id, after=after)

        if first == "who hears" and not turn:
            await hearer_returns()
        await signaling.join_room(one, f"w.one {turn}", room_id)
        if first == "who speaks" and not turn:
            await hearer_returns()
        # The second time only the one who speaks comes back: what was heard is not said again.
        said += [say(f"w.one {turn}")]
    assert [payload["seq"] for _, _, payload in services.emitted] == said
    assert {socket for socket, _, _ in services.emitted} == {"w.other", "w.other 0"}


async def test_what_was_lost_on_the_way_while_both_dropped_is_sent_to_whoever_says_what_they_heard(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    services = Services(container, bus=LocalBus())
    signaling = services.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        signaling.relay("w.one", room_id, "webrtc_ice", payload)
    await signaling.disconnect(one, "w.one")
    await signaling.disconnect(other, "w.other")
    await signaling.join_room(other, "w.other again", room_id, after=payload["seq"] - 2)
    assert services.emitted == []
    await signaling.join_room(one, "w.one again", room_id)
    assert [(socket, heard["seq"]) for socket, _, heard in services.emitted] == [
        ("w.other again", payload["seq"] - 1),
        ("w.other again", payload["seq"]),
    ]


async def lose_room(container: Container, one: str, other: str, room_id: str) -> None:
    """Let Redis forget a room and all about it."""
    pair = f"match:recent:{min(one, other)}:{max(one, other)}"
    names = [pair, *(f"match:room:{room_id}:{of}" for of in ("meta", "users"))]
    await container.redis.delete(*names, *(f"match:in_room:{user_id}" for user_id in (one, other)))
    due: Any = await container.redis.zrange("match:due", 0, -1)
    for entry in due:
        if room_id in entry:
            await container.redis.zrem("match:due", entry)


class Only(CallHistoryService):
    """Sessions among which there is one room's alone."""

    room_id = ""

    async def open_calls(self) -> list[CallSession]:
        return [each for each in await super().open_calls() if each.room_id == self.room_id]


@pytest.fixture
async def interrupted(
    container: Container, strangers: tuple[str, str, str]
) -> AsyncIterator[tuple[Services, tuple[str, str, str]]]:
    """A call that Redis has lost, and nobody has noticed."""
    sessions = Only(container.database)
    sessions.room_id = strangers[2]
    services = Services(container, bus=LocalBus(), sessions=sessions)
    for user_id, socket in zip(strangers, ("w.one", "w.other"), strict=False):
        await services.signaling.join_room(user_id, socket, strangers[2])
    await lose_room(container, *strangers)
    yield services, strangers
    await empty_queue(container)


Interrupted = tuple[Services, tuple[str, str, str]]


async def test_a_peer_who_comes_back_to_a_room_that_redis_had_lost_is_known(
    container: Container, strangers: tuple[str, str, str], interrupted: Interrupted
) -> None:
    services, (_, other, room_id) = interrupted
    assert [outcome async for outcome in services.recovery.data_lost()] == []
    for number in range(3):
        await services.signaling.join_room(other, f"w.other {number}", room_id)
    await lose_room(container, *strangers)
    await services.signaling.disconnect(other, "w.other 2")
    assert [outcome async for outcome in services.recovery.data_lost()] == []
    await services.signaling.join_room(other, "w.back", room_id)
    assert services.moves[-1] == PeerBack("w.one")
    assert offer(services.signaling, "w.one", room_id) == "w.back"


async def test_who_hangs_up_a_call_that_redis_has_lost_has_ended_it(
    container: Container, interrupted: Interrupted
) -> None:
    services, (one, other, room_id) = interrupted
    assert await services.signaling.end_call(other, "w.other", room_id) == PeerLeft("w.one", "ended")
    ended = await row(container, room_id)
    assert ended is not None and ended.ended_by is EndedBy.USER_B and ended.connected_at is not None
    with pytest.raises(errors.RoomClosed):
        await services.signaling.end_call(one, "w.one", room_id)
    assert [outcome async for outcome in services.recovery.data_lost()] == []
    assert not await container.redis.exists(f"match:room:{room_id}:meta")
    assert await overdue(container, f"end:{room_id}") == []


async def test_who_hangs_up_second_ends_nothing(container: Container, strangers: tuple[str, str, str]) -> None:
    one, other, room_id = strangers
    bus = HeldBus()
    signaling = Services(container, bus=bus).signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.let_go()
    assert await signaling.end_call(one, "w.one", room_id) == PeerLeft("w.other", "ended")
    with pytest.raises(errors.RoomClosed):  # before they hear of it
        await signaling.end_call(other, "w.other", room_id)
    assert (await ended_row(container, room_id)).ended_by is EndedBy.USER_A


async def test_a_lost_call_whose_member_searches_again_is_over(container: Container, interrupted: Interrupted) -> None:
    services, (one, other, room_id) = interrupted
    await services.signaling.disconnect(other, "w.other")
    container.matchmaking.connect(socket := f"{container.bus.worker_id}.again")
    await container.matchmaking.find_partner(other, socket, level="all", topic=None)
    assert [outcome async for outcome in services.recovery.data_lost()] == []
    ended = await row(container, room_id)
    assert ended is not None and ended.ended_by is EndedBy.ERROR
    with pytest.raises(errors.RoomClosed):
        offer(services.signaling, "w.one", room_id)
    with pytest.raises(errors.NotInRoom):
        await services.signaling.join_room(one, "w.one", room_id)


@pytest.mark.parametrize("says_what_it_heard", [True, False])
async def test_what_is_signalled_while_the_peer_is_away_comes_once_and_in_order_from_whichever_worker(
    container: Container, strangers: tuple[str, str, str], says_what_it_heard: bool
) -> None:
    one, other, room_id = strangers
    services = Services(container, bus=LocalBus())
    signaling = services.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    heard: list[int] = []

    def say(number: int, socket: str) -> None:
        payload: events.CandidateMessage = {"candidate": {"candidate": str(number)}, "seq": 0}
        if signaling.relay(socket, room_id, "webrtc_ice", payload) is not None:
            heard.append(payload["seq"])
            services.emitted.append(("direct", "webrtc_ice", payload))

    for number in range(10):
        say(number, "w.one")
    last_heard = heard[-1]
    await signaling.disconnect(other, "w.other")
    for number in range(10, 20):
        say(number, "w.one")
    # The sender too comes with another socket, as when its server is stopped.
    await signaling.disconnect(one, "w.one")
    joined = await signaling.join_room(one, "w.one again", room_id)
    assert joined.is_back and joined.peer_socket is None
    assert services.moves[-1:] == [PeerAway("w.one again", 10)]
    for number in range(20, 30):
        say(number, "w.one again")
    await signaling.join_room(other, "w.other again", room_id, after=last_heard if says_what_it_heard else None)
    for number in range(30, 40):
        say(number, "w.one again")
    said = [int(payload["candidate"]["candidate"]) for _, _, payload in services.emitted]
    assert said == list(range(40))
    numbers = [payload["seq"] for _, _, payload in services.emitted]
    assert numbers == sorted(set(numbers))


async def test_what_was_sent_on_into_a_dying_connection_is_sent_again(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    services = Services(container, bus=LocalBus())
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await services.signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        assert services.signaling.relay("w.one", room_id, "webrtc_ice", payload) == "w.other"
    # Of the five the peer heard two, and came back before anybody noticed.
    joined = await services.signaling.join_room(other, "w.new", room_id, after=payload["seq"] - 3)
    assert (joined.replaced, joined.is_back) == ("w.other", True)
    assert [(socket, heard["seq"]) for socket, _, heard in services.emitted] == [
        ("w.new", payload["seq"] - back) for back in (2, 1, 0)
    ]


async def test_a_signal_that_could_not_be_sent_on_is_its_senders_to_send_again(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    services = Services(container, bus=LocalBus())
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await services.signaling.join_room(user_id, socket, room_id)
    payload: events.CandidateMessage = {"candidate": None, "seq": 0}
    services.signaling.relay("w.one", room_id, "webrtc_ice", payload)
    services.signaling.take_back("w.one", payload["seq"])
    await services.signaling.join_room(other, "w.new", room_id, after=0)
    assert services.emitted == []


async def test_a_seat_remembers_no_more_than_it_should() -> None:
    seat = Seat("room", "user")
    for number in range(1000):
        seat.remember(number, "webrtc_ice", {"candidate": None, "seq": number})
    assert [signal.seq for signal in seat.since(0)] == list(range(488, 1000))
    for number in range(100):
        seat.remember(1000 + number, "webrtc_offer", {"sdp": "v" * 32700, "seq": number})
    assert [signal.seq for signal in seat.since(0)] == list(range(1084, 1100))
