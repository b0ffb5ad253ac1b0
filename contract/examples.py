"""Examples of JSON bodies and answers, composed from those of the properties of their schemas.

Each example of openapi.yaml stands at one schema or property, so that a body's example cannot differ from its fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contract import schemas

Document = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "patch")


class NoExample(Exception):
    """A part of a schema has no example; the message names it, from the body on."""


def compose(schema: Document, document: Document, name: str = "") -> Any:
    """Return the example of a schema: its own, else its first value, else one of its fields or items.

    Raises NoExample.
    """
    match schemas.resolve(schema, document):
        case {"example": example} | {"enum": [example, *_]} | {"x-extensible-enum": [example, *_]}:
            return example
        case {"properties": fields}:
            return {key: compose(each, document, f"{name}.{key}") for key, each in fields.items()}
        case {"items": items}:
            return [compose(items, document, f"{name}[]")]
    raise NoExample(name.removeprefix(".") or "the body")


def json_contents(document: Document) -> Iterator[tuple[tuple[str, ...], Document]]:
    """Yield each JSON body and answer of openapi.yaml, as a media type object, with its place."""
    holders: list[tuple[tuple[str, ...], Document]] = []
    for section in ("requestBodies", "responses"):
        named = document.get("components", {}).get(section, {})
        holders += [(("components", section, name), holder) for name, holder in named.items()]
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method, {})
            if "requestBody" in operation:
                holders.append((("paths", path, method, "requestBody"), operation["requestBody"]))
            for status, response in operation.get("responses", {}).items():
                holders.append((("paths", path, method, "responses", status), response))
    for place, holder in holders:
        for media_type, content in holder.get("content", {}).items():
            if "json" in media_type:
                yield (*place, "content", media_type), content


def add_examples(document: Document) -> None:
    """Add to each JSON body and answer without an example the one of its schema; raise NoExample."""
    for _, content in json_contents(document):
        if not content.keys() & {"example", "examples"}:
            content["example"] = compose(content["schema"], document)


def drop_examples(document: Document) -> None:
    """Drop what `add_examples` added; the examples of schemas stay."""
    for _, content in json_contents(document):
        content.pop("example", None)
