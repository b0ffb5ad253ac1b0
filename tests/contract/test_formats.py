"""Formats of both specs are enforced: UUIDs, times, dates and URLs; e-mail addresses by the rule of the product."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from contract import schemas
from contract.fast_path import _parameter

ASYNCAPI = schemas.load(schemas.ASYNCAPI)
ROOM = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0"


def find_problem(schema: dict[str, Any], value: Any) -> str | None:
    return schemas.compiled({"type": "object", "properties": {"value": schema}}, {})({"value": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uuid", ROOM),
        ("uuid", ROOM.upper()),
        ("date-time", "2026-03-14T09:26:53Z"),
        ("date-time", "2026-03-14T09:26:53.589+05:30"),
        ("date", "2028-02-29"),
        ("uri", "http://localhost:5503/media/1.webp"),
        ("email", "josé@bücher.example"),
        ("password", "correct horse"),
    ],
)
def test_value_in_its_format_is_accepted(name: str, value: str) -> None:
    assert find_problem({"type": "string", "format": name}, value) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("uuid", ROOM.replace("-", ""), "a UUID"),
        ("uuid", f"{{{ROOM}}}", "a UUID"),
        ("uuid", f"{ROOM}\n", "a UUID"),
        ("uuid", "", "a UUID"),
        ("date-time", "2026-02-30T09:26:53Z", "a time in RFC 3339"),
        ("date-time", "2026-03-14 09:26:53", "a time in RFC 3339"),
        ("date", "2026-02-29", "a date, YYYY-MM-DD"),
        ("uri", "/media/1.webp", "an absolute URL"),
        ("uri", "https://a b.example", "an absolute URL"),
        ("ipv4", "1.2.3.256", "in the format ipv4"),
    ],
)
def test_value_in_another_format_is_refused_by_name(name: str, value: str, said: str) -> None:
    assert find_problem({"type": "string", "format": name}, value) == f"'value' should be {said}"


def test_null_needs_no_format() -> None:
    assert find_problem({"type": "string", "nullable": True, "format": "uri"}, None) is None


@pytest.mark.parametrize("message", ["join_room", "end_call", "refresh_ice", "send_offer", "send_answer", "send_ice"])
def test_room_of_an_event_is_a_uuid(message: str) -> None:
    found = ASYNCAPI["components"]["messages"][message]
    payload = copy.deepcopy(found["examples"][0]["payload"])
    validate = schemas.compiled(found["payload"], ASYNCAPI)
    assert validate(payload) is None
    assert validate({**payload, "roomId": "the blue one"}) == "'roomId' should be a UUID"


def test_parameter_with_a_format_stays_on_the_fast_path() -> None:
    parameter = _parameter("sessionId", {"type": "string", "format": "uuid"})
    assert parameter.type == "string"
