"""Rules of `contract/lint.py` for both specs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from contract import schemas

Document = dict[str, Any]
#: The keys and list positions that lead from the root of a document to one of its parts.
Place = tuple[str | int, ...]
Part = tuple[Place, Any]
Problem = tuple[Place, str]

_WRAPPED_EXAMPLES = {"schema": "value", "payload": "payload"}
#: Below these, keys are names: a property called `example`, the response called `default`.
_KEYS_ARE_NAMES = (("properties",), ("responses",))


def walk(node: Any, place: Place = ()) -> Iterator[Part]:
    """Yield every object of a document with its place, without what stands inside examples."""
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            if key not in ("example", "examples", "default", "enum", "const") or place[-1:] in _KEYS_ARE_NAMES:
                yield from walk(value, (*place, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from walk(item, (*place, index))


def _references(node: Any) -> Iterator[tuple[Place, str]]:
    for place, part in walk(node):
        if isinstance(part.get("$ref"), str):
            yield place, part["$ref"]


def follow(document: Document, place: Place, node: Any) -> Part:
    """Follow the references of `node` to their end; raise LookupError for a missing target."""
    passed = set()
    while isinstance(node, dict) and "$ref" in node:
        start, *keys = node["$ref"].split("/")
        if start != "#" or place in passed:
            raise LookupError(node["$ref"])
        passed.add(place)
        place = tuple(key.replace("~1", "/").replace("~0", "~") for key in keys)
        node = document
        for key in place:
            node = node[key]
    return place, node


def broken_references(document: Document) -> Iterator[Problem]:
    for place, reference in _references(document):
        try:
            follow(document, place, {"$ref": reference})
        except (LookupError, TypeError):
            yield place, f"the $ref {reference} leads nowhere in this file"


def unused_components(document: Document) -> Iterator[Problem]:
    used: set[str] = set()
    unread: list[Any] = [{key: value for key, value in document.items() if key != "components"}]
    while unread:
        for place, reference in _references(unread.pop()):
            if reference not in used:
                used.add(reference)
                unread.append(follow(document, place, {"$ref": reference})[1])
    for section, components in document.get("components", {}).items():
        # OpenAPI names its security schemes without a $ref.
        for name in components if section != "securitySchemes" else ():
            if f"#/components/{section}/{name}" not in used:
                yield ("components", section, name), "nothing uses it"


#: What bounds a string, and formats of one length, or of a body that `x-max-bytes` bounds.
_STRING_BOUNDS = frozenset({"maxLength", "pattern", "enum", "const"})
_BOUNDED_FORMATS = frozenset({"uuid", "date", "date-time", "binary"})


def input_rules(document: Document, inputs: Iterable[Part]) -> Iterator[Problem]:
    """Yield each schema, in or below `inputs`, of an object that takes fields it does not name, or of an integer or a
    text without bounds: what no column stores must be refused, not fail."""
    seen = set()
    unread = list(inputs)
    while unread:
        place, schema = follow(document, *unread.pop())
        if place in seen or not isinstance(schema, dict):
            continue
        seen.add(place)
        if is_object(schema) and schema.get("additionalProperties") is not False:
            yield place, "an input object needs `additionalProperties: false`"
        is_integer = schema.get("type") == "integer" or "integer" in as_list(schema.get("type"))
        if is_integer and "enum" not in schema and not {"minimum", "maximum"} <= schema.keys():
            yield place, "an input integer needs `minimum` and `maximum`"
        is_string = schema.get("type") == "string" or "string" in as_list(schema.get("type"))
        # A nullable reference has a type too; its bounds are those of the schema in `allOf`.
        if (
            is_string
            and "allOf" not in schema
            and schema.get("format") not in _BOUNDED_FORMATS
            and _STRING_BOUNDS.isdisjoint(schema)
        ):
            yield place, "an input string needs `maxLength`"
        for key in ("items", "additionalProperties", "not"):
            unread.append(((*place, key), schema.get(key)))
        for key in ("allOf", "anyOf", "oneOf"):
            unread.extend(((*place, key, index), part) for index, part in enumerate(schema.get(key, [])))
        unread.extend(((*place, "properties", name), part) for name, part in schema.get("properties", {}).items())


def is_object(schema: Document) -> bool:
    return "properties" in schema or schema.get("type") == "object" or "object" in as_list(schema.get("type"))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _examples(place: Place, node: Document) -> Iterator[tuple[Place, Place, Any]]:
    """Yield (place, place of its schema, value) for each example that one object of a document gives."""
    if place[-1:] == ("properties",):
        return
    # A schema's examples are bare; those of a media type, a parameter and a message stand in an object.
    schema, wrapper = next(((key, value) for key, value in _WRAPPED_EXAMPLES.items() if key in node), (None, None))
    schema_place = (*place, schema) if schema else place
    if "example" in node:
        yield (*place, "example"), schema_place, node["example"]
    examples = node.get("examples", [])
    for key, example in examples.items() if isinstance(examples, dict) else enumerate(examples):
        if wrapper is None or wrapper in example:
            yield (*place, "examples", key), schema_place, example[wrapper] if wrapper else example


def false_examples(document: Document) -> Iterator[Problem]:
    """Yield each example that does not fit its schema, as the server validates, formats and `x-text` included."""
    for place, node in walk(document):
        for example_place, schema_place, value in _examples(place, node):
            schema: Any = document
            for key in schema_place:
                schema = schema[key]
            if fault := schemas.compiled(schema, document)(value):
                yield example_place, f"the example does not fit its own schema: {fault}"


_UNFILTERED = "needs `x-text-filter`: true where a learner writes it for others, false where staff writes or reads it"


def text_filter_problems(document: Document) -> Iterator[Problem]:
    """Yield each text for others that does not say whether the deployment's word lists apply to it."""
    for place, node in walk(document):
        marked = node.get("x-text-filter")
        if "x-text-filter" in node and not isinstance(marked, bool):
            yield (*place, "x-text-filter"), "is true or false"
        elif "x-text" in node and marked is None:
            yield place, _UNFILTERED


def rate_limit_problems(operation: Document) -> Iterator[Problem]:
    entries = operation.get("x-rate-limit", [])
    form = "`x-rate-limit` is a list of {limit: 5, window: 15m, per: ip | account | account-ip[, counts: failures]}"
    if not isinstance(entries, list) or ("x-rate-limit" in operation and not entries):
        yield ("x-rate-limit",), form
    for index, entry in enumerate(as_list(entries)):
        match entry:
            case {"limit": int(limit), "window": str(window), "per": "ip" | "account" | "account-ip", **rest} if (
                limit > 0 and re.fullmatch("[1-9][0-9]*[smhd]", window) and rest in ({}, {"counts": "failures"})
            ):
                pass
            case _:
                yield ("x-rate-limit", index), form


#: Boolean properties that no `is` would make clearer, each with the reason.
PLAIN_BOOLEANS = {
    "ok": "the ack's discriminator, known from other protocols",
    "password": "a way to log in, beside others that are objects and lists",
    "emailCode": "a way to log in, beside others that are objects and lists",
    "hasPassword": "what an account has; no adjective says it",
    "strict": "a wish, in the imperative as the event that carries it",
    "hasWebFlow": "what a provider has; no adjective says it",
}
_SECONDS = re.compile(r"\bseconds\b", re.IGNORECASE)
_ABBREVIATIONS = re.compile("(?:Secs?|Mins?)$")


def property_rules(document: Document) -> Iterator[Problem]:
    """Yield each property of a schema that is not described, or is not spelled as the project spells names."""
    for place, node in walk(document.get("components", {}).get("schemas", {}), ("components", "schemas")):
        if place[-1] == "properties":
            continue  # the names of properties, not a schema
        for name, schema in node.get("properties", {}).items():
            for problem in _property_problems(document, name, schema):
                yield (*place, "properties", name), problem


def _property_problems(document: Document, name: str, schema: Document) -> Iterator[str]:
    target = schemas.resolve(schema, document)
    if not target.get("description"):
        yield "a property is described, by itself or by the schema that it refers to"
    types = [target.get("type")] if isinstance(target.get("type"), str) else as_list(target.get("type"))
    is_number = not {"integer", "number"}.isdisjoint(types)
    in_seconds = is_number and _SECONDS.search(target.get("description", "")) and not name.endswith("Seconds")
    if in_seconds or _ABBREVIATIONS.search(name):
        yield "a duration is named in full: `waitSeconds`"
    if "_" in name:
        yield "a property is named in camelCase"
    if "boolean" in types and not re.match("is[A-Z]", name) and name not in PLAIN_BOOLEANS:
        yield "a boolean is named `is` and an adjective"
