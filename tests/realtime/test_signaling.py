"""Owns rooms as their members live them: roles, the relay and its order, and the ways a call ends."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import sqlalchemy.exc

import errors
from container import Container
from models import EndedBy
from services.rooms import Rooms
from services.sessions import SessionsService
from services.signaling import Joined, SignalingService
from tests.calls import MakePhone, Room, becomes, call, ended_row, match, row
from tests.world import Phone

Pair = tuple[Phone, Phone]


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
            assert await listener.hears(event) == {"sdp": event}
        await other.send("end_call", room)
        await one.hears("peer_left")
    assert len(callers) == 100, "a round with two callers, or none"


async def test_joining_again_keeps_the_role_and_the_call(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    made = await row(container, room["roomId"])
    for phone, role in ((caller, "caller"), (receiver, "receiver")):
        assert await phone.send("join_room", room) == {"ok": True}
        assert (await phone.hears("peer_joined", count=3))["role"] == role
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
    assert await mallory.hears("webrtc_offer") == {"sdp": "v=0 own"}
    assert await ada.send("webrtc_offer", {**theirs, "sdp": "v=0 theirs"}) == {"ok": True}
    assert await bob.hears("webrtc_offer") == {"sdp": "v=0 theirs"}
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
    assert receiver.heard == [
        *(
            event
            for number in map(str, range(50))
            for event in (("webrtc_ice", {"candidate": {"candidate": number}}), ("webrtc_offer", {"sdp": number}))
        ),
        ("peer_left", {"reason": "ended"}),
    ]
    assert caller.heard == []


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
        assert await receiver.hears("webrtc_offer", count=sent) == {"sdp": sdp}
        refused = await caller.send("webrtc_offer", {**room, "sdp": sdp + "x"})
        assert code(refused) == "bad_payload" and "sdp" in refused["error"]["message"]
    assert await receiver.send("webrtc_answer", {**room, "sdp": "v=0"}) == {"ok": True}
    assert names(receiver).count("webrtc_offer") == 2


async def test_a_candidate_of_4096_characters_passes_and_one_more_does_not(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    longest = {"candidate": "x" * 4096, "sdpMid": "y" * 256, "usernameFragment": "z" * 256, "sdpMLineIndex": 65535}
    assert await receiver.send("webrtc_ice", {**room, "candidate": longest}) == {"ok": True}
    assert await caller.hears("webrtc_ice") == {"candidate": longest}
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
        ended = await ended_row(container, room["roomId"])
        assert (ended.ended_by, ended.connected_at, ended.duration_seconds) == (EndedBy.USER_A, None, 0)
        assert "peer_left" not in names(other)


async def test_a_socket_that_goes_away_in_a_call_ends_it(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    await caller.client.disconnect()
    assert await receiver.hears("peer_left") == {"reason": "disconnected"}
    ended = await ended_row(container, room["roomId"])
    assert ended.ended_by is EndedBy.USER_A and ended.connected_at is not None
    assert set((await negotiation(receiver, room)).values()) == {"room_closed"}
    assert code(await receiver.send("end_call", room)) == "room_closed"
    assert await receiver.send("find_partner", {"topic": "on we go"}) == {"ok": True}


async def test_a_line_that_breaks_ends_the_call_as_a_goodbye_does(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    transport = receiver.client.eio.ws._response.connection.transport
    transport.abort()
    assert await caller.hears("peer_left") == {"reason": "disconnected"}
    assert (await ended_row(container, room["roomId"])).ended_by is EndedBy.USER_B


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
    assert await stayer.send("find_partner", {"topic": "on we go"}) == {"ok": True}
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


class Nowhere:
    """A bus that holds messages until they are let go."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.held: list[tuple[Any, ...]] = []
        self._handlers: dict[str, Any] = {}

    def on(self, kind: str, handler: Any) -> None:
        self._handlers[kind] = handler

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        self.post(socket, kind, *arguments)

    def post(self, socket: str, kind: str, *arguments: Any) -> None:
        self.held.append((kind, socket, *arguments))

    def on_worker_lost(self, listener: Any) -> None: ...

    def on_data_lost(self, listener: Any) -> None: ...

    async def let_go(self) -> None:
        for kind, socket, *arguments in self.held:
            await self._handlers[kind](socket, *arguments)
        self.held.clear()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class FailsOnce(SessionsService):
    """Sessions whose PostgreSQL is away when the first call connects."""

    failures = 1

    async def connect(self, room_id: str) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlalchemy.exc.OperationalError("UPDATE", {}, ConnectionError("away"))
        await super().connect(room_id)


@pytest.fixture
async def strangers(container: Container, make_learner: Any) -> tuple[str, str, str]:
    """A match between two learners who have no socket: their ids, and the room."""
    one, other = [(await make_learner()).id for _ in range(2)]
    for user_id in (one, other):
        outcome = await container.matchmaking.find_partner(
            user_id, f"{container.bus.worker_id}.{user_id}", level="all", topic=None
        )
    assert not hasattr(outcome, "estimated_wait_seconds")
    return one, other, outcome.room_id


async def test_a_join_that_could_not_be_noted_is_noted_when_it_is_tried_again(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    signaling = SignalingService(Nowhere("w"), Rooms(container.scripts), FailsOnce(container.database))
    await signaling.join_room(one, "w.one", room_id)
    with pytest.raises(sqlalchemy.exc.OperationalError):
        await signaling.join_room(other, "w.other", room_id)
    assert await signaling.join_room(other, "w.other", room_id) == Joined("receiver", "w.one")
    made = await row(container, room_id)
    assert made is not None and made.connected_at is not None


async def test_a_peer_who_joins_while_ones_own_join_is_under_way_is_not_missed(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = Nowhere("w")

    class Slow(Rooms):
        """Rooms whose answer to the first to join is late: the second has joined, and said so."""

        async def join(self, room_id: str, user_id: str, socket: str) -> Any:
            seat = await super().join(room_id, user_id, socket)
            if user_id == one:
                await signaling.join_room(other, "w.other", room_id)
                await bus.let_go()
            return seat

    signaling = SignalingService(bus, Slow(container.scripts), container.sessions)
    joined = await signaling.join_room(one, "w.one", room_id)
    assert joined.role == "caller"
    assert signaling.peer_for_offer("w.one", room_id) == "w.other"
    assert signaling.peer_for_answer("w.other", room_id) == "w.one"


async def test_a_socket_that_fails_to_enter_another_room_stays_in_its_own(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = Nowhere("w")
    signaling = SignalingService(bus, Rooms(container.scripts), container.sessions)
    await signaling.join_room(one, "w.one", room_id)
    with pytest.raises(errors.NotInRoom):
        await signaling.join_room(one, "w.one", str(uuid.uuid4()))
    await signaling.join_room(other, "w.other", room_id)
    await bus.let_go()
    assert signaling.peer_for_offer("w.one", room_id) == "w.other"


async def test_another_device_that_goes_away_leaves_the_call_alone(
    container: Container, strangers: tuple[str, str, str]
) -> None:
    one, other, room_id = strangers
    bus = Nowhere("w")
    signaling = SignalingService(bus, Rooms(container.scripts), container.sessions)
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.let_go()
    for socket in ("w.tablet", f"{container.bus.worker_id}.{one}"):
        assert await signaling.disconnect(one, socket) is None
    assert bus.held == [] and signaling.peer_for_offer("w.one", room_id) == "w.other"
    made = await row(container, room_id)
    assert made is not None and made.ended_at is None
    left = await signaling.disconnect(one, "w.one")
    assert left is not None and (left.peer_socket, left.was_joined) == ("w.other", True)
