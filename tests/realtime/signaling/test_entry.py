"""Entering a room over a socket: roles, and who may send which event."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from container import Container
from testing.calls import (
    MakePhone,
    Pair,
    Room,
    ack_code,
    call,
    call_row,
    event_names,
    match,
    negotiate,
)
from testing.servers import Phone


async def test_first_to_join_is_the_caller(pair: Pair) -> None:
    """Each receives `peer_joined` of their own join, and the first one that of the second."""
    one, other = pair
    for caller, receiver in ((one, other), (other, one)):
        room = {"roomId": (await match(one, other))["roomId"]}
        await caller.send("join_room", room)
        as_caller = {"role": "caller", "userId": caller.learner.id}
        as_receiver = {"role": "receiver", "userId": receiver.learner.id}
        assert await caller.wait_for("peer_joined") == as_caller
        assert "peer_joined" not in event_names(receiver)
        await receiver.send("join_room", room)
        await caller.wait_for("peer_joined", count=2)
        assert [payload for name, payload in caller.received if name == "peer_joined"] == [as_caller, as_receiver]
        assert [payload for name, payload in receiver.received if name == "peer_joined"] == [as_receiver]
        await caller.send("end_call", room)


async def test_simultaneous_joins_get_one_role_each(make_phone: MakePhone) -> None:
    """A hundred races on one process and across two: one caller, one receiver, and signaling works at once."""
    one = await make_phone()
    near, far = await make_phone(together_with=one), await make_phone(apart_from=one)
    callers = []
    for other in [near, far] * 50:
        room = {"roomId": (await match(one, other))["roomId"]}
        for phone in (one, other):
            phone.received.clear()
        acks = await asyncio.gather(one.send("join_room", room), other.send("join_room", room))
        assert [ack_code(ack) for ack in acks] == ["ok", "ok"]
        joins: list[dict[str, str]] = []
        for phone in (one, other):
            joins = [await phone.wait_for("peer_joined")]
            if joins[0]["role"] == "caller":
                callers.append(phone)
                assert joins[0]["userId"] == phone.learner.id
                joins.append(await phone.wait_for("peer_joined", count=2))
            assert joins[-1]["role"] == "receiver"
        caller, receiver = (one, other) if joins[-1]["userId"] == other.learner.id else (other, one)
        assert callers[-1] is caller
        for event, sender, listener in (("webrtc_offer", caller, receiver), ("webrtc_answer", receiver, caller)):
            await sender.client.emit(event, {**room, "sdp": event})
            assert (await listener.wait_for(event))["sdp"] == event
        await other.send("end_call", room)
        await one.wait_for("peer_left")
    assert len(callers) == 100, "a round with two callers, or none"


async def test_joining_again_changes_nothing(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    made = await call_row(container, room["roomId"])
    received = [len(phone.received) for phone in pair]
    for phone in pair:
        assert await phone.send("join_room", room) == {"ok": True}
    assert [len(phone.received) for phone in pair] == received, "nothing has changed "
    assert await caller.send("webrtc_offer", {**room, "sdp": "again"}) == {"ok": True}
    await receiver.wait_for("webrtc_offer")
    again = await call_row(container, room["roomId"])
    assert made is not None and again is not None and again.connected_at == made.connected_at is not None


async def test_each_role_sends_its_own_events(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    assert await negotiate(caller, room) == {"webrtc_offer": "ok", "webrtc_answer": "bad_role", "webrtc_ice": "ok"}
    assert await negotiate(receiver, room) == {"webrtc_offer": "bad_role", "webrtc_answer": "ok", "webrtc_ice": "ok"}
    await receiver.wait_for("webrtc_ice")
    await caller.wait_for("webrtc_ice")
    assert [name for name in event_names(receiver) if name.startswith("webrtc")] == ["webrtc_offer", "webrtc_ice"]
    assert [name for name in event_names(caller) if name.startswith("webrtc")] == ["webrtc_answer", "webrtc_ice"]


async def test_signals_wait_for_both_to_join(pair: Pair) -> None:
    caller, receiver = pair
    room = {"roomId": (await match(caller, receiver))["roomId"]}
    assert set((await negotiate(caller, room)).values()) == {"not_in_room"}, "matched, but not joined"
    await caller.send("join_room", room)
    assert await negotiate(caller, room) == {
        "webrtc_offer": "peer_not_ready",
        "webrtc_answer": "bad_role",
        "webrtc_ice": "peer_not_ready",
    }
    assert set((await negotiate(receiver, room)).values()) == {"not_in_room"}
    await receiver.send("join_room", room)
    assert await receiver.send("webrtc_ice", {**room, "candidate": None}) == {"ok": True}
    await caller.wait_for("webrtc_ice")
    assert not [name for name in event_names(receiver) if name.startswith("webrtc")]


async def test_foreign_room_answers_like_a_missing_one(make_phone: MakePhone) -> None:
    """A room's existence is not revealed to users outside it, and nothing of theirs gets in."""
    ada, bob = await make_phone(), await make_phone()
    eve = await make_phone()
    mallory = await make_phone(apart_from=eve)
    theirs = await call(ada, bob)
    missing = {"roomId": str(uuid.uuid4())}
    shouted = {"roomId": theirs["roomId"].upper()}
    received = [len(ada.received), len(bob.received)]

    async def read_acks(phone: Phone, room: Room) -> list[dict[str, Any]]:
        phone.received.clear()
        acks = [
            await phone.send("join_room", room),
            await phone.send("webrtc_offer", {**room, "sdp": "v=0 intruder"}),
            await phone.send("webrtc_answer", {**room, "sdp": "v=0 intruder"}),
            await phone.send("webrtc_ice", {**room, "candidate": None}),
            await phone.send("end_call", room),
        ]
        assert [payload for name, payload in phone.received if name == "error"] == [ack["error"] for ack in acks]
        return acks

    for stranger in (eve, mallory):
        foreign = await read_acks(stranger, theirs)
        assert [ack_code(ack) for ack in foreign] == ["not_in_room"] * 5
        assert foreign == await read_acks(stranger, missing) == await read_acks(stranger, shouted)
    # The same for matched who are in a call of their own, which goes on.
    own = await call(eve, mallory)
    for stranger in (eve, mallory):
        assert await read_acks(stranger, theirs) == await read_acks(stranger, missing) == foreign
    assert await eve.send("webrtc_offer", {**own, "sdp": "v=0 own"}) == {"ok": True}
    assert (await mallory.wait_for("webrtc_offer"))["sdp"] == "v=0 own"
    assert await ada.send("webrtc_offer", {**theirs, "sdp": "v=0 theirs"}) == {"ok": True}
    assert (await bob.wait_for("webrtc_offer"))["sdp"] == "v=0 theirs"
    assert [len(ada.received), len(bob.received) - 1] == received, "an event of a stranger arrived"


async def test_ended_room_stays_closed_during_the_next_call(pair: Pair) -> None:
    caller, receiver = pair
    past = await call(caller, receiver)
    await caller.send("end_call", past)
    await receiver.wait_for("peer_left")
    present = await call(caller, receiver)
    for phone in pair:
        assert set((await negotiate(phone, past)).values()) == {"not_in_room"}
        assert (
            ack_code(await phone.send("end_call", past))
            == ack_code(await phone.send("join_room", past))
            == "not_in_room"
        )
    assert await negotiate(caller, present) == {"webrtc_offer": "ok", "webrtc_answer": "bad_role", "webrtc_ice": "ok"}


async def test_second_device_must_join_to_signal(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    tablet = await make_phone(learner=ada.learner)
    room = await call(ada, bob)
    assert set((await negotiate(tablet, room)).values()) == {"not_in_room"}
