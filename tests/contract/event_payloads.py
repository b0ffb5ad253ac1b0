"""Events of asyncapi.yaml: payloads for them and against them, and checks of what the server sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as generation
from schemathesis import GenerationMode

import texts
from contract import schemas
from testing.servers import Phone

DOCUMENT = schemas.load(schemas.ASYNCAPI)
EXAMPLES = 50
NOWHERE = "00000000-0000-4000-8000-000000000000"


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


def make_validator(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """A second opinion, by another validator than the server's."""
    components = _for_python(DOCUMENT["components"]["schemas"])
    dialect = jsonschema.Draft202012Validator
    validator = dialect({**schema, "components": {"schemas": components}}, format_checker=dialect.FORMAT_CHECKER)
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
    assert make_validator(ACK)(ack), f"{context}: the ack {ack} is not what the contract says"
    if not ack["ok"]:
        assert ack["error"]["code"] in CODES, context
        assert ack["error"]["code"] != "internal", f"{context}: {ack}"


def check_received(*phones: Phone) -> None:
    for phone in phones:
        for name, payload in phone.received:
            assert name in SERVER_EVENTS, f"{name} is not an event of the contract"
            assert make_validator(SERVER_EVENTS[name])(payload), f"{name}: {payload} is not what the contract says"
            assert name != "error" or payload["code"] != "internal", payload
