"""The relay of offers, answers and candidates: order, completeness, sizes."""

from __future__ import annotations

import asyncio

from testing.calls import (
    Pair,
    ack_code,
    call,
    candidates,
    event_names,
    match,
)
from testing.servers import Phone


async def test_thousand_candidates_arrive_once_and_in_order(pair: Pair) -> None:
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
        await phone.wait_for("webrtc_ice", count=1000, within=20)
        assert candidates(phone) == sent[partner.learner.id]
        assert "error" not in event_names(phone)


async def test_mixed_events_keep_their_order(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    caller.received.clear()
    receiver.received.clear()
    for number in range(50):
        await caller.client.emit("webrtc_ice", {**room, "candidate": {"candidate": str(number)}})
        await caller.client.emit("webrtc_offer", {**room, "sdp": str(number)})
    await caller.client.emit("end_call", room)
    await receiver.wait_for("peer_left")
    numbers = [payload.pop("seq") for name, payload in receiver.received if name.startswith("webrtc")]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert receiver.received == [
        *(
            event
            for number in map(str, range(50))
            for event in (("webrtc_ice", {"candidate": {"candidate": number}}), ("webrtc_offer", {"sdp": number}))
        ),
        ("peer_left", {"reason": "ended"}),
    ]
    assert caller.received == []


async def test_unacknowledged_events_are_handled_in_order(pair: Pair) -> None:
    """A client that sends without waiting for acks is served in the order of its events."""
    caller, receiver = pair
    room = {"roomId": (await match(caller, receiver))["roomId"]}
    await caller.send("join_room", room)
    caller.received.clear()
    receiver.received.clear()
    for event, payload in (
        ("join_room", room),
        ("webrtc_ice", {**room, "candidate": None}),
        ("webrtc_answer", {**room, "sdp": "v=0"}),
        ("end_call", room),
        ("find_partner", {"topic": f"next {receiver.learner.username}"}),
        ("cancel_search", {}),
    ):
        await receiver.client.emit(event, payload)
    await caller.wait_for("peer_left")
    assert event_names(caller) == ["peer_joined", "webrtc_ice", "webrtc_answer", "peer_left"]
    assert (await receiver.send("cancel_search"))["error"]["code"] == "not_searching"
    assert event_names(receiver) == ["peer_joined", "searching", "error"]


async def test_description_of_at_most_32768_characters(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    line = "a=candidate:842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 0.0.0.0 rport 0\r\n"
    for sent, sdp in enumerate(("x" * 32768, ("v=0\r\ns=café\r\n" + line * 400)[:32768]), start=1):
        assert len(sdp) == 32768
        assert await caller.send("webrtc_offer", {**room, "sdp": sdp}) == {"ok": True}
        assert (await receiver.wait_for("webrtc_offer", count=sent))["sdp"] == sdp
        refused = await caller.send("webrtc_offer", {**room, "sdp": sdp + "x"})
        assert ack_code(refused) == "bad_payload" and "sdp" in refused["error"]["message"]
    assert await receiver.send("webrtc_answer", {**room, "sdp": "v=0"}) == {"ok": True}
    assert event_names(receiver).count("webrtc_offer") == 2


async def test_candidate_of_at_most_4096_characters(pair: Pair) -> None:
    caller, receiver = pair
    room = await call(caller, receiver)
    longest = {"candidate": "x" * 4096, "sdpMid": "y" * 256, "usernameFragment": "z" * 256, "sdpMLineIndex": 65535}
    assert await receiver.send("webrtc_ice", {**room, "candidate": longest}) == {"ok": True}
    assert (await caller.wait_for("webrtc_ice"))["candidate"] == longest
    for change in ({"candidate": "x" * 4097}, {"sdpMid": "y" * 257}, {"sdpMLineIndex": 65536}, {"sdpMLineIndex": -1}):
        ack = await receiver.send("webrtc_ice", {**room, "candidate": {**longest, **change}})
        assert ack_code(ack) == "bad_payload"
    assert len(candidates(caller)) == 1
