"""Owns what a hostile or broken client can send: every event is answered within the contract, every odd frame too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis
import websockets
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as generation
from schemathesis import GenerationMode
from websockets.asyncio.client import ClientConnection, connect

import texts
from contract import schemas
from testing import wire_recording
from testing.client_internals import close_connection
from testing.servers import Learner, Phone, Server
from testing.time_limits import limit

MakePhone = Callable[..., Awaitable[Phone]]

DOCUMENT = schemas.load(schemas.ASYNCAPI)
EXAMPLES = 50


def _message(reference: dict[str, Any]) -> dict[str, Any]:
    return schemas.follow(reference["messages"][0], DOCUMENT)


#: Client events, and what the server may send: the name and the schema of the payload.
CLIENT_EVENTS = {
    _message(operation)["name"]: _message(operation)["payload"]
    for operation in DOCUMENT["operations"].values()
    if operation["action"] == "receive"
}
SERVER_EVENTS = {
    _message(operation)["name"]: _message(operation)["payload"]
    for operation in DOCUMENT["operations"].values()
    if operation["action"] == "send"
}
ACK = DOCUMENT["components"]["messages"]["ack"]["payload"]
CODES = DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]


def _for_python(node: Any) -> Any:
    """The schema for Python's regular expressions, where `$` also matches before a last newline."""
    if isinstance(node, dict):
        return {key: _for_python(value) for key, value in node.items()} | (
            {"pattern": node["pattern"].removesuffix("$") + r"\Z"} if isinstance(node.get("pattern"), str) else {}
        )
    return [_for_python(item) for item in node] if isinstance(node, list) else node


def judge(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """A second opinion, by another validator than the server's."""
    components = _for_python(DOCUMENT["components"]["schemas"])
    validator = jsonschema.Draft202012Validator({**schema, "components": {"schemas": components}})
    accepts: Callable[[Any], bool] = validator.is_valid
    return accepts


def is_storable(value: Any) -> bool:
    """Whether every string is text that PostgreSQL takes, and nothing is binary."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return all(is_storable(key) and is_storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_storable(item) for item in value)
    return not isinstance(value, bytes)


def is_written_as_asked(value: Any, field: str = "") -> bool:
    """Whether every number, which are integers all, is written as one, and each topic is a text for others."""
    if isinstance(value, dict):
        return all(is_written_as_asked(item, str(key)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_written_as_asked(item, field) for item in value)
    if field == "topic" and isinstance(value, str):
        return texts.find_fault(value, texts.Kind.LINE, min_length=1, max_length=60) is None
    return not isinstance(value, float)


def payloads(schema: dict[str, Any], mode: GenerationMode) -> list[Any]:
    """Payloads for a schema, or against it; the same ones in every run."""
    operation = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "unused"}},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "one event", "version": "1"},
        "paths": {"/ev": {"post": operation}},
        "components": {"schemas": DOCUMENT["components"]["schemas"]},
    }
    found: list[Any] = []

    @generation(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schemathesis.openapi.from_dict(document)["/ev"]["POST"].as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case.body)

    collect()
    return found


def fits_a_frame(payload: Any) -> bool:
    return isinstance(payload, bytes) or len(json.dumps(payload, default=lambda _: "binary")) < 60_000


def check_ack(ack: Any, context: object) -> None:
    assert judge(ACK)(ack), f"{context}: the ack {ack} is not what the contract says"
    if not ack["ok"]:
        assert ack["error"]["code"] in CODES, context
        assert ack["error"]["code"] != "internal", f"{context}: {ack}"


def check_heard(*phones: Phone) -> None:
    for phone in phones:
        for name, payload in phone.received:
            assert name in SERVER_EVENTS, f"{name} is not an event of the contract"
            assert judge(SERVER_EVENTS[name])(payload), f"{name}: {payload} is not what the contract says"
            assert name != "error" or payload["code"] != "internal", payload


@pytest.fixture(autouse=True)
def quiet_log(server: Server) -> Iterator[None]:
    """No test here may leave a traceback in the server's log, but for the one that uvicorn writes by itself."""
    start = server.log.stat().st_size
    yield
    with server.log.open("rb") as log:
        log.seek(start)
        written = log.read().decode(errors="replace")
    by_uvicorn = written.count("Invalid UTF-8 sequence received from client.")
    assert written.count("Traceback") == written.count(" ERROR ") == by_uvicorn, written[-6000:]


# --- Events through a Socket.IO client ----------------------------------------------------------


@pytest.mark.parametrize("event", CLIENT_EVENTS)
async def test_valid_payloads_are_accepted_and_others_refused(make_phone: MakePhone, event: str) -> None:
    phone = await make_phone()
    accepts = judge(CLIENT_EVENTS[event])
    sent = [
        payload
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for payload in payloads(CLIENT_EVENTS[event], mode)
        if fits_a_frame(payload)
    ]
    good, bad = 0, 0
    for payload in sent:
        is_storable_as_asked = is_storable(payload) and is_written_as_asked(payload)
        is_good = accepts({} if payload is None else payload) and is_storable_as_asked
        good, bad = good + is_good, bad + (not is_good)
        ack = await phone.send(event, payload)
        check_ack(ack, (event, payload))
        is_refused = not ack["ok"] and ack["error"]["code"] == "bad_payload"
        assert is_refused is not is_good, f"{event} with {payload!r} was answered {ack}"
    assert good and bad > EXAMPLES / 2
    check_heard(phone)


async def test_relayed_payload_reaches_the_partner_unchanged(make_phone: MakePhone) -> None:
    caller = await make_phone()
    receiver = await make_phone(apart_from=caller)
    topic = f"relay {caller.learner.username}"
    for phone in (caller, receiver):
        await phone.send("find_partner", {"topic": topic})
    room = {"roomId": (await caller.wait_for("match_found"))["roomId"]}
    for phone in (caller, receiver):
        await phone.send("join_room", room)
    await caller.wait_for("peer_joined", count=2)

    for event, sender, other in (
        ("webrtc_offer", caller, receiver),
        ("webrtc_answer", receiver, caller),
        ("webrtc_ice", caller, receiver),
        ("webrtc_ice", receiver, caller),
    ):
        before = len([name for name, _ in other.received if name == event])
        relayed = []
        for payload in payloads(CLIENT_EVENTS[event], GenerationMode.POSITIVE):
            ack = await sender.send(event, {**payload, **room})
            check_ack(ack, (event, payload))
            if ack["ok"]:
                relayed.append({key: value for key, value in payload.items() if key != "roomId"})
            else:
                assert not (is_storable(payload) and is_written_as_asked(payload))
                assert ack["error"]["code"] == "bad_payload"
        assert len(relayed) > EXAMPLES / 4
        await other.wait_for(event, count=before + len(relayed))
        received = [dict(payload) for name, payload in other.received if name == event][before:]
        numbers = [payload.pop("seq") for payload in received]
        assert received == relayed and numbers == sorted(set(numbers))
    check_heard(caller, receiver)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


NOWHERE = "00000000-0000-4000-8000-000000000000"
#: What no schema generator thinks of. A tuple is that many arguments.
RAW_SHAPES: dict[str, Any] = {
    "no payload": (),
    "null": (None,),
    "two objects": ({}, {}),
    "three nulls": (None, None, None),
    "a hundred arguments": tuple(range(100)),
    "an array": [],
    "an array of an object": [{}],
    "zero": 0,
    "a number": 3.5,
    "a number of more than 64 bits": 2**70,
    "a negative number of more than 64 bits": -(2**70),
    "not a number": float("nan"),
    "infinity": float("inf"),
    "true": True,
    "false": False,
    "an empty string": "",
    "a string": "find me",
    "a string with NUL": "a\x00b",
    "half of a surrogate pair": "\ud83d",
    "the halves in the wrong order": "\ude00\ud83d",
    "a huge string": "x" * 60_000,
    "a huge key": {"k" * 60_000: 1},
    "many keys": {f"key{number}": number for number in range(3000)},
    "nested a little": nested(50),
    "nested in an object": {"level": nested(60), "roomId": nested(60)},
    "binary": b"\x00\xff",
    "no bytes": b"",
    "binary in an object": {"level": b"all", "topic": b"travel", "roomId": b"\x00" * 36, "sdp": b"v=0"},
    "binary twice": {"candidate": {"candidate": b"1", "sdpMid": b"2"}},
    "binary beside an object": ({}, b"more"),
    "NUL in every field": {"level": "\x00", "topic": "\x00", "roomId": "\x00" * 36, "sdp": "\x00", "candidate": "\x00"},
    "NUL in a description": {"roomId": NOWHERE, "sdp": "v=0\x00"},
    "half a pair in a description": {"roomId": NOWHERE, "sdp": "v=0\ud83d"},
    "a room and nothing else": {"roomId": NOWHERE},
    "a candidate without its text": {"roomId": NOWHERE, "candidate": {"sdpMid": "0"}},
    "NUL in a candidate": {"roomId": NOWHERE, "candidate": {"candidate": "\x00"}},
    "half a pair in a candidate": {"roomId": NOWHERE, "candidate": {"candidate": "", "sdpMid": "\ude00"}},
    "NUL in a topic": {"topic": "tra\x00vel"},
    "half a pair in a topic": {"topic": "\ud83d"},
    "NUL in a key": {"\x00": 1},
    "half a pair in a key": {"\ud83d": 1},
    "infinity in a field": {"level": float("inf"), "roomId": float("-inf"), "candidate": float("nan")},
    "numbers of more than 64 bits in fields": {"level": 2**70, "roomId": 2**70, "candidate": 2**70},
    "a prototype": {"__proto__": {"level": "all"}, "constructor": {"prototype": {}}},
    "a placeholder": {"_placeholder": True, "num": 0},
    "a JSON string of the payload": '{"level": "all"}',
}


async def test_raw_payloads_are_acknowledged_and_keep_the_socket(make_phone: MakePhone) -> None:
    phone = await make_phone()
    problems = []
    for event, schema in CLIENT_EVENTS.items():
        accepts = judge(schema)
        for shape, payload in RAW_SHAPES.items():
            if payload in ((), (None,)):
                is_good = accepts({})
            else:
                is_good = not isinstance(payload, tuple) and is_storable(payload) and accepts(payload)
            try:
                ack = await phone.client.call(event, payload, timeout=15)
                wire_recording.event(event, payload, ack)
                check_ack(ack, (event, shape))
                is_refused = not ack["ok"] and ack["error"]["code"] == "bad_payload"
                assert is_refused is not is_good, f"{event} with {shape} was answered {ack}"
            except Exception as error:
                problems.append(f"{event} with {shape}: {type(error).__name__} {error}")
                if not phone.client.connected:
                    phone = await make_phone()
    assert not problems, "\n".join(problems)
    check_heard(phone)


@pytest.mark.parametrize(
    "name",
    [
        "nothing_of_ours",
        "",
        " ",
        "*",
        "error",
        "message",
        "connect_error",
        "__proto__",
        "é",
        "\x00",
        "\ud83d",
        "x" * 5000,
    ],
)
async def test_unknown_event_is_a_bad_payload(make_phone: MakePhone, name: str) -> None:
    phone, bystander = await make_phone(), await make_phone()
    shapes: tuple[Any, ...] = ({}, None, (), bystander.client.get_sid(), ({}, {}))
    for payload in shapes:
        ack = await phone.client.call(name, payload, timeout=15)
        check_ack(ack, (name, payload))
        assert ack["error"]["code"] == "bad_payload"
    assert (await bystander.send("cancel_search"))["error"]["code"] == "not_searching"
    assert [event for event, _ in bystander.received] == ["error"], "another client was affected"


# --- Frames over a bare WebSocket ---------------------------------------------------------------


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
    async with asyncio.timeout(10):
        while (await phone.send("find_partner", {"topic": topic}))["ok"] is False:
            await asyncio.sleep(0.02)
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
