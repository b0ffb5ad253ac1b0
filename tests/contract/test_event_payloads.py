"""Events with valid, invalid and odd payloads, sent by a Socket.IO client: each is acknowledged within the contract."""

from __future__ import annotations

from typing import Any

import pytest
from schemathesis import GenerationMode

from testing import wire_recording
from testing.calls import MakePhone
from testing.time_limits import limit
from tests.contract.event_payloads import (
    CLIENT_EVENTS,
    EXAMPLES,
    NOWHERE,
    check_ack,
    check_received,
    fits_a_frame,
    is_storable,
    is_written_as_asked,
    make_validator,
    payloads,
)

pytestmark = pytest.mark.usefixtures("quiet_log")


@pytest.mark.parametrize("event", CLIENT_EVENTS)
async def test_valid_payloads_are_accepted_and_others_refused(make_phone: MakePhone, event: str) -> None:
    phone = await make_phone()
    accepts = make_validator(CLIENT_EVENTS[event])
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
    check_received(phone)


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
    check_received(caller, receiver)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


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
        accepts = make_validator(schema)
        for shape, payload in RAW_SHAPES.items():
            if payload in ((), (None,)):
                is_good = accepts({})
            else:
                is_good = not isinstance(payload, tuple) and is_storable(payload) and accepts(payload)
            try:
                ack = await phone.client.call(event, payload, timeout=limit(15))
                wire_recording.event(event, payload, ack)
                check_ack(ack, (event, shape))
                is_refused = not ack["ok"] and ack["error"]["code"] == "bad_payload"
                assert is_refused is not is_good, f"{event} with {shape} was answered {ack}"
            except Exception as error:
                problems.append(f"{event} with {shape}: {type(error).__name__} {error}")
                if not phone.client.connected:
                    phone = await make_phone()
    assert not problems, "\n".join(problems)
    check_received(phone)


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
        ack = await phone.client.call(name, payload, timeout=limit(15))
        check_ack(ack, (name, payload))
        assert ack["error"]["code"] == "bad_payload"
    assert (await bystander.send("cancel_search"))["error"]["code"] == "not_searching"
    assert [event for event, _ in bystander.received] == ["error"], "another client was affected"
