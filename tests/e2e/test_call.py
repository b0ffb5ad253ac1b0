"""The main use of the product: from registration to a call in both histories."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from testing.servers import Phone

MakePhone = Callable[..., Awaitable[Phone]]


async def test_call_across_processes_is_in_both_histories(make_phone: MakePhone) -> None:
    ada = await make_phone(level="beginner")
    bob = await make_phone(level="advanced", apart_from=ada)
    assert ada.worker != bob.worker

    topic = f"travel {ada.learner.username}"
    assert await ada.send("find_partner", {"level": "all", "topic": topic}) == {"ok": True}
    assert (await ada.wait_for("searching"))["estimatedWaitSeconds"] >= 0
    assert await bob.send("find_partner", {"topic": topic.upper()}) == {"ok": True}

    to_ada, to_bob = await ada.wait_for("match_found"), await bob.wait_for("match_found")
    assert to_ada["roomId"] == to_bob["roomId"] and to_ada["sessionId"] == to_bob["sessionId"]
    assert to_ada["topic"] == to_bob["topic"] == topic
    assert to_ada["partner"] == {
        "userId": bob.learner.id,
        "displayName": bob.learner.username.title(),
        "avatarUrl": None,
        "level": "advanced",
    }
    assert to_bob["partner"]["userId"] == ada.learner.id
    assert to_ada["iceServers"][1]["username"].endswith(f":{ada.learner.id}")
    room = {"roomId": to_ada["roomId"]}

    await ada.send("join_room", room)
    assert await ada.wait_for("peer_joined") == {"role": "caller", "userId": ada.learner.id}
    await bob.send("join_room", room)
    receiver = {"role": "receiver", "userId": bob.learner.id}
    assert await bob.wait_for("peer_joined") == receiver and await ada.wait_for("peer_joined", count=2) == receiver

    assert await ada.send("webrtc_offer", {**room, "sdp": "v=0 offer"}) == {"ok": True}
    assert (await bob.wait_for("webrtc_offer"))["sdp"] == "v=0 offer"
    assert await bob.send("webrtc_answer", {**room, "sdp": "v=0 answer"}) == {"ok": True}
    assert (await ada.wait_for("webrtc_answer"))["sdp"] == "v=0 answer"
    for number in range(20):
        await ada.client.emit("webrtc_ice", {**room, "candidate": {"candidate": f"a{number}", "sdpMid": "0"}})
        await bob.client.emit("webrtc_ice", {**room, "candidate": {"candidate": f"b{number}", "sdpMid": None}})
    await ada.wait_for("webrtc_ice", count=20)
    await bob.wait_for("webrtc_ice", count=20)
    for phone, letter in ((ada, "b"), (bob, "a")):
        received = [payload["candidate"]["candidate"] for name, payload in phone.received if name == "webrtc_ice"]
        assert received == [f"{letter}{number}" for number in range(20)]

    assert await bob.send("end_call", room) == {"ok": True}
    assert await ada.wait_for("peer_left") == {"reason": "ended"}
    assert [name for name, _ in bob.received].count("peer_left") == 0

    for phone, partner, ended_by in ((ada, bob, "partner"), (bob, ada, "me")):
        page = (await phone.learner.http.get("/sessions")).json()
        assert page["nextCursor"] is None
        (call,) = page["items"]
        assert call == (await phone.learner.http.get(f"/sessions/{to_ada['sessionId']}")).json()
        assert call["id"] == to_ada["sessionId"] and call["roomId"] == to_ada["roomId"]
        assert call["partner"]["userId"] == partner.learner.id
        assert call["endedBy"] == ended_by and call["durationSeconds"] >= 0
        assert call["startedAt"] <= call["connectedAt"] <= call["endedAt"]
