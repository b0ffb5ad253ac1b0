"""The ends of a call over sockets: hanging up, disconnecting, the longest call."""

from __future__ import annotations

import asyncio

import pytest

from container import Container
from models import EndedBy
from testing.calls import (
    MakePhone,
    Pair,
    ack_code,
    call,
    call_row,
    ended_call_row,
    event_names,
    expire_grace,
    is_searching,
    match,
    negotiate,
)
from testing.polling import eventually
from testing.time_limits import GRACE


async def test_call_of_the_longest_duration_is_ended(container: Container, pair: Pair) -> None:
    room = await call(*pair)
    due = f"room:{room['roomId']}"
    assert await container.redis.zadd("{match}:due", {due: 1}, xx=True, ch=True) == 1
    for phone in pair:
        assert await phone.wait_for("peer_left") == {"reason": "timeout"}
    assert (await ended_call_row(container, room["roomId"])).ended_by == EndedBy.TIMEOUT


async def test_hanging_up_ends_the_call_and_its_row(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    for leaver, stayer, ended_by in ((receiver, caller, EndedBy.USER_B), (caller, receiver, EndedBy.USER_A)):
        room = await call(caller, receiver)
        assert await leaver.send("end_call", room) == {"ok": True}
        assert await stayer.wait_for("peer_left") == {"reason": "ended"}
        ended = await ended_call_row(container, room["roomId"])
        assert ended.ended_by is ended_by and ended.duration_seconds == 0
        assert ended.connected_at is not None and ended.ended_at is not None
        assert ended.started_at <= ended.connected_at <= ended.ended_at
        for phone in pair:
            assert set((await negotiate(phone, room)).values()) == {"room_closed"}
            assert ack_code(await phone.send("end_call", room)) == "room_closed"
            assert ack_code(await phone.send("join_room", room)) == "not_in_room"
            assert event_names(phone).count("peer_left") == (phone is stayer)
        assert (await call_row(container, room["roomId"])) == ended


async def test_simultaneous_hang_ups_end_the_call_once(pair: Pair, container: Container) -> None:
    for _ in range(15):
        room = await call(*pair)
        acks = await asyncio.gather(*(phone.send("end_call", room) for phone in pair for _ in range(2)))
        codes = [ack_code(ack) for ack in acks]
        assert sorted(codes) == ["ok", "room_closed", "room_closed", "room_closed"]
        ended = await ended_call_row(container, room["roomId"])
        first = codes.index("ok") // 2
        assert ended.ended_by is (EndedBy.USER_A, EndedBy.USER_B)[first]
        await pair[1 - first].wait_for("peer_left")
        assert event_names(pair[first]).count("peer_left") == 0
        assert event_names(pair[1 - first]).count("peer_left") == 1


async def test_hanging_up_before_both_joined_cancels_the_match(pair: Pair, container: Container) -> None:
    one, other = pair
    for joins in ((), (one,), (other,)):
        room = {"roomId": (await match(one, other))["roomId"]}
        for phone in joins:
            await phone.send("join_room", room)
        assert await one.send("end_call", room) == {"ok": True}
        assert await other.wait_for("partner_cancelled") == {}
        await eventually(lambda: is_searching(container, other))
        assert await other.send("cancel_search") == {"ok": True}
        ended = await ended_call_row(container, room["roomId"])
        assert (ended.ended_by, ended.connected_at, ended.duration_seconds) == (EndedBy.USER_A, None, 0)
        assert "peer_left" not in event_names(other)


async def test_disconnect_without_return_ends_the_call(pair: Pair, container: Container) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    await caller.client.disconnect()
    assert await receiver.wait_for("peer_reconnecting") == {"graceSeconds": GRACE}
    await expire_grace(container, room, caller.learner.id)
    assert await receiver.wait_for("peer_left") == {"reason": "disconnected"}
    ended = await ended_call_row(container, room["roomId"])
    assert ended.ended_by is EndedBy.USER_A and ended.connected_at is not None
    assert set((await negotiate(receiver, room)).values()) == {"room_closed"}
    assert ack_code(await receiver.send("end_call", room)) == "room_closed"
    assert await receiver.send("find_partner", {"topic": "on we go"}) == {"ok": True}


@pytest.mark.parametrize("joined", ["neither", "leaver", "stayer"])
async def test_disconnect_before_both_joined_cancels_the_match(pair: Pair, container: Container, joined: str) -> None:
    leaver, stayer = pair
    room = {"roomId": (await match(leaver, stayer))["roomId"]}
    if joined != "neither":
        await (leaver if joined == "leaver" else stayer).send("join_room", room)
    await leaver.client.disconnect()
    assert await stayer.wait_for("partner_cancelled") == {}
    ended = await ended_call_row(container, room["roomId"])
    assert (ended.ended_by, ended.connected_at) == (EndedBy.USER_A, None)
    await eventually(lambda: is_searching(container, stayer))
    assert await stayer.send("cancel_search") == {"ok": True}
    assert "peer_left" not in event_names(stayer)


async def test_call_ended_from_another_device(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    tablet = await make_phone(learner=ada.learner, apart_from=ada)
    room = await call(ada, bob)
    assert await tablet.send("end_call", room) == {"ok": True}
    assert await bob.wait_for("peer_left") == {"reason": "ended"}
    bob.received.clear()

    async def is_closed() -> bool:
        return set((await negotiate(ada, room)).values()) == {"room_closed"}

    await eventually(is_closed)
    assert (await ended_call_row(container, room["roomId"])).ended_by is EndedBy.USER_A
