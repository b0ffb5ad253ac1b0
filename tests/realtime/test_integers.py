"""Integers in events: others are refused with `bad_payload`, on the fast lane and the ordinary path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from testing.calls import MakePhone, call
from testing.raw_websockets import dial_bare
from testing.servers import Server, start_server, stop_server

WRITTEN = ["0.0", "-0.0", "1.0", "1e0", "1e3", "1E0", "9e15", "9007199254740993000", "9" * 30, "-1", "true", '"1"']


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast-lane", "ordinary"])
def server(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    variables = {**environment, "EVENTS_FAST_LANE": request.param}
    running = start_server(variables, tmp_path_factory.mktemp("integers") / "server.log", workers=1)
    yield running
    stop_server(running)


async def test_after_not_written_as_integer(make_phone: MakePhone, server: Server) -> None:
    """`join_room {after: 0.0}` is refused, and the partner joins without an error."""
    ada, bob = await make_phone(), await make_phone()
    topic = {"topic": f"integers of {ada.learner.username}"}
    await asyncio.gather(ada.send("find_partner", topic), bob.send("find_partner", topic))
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    bare = await dial_bare(server, ada.learner)
    for number, written in enumerate(WRITTEN, 10):
        await bare.send(f'42{number}["join_room",{{"roomId":"{room["roomId"]}","after":{written}}}]')
        ack = json.loads((await bare.wait_for(f"43{number}["))[4:])[0]
        assert (ack["ok"], ack["error"]["code"]) == (False, "bad_payload"), written
        assert "after" in ack["error"]["message"], written
    await bare.close()
    for phone in (ada, bob):
        assert (await phone.send("join_room", {**room, "after": 0}))["ok"] is True
        assert "error" not in [name for name, _ in phone.received]


async def test_candidate_index_not_written_as_integer(make_phone: MakePhone, server: Server) -> None:
    """`sdpMLineIndex: 0.0` is refused and not relayed, and the call goes on."""
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    bare = await dial_bare(server, ada.learner)
    await bare.send(f'421["join_room",{json.dumps(room)}]')
    assert '"ok":true' in await bare.wait_for("431[")
    for number, written in enumerate([*WRITTEN, "65536", "65535.0"], 10):
        candidate = f'{{"candidate":"refused","sdpMLineIndex":{written}}}'
        await bare.send(f'42{number}["webrtc_ice",{{"roomId":"{room["roomId"]}","candidate":{candidate}}}]')
        ack = json.loads((await bare.wait_for(f"43{number}["))[4:])[0]
        assert (ack["ok"], ack["error"]["code"]) == (False, "bad_payload"), written
    await bare.send(
        f'429["webrtc_ice",{{"roomId":"{room["roomId"]}","candidate":{{"candidate":"","sdpMLineIndex":1}}}}]'
    )
    assert '"ok":true' in await bare.wait_for("439[")
    await bob.wait_for("webrtc_ice")
    assert [payload["candidate"] for name, payload in bob.received if name == "webrtc_ice"] == [
        {"candidate": "", "sdpMLineIndex": 1}
    ]
    await bare.close()
