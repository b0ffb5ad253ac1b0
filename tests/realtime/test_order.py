"""Order of events: those on the fast path and those beside it stay in order, in both directions."""

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
        await second.close()
    yield first, second, room
    for each in (first, second):
        await each.close()


def worker(end: BareSocket) -> str:
    welcome = next(frame for frame in end.received if frame.startswith("40{"))
    return str(json.loads(welcome[2:])["sid"]).partition(".")[0]


def acks(end: BareSocket) -> list[int]:
    return [int(frame[2 : frame.index("[")]) for frame in end.received if frame.startswith("43")]


def candidates(end: BareSocket) -> list[str]:
    payloads = [json.loads(frame[2:]) for frame in end.received if frame.startswith('42["webrtc_ice"')]
    return [payload["candidate"]["candidate"] for _, payload in payloads]


def ice(room: dict[str, str], number: int) -> dict[str, object]:
    return {**room, "candidate": {"candidate": str(number)}}


async def test_events_right_after_a_join_follow_it(ends: Ends) -> None:
    caller, receiver, room = ends
    await caller.send(event("join_room", room, 0))
    await caller.wait_for("430[")
    frames = [event("join_room", room, 0), event("webrtc_answer", {**room, "sdp": "v=0"}, 1)]
    frames += [event("webrtc_ice", ice(room, number), number) for number in range(2, 52)]
    await receiver.send(*frames)
    await receiver.wait_for("4351[")
    assert acks(receiver) == list(range(52))
    answers = [frame for frame in receiver.received if frame.startswith("43")]
    assert len(answers) == 52 and all(frame.endswith('[{"ok":true}]') for frame in answers)
    await caller.wait_for('42["webrtc_ice"', count=50)
    names = [json.loads(frame[2:])[0] for frame in caller.received if frame.startswith("42")]
    assert names == ["peer_joined", "peer_joined", "webrtc_answer", *["webrtc_ice"] * 50]


async def test_fast_and_slow_events_are_answered_in_order(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.wait_for(f"43{number}[")
    for end in ends[:2]:
        end.received.clear()
    slow = [
        lambda number: [event("cancel_search", {}, number)],
        lambda number: [event("webrtc_ice", {**room, "candidate": 7}, number)],
        lambda number: [event("webrtc_offer", {**room, "sdp": "a \u0000 in it"}, number)],
        lambda number: [event("join_room", room, number)],
        lambda number: [event("unknown_event", {}, number)],
    ]
    sent = []
    for number in range(0, 400, 2):
        await caller.send(
            *slow[number // 2 % len(slow)](number), event("webrtc_ice", ice(room, number + 1), number + 1)
        )
        sent.append(str(number + 1))
    await caller.wait_for("43399[")
    assert acks(caller) == list(range(400))
    await receiver.wait_for('42["webrtc_ice"', count=200)
    assert candidates(receiver) == sent
    # The `error` event of a refusal comes before its ack, and neither is overtaken by the next answer.
    answers = [frame for frame in caller.received if frame.startswith(('42["error', "43"))]
    refusals = [place for place, frame in enumerate(answers) if frame.startswith("43") and '"ok":false' in frame]
    assert len(refusals) == 200 * 4 // 5, "joining again alone is accepted of the five"
    for place in refusals:
        assert answers[place - 1].startswith('42["error"'), answers[place - 1 : place + 1]


async def test_fragmented_event_is_not_overtaken(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.wait_for(f"43{number}[")
    for number in range(10, 60, 2):
        whole = event("webrtc_ice", ice(room, number), number)
        await caller.socket.send([whole[:9], whole[9:40], whole[40:]])
        await caller.send(event("webrtc_ice", ice(room, number + 1), number + 1))
    await receiver.wait_for('42["webrtc_ice"', count=50)
    assert candidates(receiver) == [str(number) for number in range(10, 60)]
    await caller.wait_for("4359[")
    assert acks(caller) == [0, *range(10, 60)]


async def test_binary_event_keeps_its_place_in_the_order(ends: Ends) -> None:
    """An event refused for its binary part is acknowledged before the event that follows the part."""
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.wait_for(f"43{number}[")
    await caller.send(
        '451-7["webrtc_ice",{"_placeholder":true,"num":0}]', b"\x00", event("webrtc_ice", ice(room, 8), 8)
    )
    await receiver.wait_for('42["webrtc_ice"')
    assert "bad_payload" in await caller.wait_for("437[")
    await caller.wait_for("438[")
    assert acks(caller) == [0, 7, 8]


async def test_hang_up_does_not_overtake_signals(ends: Ends) -> None:
    caller, receiver, room = ends
    for number, end in enumerate((caller, receiver)):
        await end.send(event("join_room", room, number))
        await end.wait_for(f"43{number}[")
    await caller.send(
        *(event("webrtc_ice", ice(room, number)) for number in range(200)),
        event("end_call", room, 7),
        event("webrtc_ice", ice(room, 200), 8),
    )
    await receiver.wait_for('42["peer_left"')
    assert candidates(receiver) == [str(number) for number in range(200)]
    assert receiver.received[-1].startswith('42["peer_left"')
    assert "room_closed" in await caller.wait_for("438[") or "not_in_room" in await caller.wait_for("438[")
    assert acks(caller) == [0, 7, 8]


async def test_ack_ids_are_returned_unchanged(make_phone: MakePhone, server: Server) -> None:
    phone: Phone = await make_phone()
    bare = await dial_bare(server, phone.learner)
    for ack_id in ("0", "9", "123456789012345"):
        await bare.send(event("webrtc_ice", {"roomId": "x"}, ack_id), event("cancel_search", {}, ack_id))
        await bare.wait_for(f"43{ack_id}[", count=2)
    await bare.close()
