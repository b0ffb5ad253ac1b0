"""Breaking changes: both specs compared with those of the last release, in `contract/released/`.

Run as `python -m contract.compare`; `--release` makes today's specs the last release's. A development tool: the server
never imports it. An intended break is named by its place in the CHANGELOG under "Breaking", and raises the version.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contract import schemas
from contract.lint import METHODS, ROOT, Document

SPECS = ("openapi.yaml", "asyncapi.yaml")


class Break(NamedTuple):
    """`place` names it, here and in the CHANGELOG."""

    place: str
    what: str


#: Directions: sent by clients, or read by them; a change that is harmless in one may break the other.
SENT, READ = "sent", "read"
#: Bounds of what is sent, and whether they may rise.
_BOUNDS = {
    "minLength": False, "minimum": False, "minItems": False, "minProperties": False,
    "maxLength": True, "maximum": True, "maxItems": True, "maxProperties": True,
}  # fmt: skip
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class Comparison:
    """Comparison of two documents of one kind. A schema in both is compared once as sent, once as read."""

    def __init__(self, old: Document, new: Document) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, str]] = set()

    def breaks(self) -> list[Break]:
        """List the changes that break a client of the old document."""
        found = self._paths() if "paths" in self._old else self._events()
        return list(dict.fromkeys(found))

    # --- openapi.yaml ---

    def _paths(self) -> Iterator[Break]:
        for path, item in self._old["paths"].items():
            for method in METHODS:
                if method in item:
                    place = f"{method.upper()} {path}"
                    operation = self._new["paths"].get(path, {}).get(method)
                    if operation is None:
                        yield Break(place, "the operation is gone")
                    else:
                        yield from self._operation(place, item[method], operation)

    def _operation(self, place: str, old: Document, new: Document) -> Iterator[Break]:
        # Generated clients name their methods by it. Before 0.2.0 it was an import path, which no client used.
        name = old.get("operationId", "")
        if "." not in name and name != new.get("operationId"):
            yield Break(f"{place} operationId", "is another")
        # Each is an alternative, `{}` that of a request without a token; one more breaks no client.
        before, after = old.get("security") or [{}], new.get("security") or [{}]
        if any(each not in after for each in before):
            yield Break(place, "who may call it is another")
        yield from self._parameters(place, old, new)
        yield from self._request(place, old, new)
        for status, answer in old["responses"].items():
            at = f"{place} {status}"
            if status not in new["responses"]:
                yield Break(at, "the status is gone")
                continue
            before, after = self._both(answer, new["responses"][status])
            for name, header in before.get("headers", {}).items():
                if name not in after.get("headers", {}):
                    yield Break(f"{at} {name}", "the header is gone")
                else:
                    one, other = self._both(header, after["headers"][name])
                    yield from self._schema(f"{at} {name}", one["schema"], other["schema"], READ)
            yield from self._content(at, before, after, READ)
        for status in new["responses"].keys() - old["responses"].keys():
            if status[0] in "123":
                yield Break(f"{place} {status}", "the status of success is another")

    def _parameters(self, place: str, old: Document, new: Document) -> Iterator[Break]:
        def named(operation: Document, document: Document) -> dict[tuple[str, str], Document]:
            found = [schemas.follow(each, document) for each in operation.get("parameters", [])]
            return {(each["in"], each["name"]): each for each in found}

        before, after = named(old, self._old), named(new, self._new)
        for (where, name), parameter in before.items():
            # Paths are compared with their parameters in them.
            at = f"{place} {where} {name}"
            if (where, name) not in after:
                yield Break(at, "the parameter is gone")
                continue
            now = after[where, name]
            if now.get("required") and not parameter.get("required"):
                yield Break(at, "has to be given")
            yield from self._schema(at, parameter["schema"], now["schema"], SENT)
        for where, name in after.keys() - before.keys():
            if after[where, name].get("required"):
                yield Break(f"{place} {where} {name}", "has to be given")

    def _request(self, place: str, old: Document, new: Document) -> Iterator[Break]:
        if "requestBody" in old and "requestBody" not in new:
            yield Break(f"{place} body", "is no longer taken")
            return
        before, after = self._both(old.get("requestBody", {}), new.get("requestBody", {}))
        if after.get("required") and not before.get("required"):
            yield Break(f"{place} body", "has to be given")
        if before.get("x-max-bytes", 0) > after.get("x-max-bytes", 0):
            yield Break(f"{place} body", "may be less large")
        yield from self._content(f"{place} body", before, after, SENT)

    def _content(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield Break(f"{place} {media_type}", "the content type is gone")
            else:
                schema = new["content"][media_type].get("schema", {})
                yield from self._schema(place, content.get("schema", {}), schema, way)

    # --- asyncapi.yaml ---

    def _events(self) -> Iterator[Break]:
        def named(document: Document) -> dict[tuple[str, str], tuple[str, Document]]:
            return {
                (each["action"], schemas.follow(each["messages"][0], document)["name"]): (key, each)
                for key, each in document["operations"].items()
            }

        after = named(self._new)
        for (action, name), (key, operation) in named(self._old).items():
            way = SENT if action == "receive" else READ
            place = f"{name} ({way})"
            if (action, name) not in after:
                yield Break(place, "the event is gone")
                continue
            now_key, now = after[action, name]
            # As for REST: before 0.2.0 the key was an import path.
            if "." not in key and key != now_key:
                yield Break(f"{place} operation", "is another")
            yield from self._message(place, operation, now, way)
            if "reply" in operation:
                yield from self._message(f"{place} ack", operation["reply"], now["reply"], READ)
            for code in operation.get("x-codes", []):
                if code not in now.get("x-codes", []):
                    yield Break(f"{place} {code}", "the code is gone")

    def _message(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        before, after = self._both(old["messages"][0], new["messages"][0])
        yield from self._schema(place, before["payload"], after["payload"], way)

    # --- Schemas ---

    def _both(self, old: Document, new: Document) -> tuple[Document, Document]:
        return schemas.resolve(old, self._old), schemas.resolve(new, self._new)

    def _schema(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        references = _reference(old), _reference(new)
        if all(references):
            if (*references, way) in self._seen:
                return
            self._seen.add((*references, way))
            place = f"{references[0].rpartition('/')[2]} ({way})"
        before, after = self._both(old, new)
        yield from self._branches(place, before, after, way)
        yield from self._types(place, before, after, way)
        yield from self._fields(place, before, after, way)
        for key in ("items", "additionalProperties"):
            if isinstance(before.get(key), dict):
                inner = after.get(key)
                at = f"{place} {key}"
                if isinstance(inner, dict):
                    yield from self._schema(at, before[key], inner, way)
                elif key == "additionalProperties" and inner is False:
                    yield Break(at, "further fields are gone")
        if way == SENT:
            yield from self._bounds(place, before, after)

    def _branches(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        for key in ("oneOf", "anyOf", "allOf"):
            one, other = old.get(key, []), new.get(key, [])
            if not one and not other:
                continue
            # Each sent alternative is still accepted; each read one was known.
            narrow, wide = (one, other) if way == SENT else (other, one)
            for number, branch in enumerate(narrow):
                pairs = [(branch, each) if way == SENT else (each, branch) for each in wide]
                if not any(self._fits(*pair, way) for pair in pairs):
                    yield Break(f"{place} {key} {number + 1}", "is not as it was")
            if len(one) > len(other):
                yield Break(f"{place} {key}", "has fewer forms")

    def _fits(self, old: Document, new: Document, way: str) -> bool:
        return not list(Comparison(self._old, self._new)._schema("", old, new, way))

    def _types(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        before, after = _kinds(old), _kinds(new)
        lost, won = before - after, after - before
        if "integer" in lost and "number" in after:
            lost = lost - {"integer"}
        if (lost if way == SENT else won) or (way == READ and lost - {"null"}):
            yield Break(place, f"the type is {_said(after)}, and was {_said(before)}")
        yield from self._values(place, old, new, way)

    def _values(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        before, after = _values(old), _values(new)
        if before is None and after is None:
            return
        if before is None or after is None:
            if (after if way == SENT else before) is not None:
                yield Break(place, "is one of a list" if way == SENT else "is no longer one of a list")
            return
        for value in before:
            if value not in after:
                yield Break(f"{place} {value}", "the value is gone")
        for value in after:
            if value not in before and way == READ and not old.get("x-may-grow"):
                yield Break(f"{place} {value}", "the value is new to who reads it")

    def _fields(self, place: str, old: Document, new: Document, way: str) -> Iterator[Break]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name not in after:
                yield Break(f"{place} {name}", "the field is gone")
            else:
                yield from self._schema(f"{place} {name}", schema, after[name], way)
        required, now = set(old.get("required", [])), set(new.get("required", []))
        for name in sorted(now - required) if way == SENT else ():
            yield Break(f"{place} {name}", "has to be given")
        for name in sorted((required - now) & after.keys()) if way == READ else ():
            yield Break(f"{place} {name}", "may be absent")

    def _bounds(self, place: str, old: Document, new: Document) -> Iterator[Break]:
        for key, may_rise in _BOUNDS.items():
            before, after = old.get(key), new.get(key)
            if after is None or before == after:
                continue
            if before is None or (after < before if may_rise else after > before):
                yield Break(place, f"{key} is {after}" + (f", and was {before}" if before is not None else ""))
        if new.get("pattern") not in (None, old.get("pattern")):
            yield Break(place, "the pattern is another")
        if new.get("x-text") not in (None, old.get("x-text")):
            yield Break(place, "the rule of its text is another")


def _reference(schema: Document) -> str:
    """Return the reference that a schema is, but for what it describes; empty if it is no reference."""
    match schema:
        case {"$ref": str(reference)}:
            return reference
        case {"allOf": [{"$ref": str(reference)}], **rest} if rest.keys() <= {"description", "example"}:
            return reference
    return ""


def _kinds(schema: Document) -> set[str]:
    """Return the types that a schema accepts, by its values where it has no `type`; none if it has neither."""
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    given = schema.get("type", [_TYPE_NAMES[type(value)] for value in values])
    kinds = {given} if isinstance(given, str) else set(given)
    return kinds | {"null"} if schema.get("nullable") else kinds


def _values(schema: Document) -> list[Any] | None:
    """Return the values that a schema lists but null, which is a matter of its type."""
    if "const" in schema:
        return [schema["const"]]
    return [value for value in schema["enum"] if value is not None] if "enum" in schema else None


def _said(kinds: set[str]) -> str:
    return " or ".join(each for each in _TYPES if each in kinds) or "any"


# --- The command --------------------------------------------------------------------------------


def undeclared(root: Path = ROOT) -> list[str]:
    """List the breaks that no release note declares, each in one line, and a version that should have risen."""
    lines: list[str] = []
    declared = _declared((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    for name in SPECS:
        old, new = schemas.load(root / "contract" / "released" / name), schemas.load(root / name)
        breaks = Comparison(old, new).breaks()
        lines += [f"{name}: {each.place}: {each.what}" for each in breaks if each.place not in declared]
        before, after = _version(old), _version(new)
        # Before 1.0 the second number marks a break.
        if breaks and (after[:1] if after[0] else after[:2]) <= (before[:1] if after[0] else before[:2]):
            lines.append(f"{name}: info.version: does not say that something breaks")
    return lines


def _version(document: Document) -> tuple[int, ...]:
    return tuple(int(part) for part in document["info"]["version"].split("."))


def _declared(changelog: str) -> set[str]:
    """The places, in backticks, under "Breaking" of what is not released."""
    unreleased = changelog.partition("\n## Unreleased\n")[2].partition("\n## ")[0]
    breaking = unreleased.partition("\n### Breaking\n")[2].partition("\n### ")[0]
    return set(re.findall(r"`([^`]+)`", breaking))


def release(root: Path = ROOT) -> None:
    """Make the specs of today those that clients of the last release have."""
    folder = root / "contract" / "released"
    folder.mkdir(exist_ok=True)
    for name in SPECS:
        shutil.copyfile(root / name, folder / name)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Print a line for each break that is not declared and return 1, or 0 where there is none."""
    if arguments == ["--release"]:
        release(root)
        return 0
    lines = undeclared(root)
    if lines:
        lines.append(
            'A break that is wanted: its place in backticks under "### Breaking" in CHANGELOG.md, and a new version.'
        )
    print("\n".join(lines) or "Nothing breaks clients of the last release.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
