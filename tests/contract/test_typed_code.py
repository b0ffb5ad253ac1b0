"""Types of the specs in the code: each handler, event and emitted event has those of its operation, and Any is rare."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_type_hints

import inflection
import pytest

from contract import event_bindings, operations, schemas
from realtime import emit
from services.identity.profiles import ProfileChanges
from services.learning.courses import CourseChanges, NewCourse
from services.learning.lessons import LessonChanges, NewLesson
from wire import rest

ROOT = Path(__file__).resolve().parents[2]
OPENAPI, ASYNCAPI = schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI)
OPERATIONS = operations.definitions(OPENAPI)
#: Uses of Any in handlers/, realtime/ and services/: only ever lowered.
ANY_USES = 6


def annotation(function: Any, parameter: str) -> str:
    return str(inspect.signature(function).parameters[parameter].annotation)


def result(function: Any) -> str:
    return str(inspect.signature(function).return_annotation)


def schema_name(holder: Mapping[str, Any], document: dict[str, Any], *path: str) -> str | None:
    """The name of the schema at the end of a path, None where there is none."""
    node = holder
    for part in path:
        node = schemas.follow(dict(node), document).get(part, {})
    return str(node["$ref"]).rpartition("/")[2] if "$ref" in node else None


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_handler_has_types_of_operation(operation_id: str) -> None:
    definition, function = OPERATIONS[operation_id], operations.function_for(OPERATIONS[operation_id])
    body = schema_name(definition, OPENAPI, "requestBody", "content", "application/json", "schema")
    if body is not None and body != "ProviderEvent":  # whose signature is that of its raw bytes
        assert annotation(function, "body") == f"rest.{body}"
    (status,) = (code for code in definition["responses"] if code.startswith("2"))
    answer = schema_name(definition["responses"], OPENAPI, status, "content", "application/json", "schema")
    if answer is not None:
        assert result(function) in (f"rest.{answer}", f"tuple[rest.{answer}, dict[str, str]]")


@pytest.mark.parametrize("key", ASYNCAPI["operations"])
def test_event_has_types_of_operation(key: str) -> None:
    operation = ASYNCAPI["operations"][key]
    payload = schema_name(schemas.follow(operation["messages"][0], ASYNCAPI), ASYNCAPI, "payload")
    if operation["action"] == "send":
        assert result(getattr(emit, operation["title"])) == f"Event[events.{payload}]"
    else:
        function = event_bindings.function_for(operation["x-handler"], operation["title"])
        assert annotation(function, "body") == f"events.{payload}"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (rest.CourseDraft, NewCourse),
        (rest.CourseUpdate, CourseChanges),
        (rest.LessonDraft, NewLesson),
        (rest.LessonUpdate, LessonChanges),
        (rest.MeUpdate, ProfileChanges),
    ],
)
def test_fields_of_service_are_those_of_body(body: Any, fields: Any) -> None:
    """`shapes.columns` turns the one into the other, which mypy cannot see."""
    assert {inflection.underscore(name): hint for name, hint in get_type_hints(body).items()} == get_type_hints(fields)
    assert {inflection.underscore(name) for name in required(body)} == required(fields)


def required(typed_dict: Any) -> set[str]:
    """Keys that are not optional; `__required_keys__` is wrong for annotations that are strings."""
    hints = get_type_hints(typed_dict, include_extras=True)
    return {name for name, hint in hints.items() if typed_dict.__total__ and get_origin(hint) is not NotRequired}


def test_any_is_rare_in_handlers_and_services() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("handlers", "realtime", "services")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    assert len(found) <= ANY_USES, found
