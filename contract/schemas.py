"""Compiled JSON Schema validators for both specs, and their messages.

A message names the place and the rule that is broken, never the value: it may be a password.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

import errors
import texts

ROOT = Path(__file__).resolve().parent.parent
OPENAPI = ROOT / "openapi.yaml"
ASYNCAPI = ROOT / "asyncapi.yaml"

Validator = Callable[[Any], "str | None"]

#: Referenced by each integer. JSON Schema accepts 1.0, -0.0 and 1e3 as integers, unlike draft 4: they arrive as floats,
#: which neither the code nor the database expects.
_WRITTEN_AS_INTEGER = "urn:parlance:written-as-integer"
_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_REGISTRY = jsonschema_rs.Registry(
    [
        (_WRITTEN_AS_INTEGER, {"$schema": _DRAFT_4, "type": "integer"}),
        (f"{_WRITTEN_AS_INTEGER}-or-null", {"$schema": _DRAFT_4, "type": ["integer", "null"]}),
    ]
)
_INTERNATIONAL_EMAIL = jsonschema_rs.Draft202012Validator({"format": "idn-email"}, validate_formats=True)


#: Formats, as messages call them.
FORMATS = {
    "uuid": "a UUID",
    "email": "an e-mail address",
    "date-time": "a time of RFC 3339, such as 2026-03-14T09:26:53Z",
    "date": "a date of RFC 3339, such as 2026-03-14",
    "uri": "a URI",
    "uri-reference": "a URI or a path",
}

#: libyaml's, a sixth of the time; PyYAML is also built without it.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ContractError(errors.Refused):
    """The spec and the code disagree; the message names the place. Raised at start."""


def load(path: Path) -> dict[str, Any]:
    """Read a spec; YAML's dates and anchors come out as plain JSON."""
    with path.open(encoding="utf-8") as stream:
        document: dict[str, Any] = json.loads(json.dumps(yaml.load(stream, _YAML_LOADER), default=str))  # noqa: S506
    return document


def _is_email(text: str) -> bool:
    """Check `format: email`: JSON Schema's is ASCII, and accounts have international addresses (RFC 6531) too."""
    # The dot of the root at the end, in any script, is dropped by `models/email_addresses.py`.
    return _INTERNATIONAL_EMAIL.is_valid(text.rstrip(".。．｡"))


def _draft_2020(schema: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into what includes null, and mark integers, all the way down."""
    if isinstance(schema, list):
        return [_draft_2020(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _draft_2020(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True and "allOf" in schema:
        return {"if": {"type": "null"}, "else": converted}  # unlike `anyOf` it reports the rule that is broken
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        converted["type"] = [schema["type"], "null"]
        if "enum" in converted and None not in converted["enum"]:
            converted["enum"] = [*converted["enum"], None]
    match converted.get("type"):
        case "integer":
            converted["$ref"] = _WRITTEN_AS_INTEGER
        case ["integer", "null"]:
            converted["$ref"] = f"{_WRITTEN_AS_INTEGER}-or-null"
        case [*types] if "integer" in types:
            raise ValueError(f"no rule for how an integer is written among {types}")
    return converted


def follow(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Follow a `$ref` inside the document to what it names."""
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def resolve(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Follow a `$ref`, also one in an `allOf` of its own, whose siblings (a description, `nullable`) override it."""
    node = follow(node, document)
    match node.get("allOf"):
        case [only]:
            return {**resolve(only, document), **{key: value for key, value in node.items() if key != "allOf"}}
    return node


class TextRule:
    """The keyword `x-text`: which characters a text that others read may have."""

    def __init__(self, schema: dict[str, Any], kind: str, _path: object) -> None:
        self._kind = texts.Kind(kind)
        self._limits = {"min_length": schema.get("minLength", 0), "max_length": schema.get("maxLength")}

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and (fault := texts.find_fault(instance, self._kind, **self._limits)):
            raise ValueError(fault)


def compiled(schema: dict[str, Any], document: dict[str, Any], *, check_texts: bool = True) -> Validator:
    """Compile `schema`, whose `$ref`s point into `document`; the result describes a mismatch, or returns None.

    Without `check_texts` `x-text` is not checked: rows older than the rule are still returned.
    """
    whole = {"components": _draft_2020(document.get("components", {})), **_draft_2020(schema)}
    keywords: dict[str, Any] = {"x-text": TextRule} if check_texts else {}
    validator = jsonschema_rs.Draft202012Validator(
        whole, validate_formats=True, formats={"email": _is_email}, keywords=keywords, registry=_REGISTRY
    )

    def validate(instance: Any) -> str | None:
        try:
            if validator.is_valid(instance):
                return None
            error = next(validator.iter_errors(instance))
        except ValueError:  # raised for deep nesting only
            return "the body is nested too deep"
        return describe(list(error.instance_path), error.kind, error.instance)

    return validate


def describe(path: list[str | int], kind: Any, instance: Any = None) -> str:
    """Describe in one sentence the broken rule and its place."""
    facts = kind.as_dict() if hasattr(kind, "as_dict") else {}
    name = kind.name if hasattr(kind, "name") else str(kind)
    where = ".".join(str(part) for part in path)
    subject = f"'{where}'" if where else "the body"
    match name:
        case "required":
            return f"{subject} lacks '{facts.get('property')}'"
        case "falseSchema":  # of an object that has no fields
            return f"{subject} is a field that is not in the contract"
        case "oneOf":
            return f"{subject} has none of the forms that the contract lists"
        case "additionalProperties":
            unexpected = ", ".join(f"'{name}'" for name in facts.get("unexpected", []))
            return f"{subject} has fields that are not in the contract: {unexpected[:200]}"
        case "type" if isinstance(instance, float) and "integer" in facts.get("types", ()):
            return f"{subject} should be an integer, written without a fraction or an exponent"
        case "type":
            return f"{subject} has the wrong type; it should be {_names(facts.get('types', facts.get('type')))}"
        case "enum":
            return f"{subject} should be one of {_names(facts.get('options'))}"
        case "minLength":
            return f"{subject} is too short; the least is {facts.get('limit')}"
        case "maxLength":
            return f"{subject} is too long; the most is {facts.get('limit')}"
        case "minimum":
            return f"{subject} is too small; the least is {facts.get('limit')}"
        case "maximum":
            return f"{subject} is too large; the most is {facts.get('limit')}"
        case "minProperties":
            return f"{subject} is empty"
        case "pattern":
            return f"{subject} does not have the right form"
        case "format":
            return f"{subject} should be {FORMATS.get(str(facts.get('format')), facts.get('format'))}"
        case "x-text":
            return f"{subject} {facts.get('message')}"
        case _:
            return f"{subject} breaks the rule '{name}'"


def _names(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ", ".join("null" if item is None else str(item) for item in value) if isinstance(value, list) else str(value)


def unstorable(value: Any) -> str | None:
    """Describe what PostgreSQL refuses in a string of `value`: NUL or half of a surrogate pair."""
    unread = [value]  # no recursion: JSON nests deeper than Python calls
    while unread:
        each = unread.pop()
        if isinstance(each, str):
            if "\x00" in each:
                return "text may not contain the NUL character"
            try:
                each.encode()
            except UnicodeEncodeError:
                return "text may not contain half of a surrogate pair"
        elif isinstance(each, dict):
            unread.extend(each)
            unread.extend(each.values())
        elif isinstance(each, list):
            unread.extend(each)
    return None
