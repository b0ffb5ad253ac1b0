"""Owns that the fast lane overtakes nobody: events that take it and events that do not stay in order, in and out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from testing.calls import MakePhone, match
from testing.raw_websockets import BareSocket, dial_bare, event
from testing.servers import Phone, Server

Ends = tuple[BareSocket, BareSocket, dict[str, str]]


@pytest.fixture(params=["on one worker", "across workers"])
async def ends(request: pytest.FixtureRequest, make_phone: MakePhone, server: Server) -> AsyncIterator[Ends]:
    """Two bare sockets that were matched but have not joined, and their room."""
    one, other = await make_phone(), await make_phone()
    room = {"roomId": (await match(one, other))["roomId"]}
    first = await dial_bare(server, one.learner)
    while True:
        second = await dial_bare(server, other.learner)
        if (worker(first) == worker(second)) == (request.param == "on one worker"):
            break
        await second.hang_up()
    yield first, second, room
    for each in (first, second):
        await each.hang_up()


def worker(end: BareSocket) -> str:
    welcome = next(frame for frame in end.heard if frame.startswith("40{"))
    return str(json.loads(welcome[2:])["sid"]).partition(".")[0]


def acks(end: BareSocket) -> list[int]:
    return [int(frame[2 : frame.index("[")]) for frame in end.heard if frame.startswith("43")]


def candidates(end: BareSocket) -> list[str]:
    heard = [json.loads(frame[2:]) for frame in end.heard if frame.startswith('42["webrtc_ice"')]
    return [payload["candidate"]["candidate"] for _, payload in heard]


def ice(room: dict[str, str], number: int) -> dict[str, object]:
    return {**room, "candidate": {"candidate": str(number)}}


async def test_what_follows_a_join_at_once_comes_after_it(ends: Ends) -> None:
    caller, receiver, room = ends
    await caller.send(event("join_room", room, 0))
    await caller.hears("430[")
    frames = [event("join_room", room, 0), event("webrtc_answer", {**room, "sdp": "v=0"}, 1)]
    frames += [event("webrtc_ice", ice(room, number), number) for number in range(2, 52)]
    await receiver.send(*frames)
    await receiver.hears("4351[")
    assert acks(receiver) == list(range(52))
    assert all(frame.endswith('[{"ok":true}]') for frame in receiver.heard if frame.startswith("43"))
    await caller.hears('42["webrtc_ice"', count=50)
    names = [json.loads(frame[2:])[0] for frame in caller.heard if frame.startswith("42")]
    assert names == ["peer_joined", "peer_joined", "webrtc_answer", *["webrtc_ice"] * 50]


async def test_fast_and_slow_events_of_one_socket_are_answered_in_order(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.hears(f"43{number}[")
    for end in ends[:2]:
        end.heard.clear()
    slow = [
        lambda number: [event("cancel_search", {}, number)],
        lambda number: [event("webrtc_ice", {**room, "candidate": 7}, number)],
        lambda number: [event("webrtc_offer", {**room, "sdp": "a \u0000 in it"}, number)],
        lambda number: [event("join_room", room, number)],
        lambda number: [event("nobody_knows", {}, number)],
    ]
    sent = []
    for number in range(0, 400, 2):
        await caller.send(
            *slow[number // 2 % len(slow)](number), event("webrtc_ice", ice(room, number + 1), number + 1)
        )
        sent.append(str(number + 1))
    await caller.hears("43399[")
    assert acks(caller) == list(range(400))
    await receiver.hears('42["webrtc_ice"', count=200)
    assert candidates(receiver) == sent
    # What is refused is told before its ack, and neither is overtaken by the answer to the next.
    heard = [frame for frame in caller.heard if frame.startswith(('42["error', "43"))]
    for place, frame in enumerate(heard):
        if frame.startswith("43") and '"ok":false' in frame.replace(" ", ""):
            assert heard[place - 1].startswith('42["error"'), heard[place - 1 : place + 1]


async def test_an_event_in_fragments_is_not_overtaken(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.hears(f"43{number}[")
    for number in range(10, 60, 2):
        whole = event("webrtc_ice", ice(room, number), number)
        await caller.socket.send([whole[:9], whole[9:40], whole[40:]])
        await caller.send(event("webrtc_ice", ice(room, number + 1), number + 1))
    await receiver.hears('42["webrtc_ice"', count=50)
    assert candidates(receiver) == [str(number) for number in range(10, 60)]
    await caller.hears("4359[")
    assert acks(caller) == [0, *range(10, 60)]


async def test_binary_event_keeps_its_place_in_the_order(ends: Ends) -> None:
    """An event refused for its binary part is acknowledged before the event that follows the part."""
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.hears(f"43{number}[")
    await caller.send(
        '451-7["webrtc_ice",{"_placeholder":true,"num":0}]', b"\x00", event("webrtc_ice", ice(room, 8), 8)
    )
    await receiver.hears('42["webrtc_ice"')
    assert "bad_payload" in await caller.hears("437[")
    await caller.hears("438[")
    assert acks(caller) == [0, 7, 8]


async def test_hanging_up_does_not_overtake_what_was_said(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.hears(f"43{number}[")
    await caller.send(
        *(event("webrtc_ice", ice(room, number)) for number in range(200)),
        event("end_call", room, 7),
        event("webrtc_ice", ice(room, 200), 8),
    )
    await receiver.hears('42["peer_left"')
    assert candidates(receiver) == [str(number) for number in range(200)]
    assert receiver.heard[-1].startswith('42["peer_left"')
    assert "room_closed" in await caller.hears("438[") or "not_in_room" in await caller.hears("438[")
    assert acks(caller) == [0, 7, 8]


async def test_ids_of_acks_come_back_as_they_went(make_phone: MakePhone, server: Server) -> None:
    phone: Phone = await make_phone()
    bare = await dial_bare(server, phone.learner)
    for ack_id in ("0", "9", "123456789012345"):
        await bare.send(event("webrtc_ice", {"roomId": "x"}, ack_id), event("cancel_search", {}, ack_id))
        await bare.hears(f"43{ack_id}[", count=2)
    await bare.hang_up()
