"""Odd frames over a bare WebSocket: each is answered within the contract, or closes its connection alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from testing.calls import MakePhone
from testing.client_internals import close_connection
from testing.polling import eventually
from testing.servers import Learner, Server
from testing.time_limits import limit
from tests.contract.event_payloads import check_ack

pytestmark = pytest.mark.usefixtures("quiet_log")


@dataclass
class Wire:
    """A WebSocket to the Socket.IO endpoint, without a client that knows the protocol."""

    socket: ClientConnection

    async def send(self, frame: str | bytes | list[str | bytes]) -> None:
        with suppress(websockets.ConnectionClosed):  # the server may close before it has read all
            await self.socket.send(frame)

    async def receive(self, *, within: float = 10) -> str | None:
        """The next frame that is not a ping; None where the connection is closed. Fails on silence."""
        try:
            async with asyncio.timeout(limit(within)):
                while True:
                    frame = await self.socket.recv()
                    if frame not in ("2", "1"):
                        assert isinstance(frame, str)
                        return frame
        except websockets.ConnectionClosed:
            return None
        except TimeoutError:
            raise AssertionError("silence") from None


Dial = Callable[..., Awaitable[Wire]]


@pytest.fixture
async def wire(server: Server) -> AsyncIterator[Dial]:
    """Open bare connections; with a learner, ones that are through the handshake."""
    opened: list[ClientConnection] = []

    async def dial(learner: Learner | None = None) -> Wire:
        url = f"{server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        opened.append(await connect(url, max_size=None, compression=None))
        wire = Wire(opened[-1])
        hello = await wire.receive()
        assert hello is not None and json.loads(hello.removeprefix("0"))["maxPayload"] == 64 * 1024
        if learner is not None:
            await wire.send("40" + json.dumps({"token": learner.access_token}))
            welcome = await wire.receive()
            assert welcome is not None and welcome.startswith('40{"sid":')
        return wire

    yield dial
    for socket in opened:
        await close_connection(socket)


DEEP = "[" * 30_000
#: Frames sent one after another on one connection that is through the handshake.
ODD_FRAMES: dict[str, list[str | bytes]] = {
    # Engine.IO
    "an empty frame": [""],
    "an empty binary frame": [b""],
    "no packet type": ["x"],
    "an unknown packet type": ["9"],
    "another unknown packet type": ["7abc"],
    "the server's own open packet": ["0{}"],
    "a ping, which is the server's to send": ["2"],
    "an upgrade nobody offered": ["5"],
    "a probe": ["2probe"],
    "a no-op": ["6"],
    "broken base64": ["b!!!"],
    "base64": ["bAAAA"],
    "a digit that is not ASCII": ["²"],
    "a message without content": ["4"],
    "a message of a space": ["4 "],
    "a message of an object": ['4{"a":1}'],
    "a message of an array": ["4[1]"],
    "a message of null": ["4null"],
    "a message of a string": ['4"x"'],
    "a message of a negative number": ["4-1"],
    "a message nested beyond any parser": ["4" + DEEP],
    # Socket.IO
    "an unknown Socket.IO packet type": ["47"],
    "another unknown Socket.IO packet type": ["49[]"],
    "a Socket.IO type that is not ASCII": ["4²"],
    "a connect error from the client": ['44{"message":"no"}'],
    "an event without data": ["42"],
    "an event of null": ["42null"],
    "an event of an object": ["42{}"],
    "an event of a string": ['42"find_partner"'],
    "an event of a number": ["42-1"],
    "an empty event": ["42[]"],
    "an event without a name": ["42[{}]"],
    "a number as a name": ["42[1,{}]"],
    "null as a name": ["42[null,{}]"],
    "a list as a name": ['42[["find_partner"]]'],
    "an object as a name": ['42[{"a":1}]'],
    "a huge number as a name": [f"42[{'9' * 4000}]"],
    "a number beyond Python's": [f'42["find_partner",{"9" * 5000}]'],
    "the reserved name connect": ['42["connect",{}]'],
    "the reserved name disconnect": ['42["disconnect",{}]'],
    "the name that catches all": ['42["*",{}]'],
    "cut JSON": ['42["find_partner"'],
    "JSON and more": ['42["find_partner"]]'],
    "an event nested beyond any parser": ['42["find_partner",' + DEEP],
    "objects nested beyond any parser": ['42["find_partner",' + '{"a":' * 12_000],
    "an id of 150 digits": ["42" + "9" * 150 + '["find_partner"]'],
    "an id that is not ASCII": ['42²["find_partner"]'],
    "an event for another namespace": ['42/other,["find_partner",{}]'],
    "an event with an id for another namespace": ['42/other,7["find_partner",{}]'],
    "connecting again": ["40"],
    "connecting to another namespace": ["40/other,"],
    "connecting to another namespace with a token": ['40/admin,{"token":"x"}'],
    "an event after leaving": ["41", '42["cancel_search"]'],
    "an ack nobody asked for": ["431[]"],
    "an ack without an id": ["43[]"],
    "an ack of an object": ["430{}"],
    "an ack without data": ["431"],
    "an ack for another namespace": ["43/other,1[]"],
    "a binary frame nobody announced": [b"\x00"],
    "a binary frame that looks like an event": [b'2["find_partner"]'],
    "a binary event": ['451-["find_partner",{"_placeholder":true,"num":0}]', b"\x00"],
    "a binary event of no attachments": ['450-["find_partner",{}]'],
    "a binary event that awaits more than it may": ['459999999-["find_partner",{"_placeholder":true,"num":0}]'],
    "a binary event of too many attachments": ['4599999999999-["find_partner"]'],
    "a binary event without a count": ['45["find_partner",{"_placeholder":true,"num":0}]'],
    "a placeholder out of range": ['451-["find_partner",{"_placeholder":true,"num":5}]', b"\x00"],
    "a placeholder that is no number": ['451-["find_partner",{"_placeholder":true,"num":"0"}]', b"\x00"],
    "a binary event of no event": ["451-{}", b"\x00"],
    "a binary event without a name": ['451-[{"_placeholder":true,"num":0}]', b"\x00"],
    "a binary event for another namespace": ['451-/other,["find_partner",{"_placeholder":true,"num":0}]', b"\x00"],
    "text in place of an attachment": ['451-["find_partner",{"_placeholder":true,"num":0}]', '42["cancel_search"]'],
    "a binary ack nobody asked for": ['461-1[{"_placeholder":true,"num":0}]', b"\x00"],
    # Size
    "a text frame over 64 KB": ["42" + json.dumps(["find_partner", "x" * 70_000])],
    "a binary frame over 64 KB": [b"x" * 70_000],
    "a megabyte": ["4" * 1_000_000],
}


async def test_odd_frames_affect_their_connection_alone(make_phone: MakePhone, wire: Dial) -> None:
    bystander = await make_phone()
    learner = (await make_phone()).learner
    problems = []
    for case, frames in ODD_FRAMES.items():
        one = await wire(learner)
        try:
            for frame in frames:
                await one.send(frame)
            answer = await one.receive()
            if answer is not None:
                # The connection that was not closed goes on working.
                await one.send('4277["cancel_search",{}]')
                while answer is not None and not answer.startswith("4377["):
                    answer = await one.receive()
                    assert answer is None or "internal" not in answer, answer
        except AssertionError as problem:
            problems.append(f"{case}: {problem}")
    assert not problems, "\n".join(problems)
    assert (await bystander.send("cancel_search"))["error"]["code"] == "not_searching"
    assert [name for name, _ in bystander.received] == ["error"]


#: Frames that ask, under the id 7, for an acknowledgement.
ODD_QUESTIONS: list[list[str | bytes]] = [
    ["427[1,{}]"],
    ['427["connect",{}]'],
    ['427["disconnect",{}]'],
    ['427["*",{}]'],
    ['427["nothing of ours",{}]'],
    ['427["find_partner",NaN]'],
    ['451-7["find_partner",{"_placeholder":true,"num":0}]', b"\x00"],
    ['452-7["find_partner",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"\x00", b"\x01"],
    ['451-7["find_partner",{"_placeholder":true,"num":1}]', b"\x00"],
    ['450-7["find_partner",{}]'],
]
for depth in (50, 120, 130, 250, 500, 700):
    ODD_QUESTIONS.append(['427["find_partner",' + "[" * depth + "]" * depth + "]"])
    ODD_QUESTIONS.append(['427["find_partner",' + '{"level":' * depth + "1" + "}" * depth + "]"])


async def test_odd_frame_with_an_ack_id_is_acknowledged(make_phone: MakePhone, wire: Dial) -> None:
    learner = (await make_phone()).learner
    for frames in ODD_QUESTIONS:
        one = await wire(learner)
        for frame in frames:
            await one.send(frame)
        received = [await one.receive()]
        while received[-1] is not None and not received[-1].startswith("43"):
            received.append(await one.receive())
        assert received[-1] is not None and received[-1].startswith("437["), (frames, received)
        (ack,) = json.loads(received[-1].removeprefix("437"))
        check_ack(ack, frames)
        assert ack["error"]["code"] == "bad_payload", (frames, ack)


@pytest.mark.parametrize(
    "frame",
    [
        '42["find_partner",{}]',
        '421["find_partner",{}]',
        '451-["find_partner",{"_placeholder":true,"num":0}]',
        "431[]",
        "42[]",
        "47",
        "hello",
        "",
        b"\x00",
        "4" + DEEP,
    ],
    ids=lambda frame: repr(frame[:20]),
)
async def test_event_before_the_handshake_ends_the_connection(wire: Dial, frame: str | bytes) -> None:
    stranger = await wire()
    await stranger.send(frame)
    assert await stranger.receive() is None


@pytest.mark.parametrize("frame", ["x", "", "9", "4" + DEEP, "4" * 70_000], ids=lambda frame: repr(frame[:8]))
async def test_searcher_closed_for_an_odd_frame_leaves_the_queue(make_phone: MakePhone, wire: Dial, frame: str) -> None:
    phone = await make_phone()
    topic = f"odd frame {phone.learner.username}"
    one = await wire(phone.learner)
    await one.send(f'42["find_partner",{{"topic":"{topic}"}}]')
    received = await one.receive()
    assert received is not None and received.startswith('42["searching"')
    await one.send(frame)
    while (received := await one.receive()) is not None:
        assert "bad_payload" in received

    async def searches_again() -> bool:
        return bool((await phone.send("find_partner", {"topic": topic}))["ok"])

    await eventually(searches_again, "the search of the closed connection is gone")
    await phone.wait_for("searching")


async def test_refused_handshake_can_be_repeated(make_phone: MakePhone, wire: Dial) -> None:
    learner = (await make_phone()).learner
    for auth in ("", "[]", "0", '"token"', "{}", '{"token":null}', '{"token":["x"]}', '{"token":"\\u0000\\ud83d"}'):
        one = await wire()
        await one.send(f"40{auth}")
        assert await one.receive() == '44{"message":"unauthenticated"}', auth
        await one.send("40" + json.dumps({"token": learner.access_token}))
        welcome = await one.receive()
        assert welcome is not None and welcome.startswith('40{"sid":'), auth


async def test_fragmented_message_counts_as_one_frame(make_phone: MakePhone, wire: Dial) -> None:
    learner = (await make_phone()).learner
    one = await wire(learner)
    await one.send(['427["can', "cel_se", 'arch",{}]'])
    received = [await one.receive(), await one.receive()]
    assert any(frame is not None and frame.startswith("437[") for frame in received)
    await one.send(["4", *(["x" * 1000] * 80)])
    assert await one.receive() is None


async def test_invalid_utf_8_ends_the_connection(make_phone: MakePhone, wire: Dial) -> None:
    one = await wire((await make_phone()).learner)
    await one.socket.send(b"42[\xff\xfe]", text=True)
    assert await one.receive() is None


async def test_websocket_to_another_path_is_refused(server: Server) -> None:
    for path in ("/", "/users/me", "/socket.io", "/socket.io/?EIO=3&transport=websocket", "/socket.io/?EIO=4"):
        with pytest.raises(websockets.InvalidStatus):
            await connect(server.url.replace("http", "ws") + path)
