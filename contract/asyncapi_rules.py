"""Rules of the project for asyncapi.yaml, beside those of AsyncAPI itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import inflection

from contract.lint_rules import (
    Document,
    Part,
    Place,
    Problem,
    as_list,
    broken_references,
    false_examples,
    follow,
    input_rules,
    is_object,
    property_rules,
    rate_limit_problems,
    text_filter_problems,
    unused_components,
    walk,
)

_MODULE = r"realtime\.[a-z][a-z0-9_]*"
#: The participant of `x-sequences` that is not a client, and the events of Socket.IO itself that a client causes.
_SERVER = "Server"
_CONNECTION_EVENTS = frozenset({"connect", "disconnect"})
_STEP_KEYS = frozenset({"from", "to", "event", "note"})


def asyncapi_problems(document: Document) -> list[Problem]:
    """List where asyncapi.yaml breaks the project's rules; `lint.asyncapi_diagnostics` checks it against AsyncAPI."""
    return [*broken_references(document)] or [*_rules(document)]


def _rules(document: Document) -> Iterator[Problem]:
    channels = document.get("channels", {})
    if list(channels) != ["root"] or channels["root"].get("address") != "/":
        yield ("channels",), "there is one channel, `root`, whose address is the namespace `/`"
    inputs: list[Part] = []
    for key, operation in document.get("operations", {}).items():
        place = ("operations", key)
        for below, message in _operation_rules(document, key, operation):
            yield (*place, *below), message
        if operation["action"] == "receive":
            for at, sent in _messages(document, place, operation):
                inputs.append(((*at, "payload"), sent.get("payload")))
    for name, message in document.get("components", {}).get("messages", {}).items():
        for below, problem in _message_rules(message):
            yield ("components", "messages", name, *below), problem
    yield from _sequence_rules(document)
    yield from _unnamed_schemas(document)
    yield from property_rules(document)
    yield from text_filter_problems(document)
    yield from input_rules(document, inputs)
    yield from unused_components(document)
    yield from false_examples(document)


def _operation_rules(document: Document, key: str, operation: Document) -> Iterator[Problem]:
    receives = operation["action"] == "receive"
    for field in ("summary", "description"):
        if not operation.get(field):
            yield (field,), f"an operation has a {field}"
    tags = as_list(operation.get("tags"))
    if len(tags) != 1 or tags[0] not in as_list(document["info"].get("tags")):
        yield ("tags",), "an operation has one tag, a $ref that is also in `info`"
    names = [message.get("name") for _, message in _messages(document, (), operation)]
    if len(names) != 1:
        yield ("messages",), "an operation has one message, whose name is that of the event"
    elif key != operation_key(str(names[0]), receives=receives):
        yield (), f"the key of {names[0]} should be {operation_key(str(names[0]), receives=receives)}"
    if receives != ("x-handler" in operation) or (
        receives and not re.fullmatch(_MODULE, str(operation.get("x-handler")))
    ):
        yield ("x-handler",), "what a client sends, and nothing else, names its module, realtime.<module>"
    if receives and len(operation.get("reply", {}).get("messages", [])) != 1:
        yield ("reply",), "what a client sends is acknowledged: the reply needs one message"
    if receives != ("x-codes" in operation):
        yield ("x-codes",), "what a client sends, and nothing else, lists the codes it may be refused with"
    known = document.get("components", {}).get("schemas", {}).get("ErrorCode", {}).get("enum", [])
    for index, code in enumerate(as_list(operation.get("x-codes"))):
        if code not in known:
            yield ("x-codes", index), "should be one of ErrorCode"
    if not receives and "reply" in operation:
        yield ("reply",), "clients do not acknowledge what the server sends"
    yield from rate_limit_problems(operation)


def operation_key(event: str, *, receives: bool) -> str:
    """Return the key of an event's operation: `join_room` is `joinRoom`, and `peer_left` of the server `onPeerLeft`."""
    return inflection.camelize(event if receives else f"on_{event}", uppercase_first_letter=False)


def _message_rules(message: Document) -> Iterator[Problem]:
    if not message.get("payload", {}).get("$ref", "").startswith("#/components/schemas/"):
        yield ("payload",), "a payload is a $ref into components.schemas"
    if not message.get("description"):
        yield ("description",), "a message has a description"
    if not any("payload" in example for example in as_list(message.get("examples"))):
        yield ("examples",), "a message has an example"


def _messages(document: Document, place: Place, operation: Document) -> Iterator[Part]:
    for index, message in enumerate(operation.get("messages", [])):
        yield follow(document, (*place, "messages", index), message)


def _unnamed_schemas(document: Document) -> Iterator[Problem]:
    """Yield each object with fields, and each list of values, that has no name of its own: generators invent one."""
    for place, node in walk(document.get("components", {}).get("schemas", {}), ("components", "schemas")):
        if (
            len(place) > 3
            and place[-1] != "properties"
            and (("properties" in node and is_object(node)) or "enum" in node)
        ):
            yield place, "belongs in components.schemas, so that generators find a name for it"


def _sequence_rules(document: Document) -> Iterator[Problem]:
    events: dict[str, set[Any]] = {"receive": set(_CONNECTION_EVENTS), "send": set()}
    for operation in document.get("operations", {}).values():
        events[operation["action"]].update(message.get("name") for _, message in _messages(document, (), operation))
    for number, sequence in enumerate(document["info"].get("x-sequences", [])):
        place = ("info", "x-sequences", number)
        participants = as_list(sequence.get("participants"))
        if not sequence.get("title") or _SERVER not in participants or not sequence.get("steps"):
            yield place, f"a sequence has a title, participants with {_SERVER} among them, and steps"
            continue
        for index, step in enumerate(as_list(sequence.get("steps"))):
            at = (*place, "steps", index)
            sender, receiver = step.get("from"), step.get("to")
            if not step.keys() <= _STEP_KEYS or not {sender, receiver} <= {*participants}:
                yield at, "a step has from, to, event and note; from and to are participants"
            elif (sender == _SERVER) == (receiver == _SERVER):
                yield at, f"a step is between a client and {_SERVER}"
            elif step.get("event") not in events["send" if sender == _SERVER else "receive"]:
                yield at, f"{step.get('event')} is no event that {sender} sends"
