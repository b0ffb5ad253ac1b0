"""The specs as served to clients: answers are open, inputs as strict as in the tree.

In the files of the tree answers are closed, so that tests check every field. A client generated from these
would break at the first new field or value, so the served documents are open:
objects of answers accept unknown fields, and a list marked `x-may-grow` becomes a plain string whose known
values are in `x-extensible-enum`, because generators make a closed type of an `enum`. A schema that is both sent and
read is split: the one that is sent is named `<name>Input`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from contract import examples, schemas, served_operations
from contract.operations import METHODS

Document = dict[str, Any]
Convert = Callable[[Document], Document]

_SCHEMAS = "#/components/schemas/"
#: Keys whose values are import paths: Connexion's, and the one of events.
_SERVER_WORDS = {"x-openapi-router-controller", "x-bearerInfoFunc", "x-handler"}
#: Keys below which keys are names, and those below which stands data.
_NAMES, _DATA = ("properties",), ("example", "examples", "default", "enum", "const", "x-extensible-enum")


class _Part(NamedTuple):
    """Where a document holds schemas: `holder[key]`, whose own keys may be names."""

    holder: Document
    key: str
    names: bool = False


def openapi(document: Document) -> Document:
    """Return openapi.yaml as clients are to read it, with an example of each JSON body and answer."""
    served = deepcopy(document)
    served_operations.prepare(served)
    examples.add_examples(served)
    components = served.get("components", {})
    sent = [_Part(components, each, names=True) for each in ("parameters", "requestBodies") if each in components]
    read = [_Part(components, each, names=True) for each in ("responses", "headers") if each in components]
    for scheme in components.get("securitySchemes", {}).values():
        _drop_server_words(scheme)
    for item in served["paths"].values():
        for holder in (item, *(item[method] for method in METHODS if method in item)):
            _drop_server_words(holder)
            sent += [_Part(holder, key) for key in ("parameters", "requestBody") if key in holder]
            read += [_Part(holder, "responses", names=True)] if "responses" in holder else []
    opened = _open(served, sent, read)
    _mark_null_encodable(opened.get("components", {}).get("schemas", {}))
    return opened


def _mark_null_encodable(named: Document) -> None:
    """Mark, in place, the fields of inputs that may be absent or null: Swift's generator sends null for these alone."""
    for schema in named.values():
        if schema.get("additionalProperties") is not False:  # an answer
            continue
        for name, field in schema.get("properties", {}).items():
            target = named.get(str(field.get("$ref", "")).removeprefix(_SCHEMAS), field)
            if target.get("nullable") is True and name not in schema.get("required", ()):
                # Beside a reference OpenAPI 3.0 allows nothing.
                whole = {"type": target["type"], "allOf": [field], "nullable": True} if "$ref" in field else field
                schema["properties"][name] = {**whole, "x-null-encodable": True}


def _drop_server_words(holder: Document) -> None:
    for name in _SERVER_WORDS & holder.keys():
        del holder[name]


def asyncapi(document: Document) -> Document:
    """Return asyncapi.yaml as clients are to read it: what the server sends, acks included, is open."""
    served = deepcopy(document)
    sent: list[_Part] = []
    read: list[_Part] = []
    for operation in served["operations"].values():
        _drop_server_words(operation)
        for holder, ours in ((operation, operation["action"] == "send"), (operation.get("reply", {}), True)):
            for message in holder.get("messages", ()):
                (read if ours else sent).append(_Part(schemas.follow(message, served), "payload"))
    return _open(served, sent, read)


def _open(served: Document, sent: list[_Part], read: list[_Part]) -> Document:
    """Open, in place, the schemas of `read`, leave those of `sent` as they are, and split what both refer to."""
    named: Document = served.get("components", {}).get("schemas", {})
    of_inputs, of_answers = _reachable(sent, named), _reachable(read, named)
    split = _differing(of_inputs & of_answers, named)

    def as_input(schema: Document) -> Document:
        reference = str(schema.get("$ref", ""))
        return {"$ref": f"{reference}Input"} if reference.removeprefix(_SCHEMAS) in split else schema

    components: Document = {}
    for name, schema in named.items():
        components[name] = _map(schema, _opened if name in of_answers else as_input)
        if name in split:
            components[f"{name}Input"] = _map(schema, as_input)
    if named:
        served["components"]["schemas"] = components
    for convert, parts in ((as_input, sent), (_opened, read)):
        for holder, key, names in parts:
            holder[key] = _map(holder[key], convert, names=names)
    return served


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if str(node.get("$ref", "")).startswith(_SCHEMAS):
            yield node["$ref"].removeprefix(_SCHEMAS)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _reachable(parts: list[_Part], named: Document) -> set[str]:
    found: set[str] = set()
    unread: list[Any] = [part.holder[part.key] for part in parts]
    while unread:
        for name in _references(unread.pop()):
            if name not in found:
                found.add(name)
                unread.append(named[name])
    return found


def _differing(shared: set[str], named: Document) -> set[str]:
    """Those of `shared` that read otherwise once they are open, by themselves or by what they refer to."""
    differing = {name for name in shared if _map(named[name], _opened) != named[name]}
    while more := {name for name in shared - differing if differing & set(_references(named[name]))}:
        differing |= more
    return differing


def _map(node: Any, convert: Convert, *, names: bool = False) -> Any:
    """Copy a part of a document with each of its objects converted, those inside first."""
    if isinstance(node, list):
        return [_map(each, convert) for each in node]
    if not isinstance(node, dict):
        return node
    copied = {
        key: value if key in _DATA and not names else _map(value, convert, names=key in _NAMES and not names)
        for key, value in node.items()
    }
    return copied if names else convert(copied)


def _opened(schema: Document) -> Document:
    if schema.get("additionalProperties") is False:
        schema = {key: value for key, value in schema.items() if key != "additionalProperties"}
    if schema.get("x-may-grow") is True and "enum" in schema:
        known = [value for value in schema["enum"] if value is not None]
        rest = {key: value for key, value in schema.items() if key not in ("enum", "x-may-grow")}
        schema = {"type": "string", **rest, "description": _with_values(rest.get("description", ""), known)}
        schema["x-extensible-enum"] = known
    return schema


def _with_values(description: str, known: list[str]) -> str:
    """Name the known values, where the description does not: viewers and generators may not know the extension."""
    description, names = description.strip(), [f"`{each}`" for each in known]
    if all(name in description for name in names):
        return description
    return f"{description} Known values: {', '.join(names)}.".strip()
