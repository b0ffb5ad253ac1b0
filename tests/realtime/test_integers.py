"""Integers in events: written as one, else `bad_payload`, on the fast lane and on the ordinary way."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.calls import MakePhone, call
from tests.wire import dial_bare
from tests.world import Server

WRITTEN = ["0.0", "-0.0", "1.0", "1e3", "1E0", "9e15", "9007199254740993000", "9" * 30, "-1", "true", '"1"']


@pytest.mark.parametrize("written", WRITTEN)
async def test_after_not_written_as_integer(make_phone: MakePhone, server: Server, written: str) -> None:
    """`join_room {after: 0.0}` is refused, and the partner joins."""
    ada, bob = await make_phone(), await make_phone()
    topic = {"topic": f"integers of {ada.learner.username}"}
    await asyncio.gather(ada.send("find_partner", topic), bob.send("find_partner", topic))
    room = {"roomId": (await ada.hears("match_found"))["roomId"]}
    bare = await dial_bare(server, ada.learner)
    await bare.send(f'421["join_room",{{"roomId":"{room["roomId"]}","after":{written}}}]')
    ack = json.loads((await bare.hears("431["))[3:])[0]
    assert ack["ok"] is False and ack["error"]["code"] == "bad_payload"
    assert "after" in ack["error"]["message"]
    await bare.hang_up()
    for phone in (ada, bob):
        assert (await phone.send("join_room", {**room, "after": 0}))["ok"] is True


async def test_candidate_index_not_written_as_integer(make_phone: MakePhone) -> None:
    """`sdpMLineIndex: 0.0` is refused and not relayed, and the call goes on."""
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    for index in (0.0, -0.0, 1.0, 1e3, 65536, -1):
        ack = await ada.send("webrtc_ice", {**room, "candidate": {"candidate": "", "sdpMLineIndex": index}})
        assert ack["ok"] is False and ack["error"]["code"] == "bad_payload"
    assert await ada.send("webrtc_ice", {**room, "candidate": {"candidate": "", "sdpMLineIndex": 1}}) == {"ok": True}
    await bob.hears("webrtc_ice")
    heard = [payload["candidate"]["sdpMLineIndex"] for name, payload in bob.heard if name == "webrtc_ice"]
    assert heard == [1]
