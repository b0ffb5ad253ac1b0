"""Dart types of asyncapi.yaml in clients/dart: a class for each payload, a constant for each event.

Run as `python -m contract.dart_types`, with `--check` to say whether they are stale. A development tool: the server
never imports it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contract import schemas
from contract.lint import ROOT, ToolError

EVENTS = ROOT / "clients" / "dart" / "lib" / "src" / "events.dart"
#: Names that `dart:core` or Flutter's widgets have too.
_RENAMED = {"Error": "EventError", "Notification": "NotificationEvent"}
_REFERENCE = "#/components/schemas/"
_HEADING = """\
// Generated from asyncapi.yaml by `make types`; edit the spec, not this file.
// dart format off

/// The payload of an event that the client sends.
abstract interface class Payload {
  Map<String, dynamic> toJson();
}

/// An event that the client sends, with its payload and what its ack adds.
final class ClientEvent<A> {
  const ClientEvent(this.name, this.payload, this.readAck);

  final String name;
  final Payload payload;
  final A Function(Map<String, dynamic> json) readAck;
}

/// An event that the server emits.
final class ServerEvent<P> {
  const ServerEvent(this.name, this.read);

  final String name;
  final P Function(Map<String, dynamic> json) read;
}

void _nothing(Map<String, dynamic> json) {}
"""


class _Type(NamedTuple):
    """A type of Dart, and how a value of it is read from JSON and written; `{}` is the value."""

    name: str
    read: str
    write: str = "{}"


_SCALARS = {
    "string": _Type("String", "{} as String"),
    "boolean": _Type("bool", "{} as bool"),
    # JSON has one kind of number: a whole one may come as 3.0.
    "integer": _Type("int", "({} as num).toInt()"),
    "number": _Type("double", "({} as num).toDouble()"),
}


def generate(spec: Path = ROOT / "asyncapi.yaml", output: Path = EVENTS, *, check: bool = False) -> None:
    """Write events.dart; with `check`, raise ToolError if it is stale."""
    text = write(schemas.load(spec))
    if not check:
        output.write_text(text, encoding="utf-8")
    elif not output.exists() or output.read_text(encoding="utf-8") != text:
        raise ToolError(f"{output.name} of clients/dart is stale; run: make types")


def write(document: dict[str, Any]) -> str:
    """Return the Dart library of an AsyncAPI document whose objects and lists of values are named schemas."""
    sent: list[str] = []
    received: list[str] = []
    used = set[str]()
    for operation in document["operations"].values():
        message = schemas.follow(operation["messages"][0], document)
        payload = _name(message["payload"]["$ref"])
        used.add(message["payload"]["$ref"])
        name = _camel(message["name"])
        if operation["action"] == "send":
            event = f"const {name} = ServerEvent<{payload}>('{message['name']}', {payload}.fromJson);"
            received += [*_comment(operation, 2), f"  static {event}"]
        else:
            success = _success(operation, document)
            used |= {success} if success else set()
            ack, reader = (_name(success), f"{_name(success)}.fromJson") if success else ("void", "_nothing")
            is_empty = "properties" not in schemas.follow(message["payload"], document)
            parameter = f"[{payload} payload = const {payload}()]" if is_empty else f"{payload} payload"
            event = f"{name}({parameter}) => ClientEvent('{message['name']}', payload, {reader});"
            sent += [*_comment(operation, 2), f"  static ClientEvent<{ack}> {event}"]
    parts = [_HEADING, *_library("ClientEvents", "Events that the client sends.", sent)]
    parts += _library("ServerEvents", "Events that the server emits.", received)
    for reference in _reachable(used, document):
        schema = schemas.follow({"$ref": reference}, document)
        if "enum" in schema:
            parts.append(_values(_name(reference), schema))
        elif schema.get("type") == "object":
            parts.append(_class(_name(reference), schema, document))
    return "\n".join(parts)


def _library(name: str, comment: str, lines: list[str]) -> list[str]:
    return ["\n".join([f"/// {comment}", f"abstract final class {name} {{", *lines, "}", ""])]


def _success(operation: dict[str, Any], document: dict[str, Any]) -> str | None:
    """Return the reference to the ack of an accepted event; None if it adds nothing."""
    ack = schemas.follow(schemas.follow(operation["reply"]["messages"][0], document)["payload"], document)
    for branch in ack["oneOf"]:
        properties = schemas.follow(branch, document)["properties"]
        if properties["ok"]["const"] is True and len(properties) > 1:
            return str(branch["$ref"])
    return None


def _reachable(references: set[str], document: dict[str, Any]) -> list[str]:
    """Return the schemas that these refer to, and these, in the order of the document."""
    found, unread = set(references), list(references)
    while unread:
        for reference in _references(schemas.follow({"$ref": unread.pop()}, document)):
            if reference not in found:
                found.add(reference)
                unread.append(reference)
    return [f"{_REFERENCE}{name}" for name in document["components"]["schemas"] if f"{_REFERENCE}{name}" in found]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _references(value)


def _values(name: str, schema: dict[str, Any]) -> str:
    """Return an extension type: the known values have names, and a newer one is a value too."""
    lines = [*_comment(schema), f"extension type const {name}(String value) implements String {{"]
    lines += [f"  static const {_camel(value)} = {name}('{value}');" for value in schema["enum"]]
    return "\n".join([*lines, "}", ""])


def _class(name: str, schema: dict[str, Any], document: dict[str, Any]) -> str:
    required = schema.get("required", [])
    parameters, fields, reads, writes = [], [], [], []
    for key, part in schema.get("properties", {}).items():
        if part.get("type") == "null" or (key == "ok" and "const" in part):
            continue  # it says nothing
        kind, is_nullable = _type(part, document)
        field, is_optional = _camel(key), key not in required or is_nullable
        parameters.append(f"required this.{field}" if key in required else f"this.{field}")
        fields += ["", *_comment(part, 2), f"  final {kind.name}{'?' if is_optional else ''} {field};"]
        reads.append(f"{field} = {_read(kind, key, is_optional)}")
        value = f"{field}?{kind.write[2:]}" if is_optional and kind.write != "{}" else kind.write.format(field)
        writes.append(f"        {f'if ({field} != null) ' if key not in required else ''}'{key}': {value},")
    constructor = f"  const {name}({'{' + ', '.join(parameters) + '}' if parameters else ''});"
    reader = f"  {name}.fromJson(Map<String, dynamic> json)"
    if reads:
        reader += "\n      : " + ",\n        ".join(reads)
    writer = ["  @override", "  Map<String, dynamic> toJson() => {" + ("" if writes else "};")]
    writer += [*writes, "      };"] if writes else []
    head = [*_comment(schema), f"final class {name} implements Payload {{", constructor, "", f"{reader};"]
    return "\n".join([*head, *fields, "", *writer, "}", ""])


def _type(schema: dict[str, Any], document: dict[str, Any]) -> tuple[_Type, bool]:
    """Return the type of a property, and whether it may be null."""
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ())):
        if "$ref" in part:
            return _type(part, document)[0], {"type": "null"} in schema.get("oneOf", ())
    if "$ref" in schema:
        followed = schemas.follow(schema, document)
        name = _name(schema["$ref"])
        if "enum" in followed:
            return _Type(name, f"{name}({{}} as String)"), False
        if followed.get("type") == "object":
            return _Type(name, f"{name}.fromJson({{}} as Map<String, dynamic>)", "{}.toJson()"), False
        return _type(followed, document)
    kinds = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    is_nullable = "null" in kinds
    [kind] = [each for each in kinds if each != "null"]
    if kind == "array":
        item, _ = _type(schema["items"], document)
        writes = "{}" if item.write == "{}" else "{}.map((each) => " + item.write.format("each") + ").toList()"
        reads = "[for (final each in {} as List<dynamic>) " + item.read.format("each") + "]"
        return _Type(f"List<{item.name}>", reads, writes), is_nullable
    if kind == "object":
        value, _ = _type(schema["additionalProperties"], document)
        return _Type(
            f"Map<String, {value.name}>", f"({{}} as Map<String, dynamic>).cast<String, {value.name}>()"
        ), is_nullable
    return _SCALARS[kind], is_nullable


def _read(kind: _Type, key: str, is_optional: bool) -> str:
    value = f"json['{key}']"
    if not is_optional:
        return kind.read.format(value)
    if kind.read == f"{{}} as {kind.name}":
        return f"{value} as {kind.name}?"
    return f"{value} == null ? null : {kind.read.format(value)}"


def _comment(part: dict[str, Any], indent: int = 0) -> list[str]:
    texts = [text for text in (part.get("summary"), part.get("description")) if text]
    lines = "\n\n".join(text.strip() for text in texts).splitlines()
    return [f"{' ' * indent}/// {line}".rstrip() for line in lines]


def _name(reference: str) -> str:
    name = reference.removeprefix(_REFERENCE)
    return _RENAMED.get(name, name)


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def main(arguments: list[str]) -> None:
    """Write the types, or say that they are stale."""
    try:
        generate(check="--check" in arguments)
    except ToolError as error:
        sys.exit(f"contract.dart_types: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
