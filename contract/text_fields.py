"""Texts of a request's body or an event's payload, normalized to their stored form (`x-text` of both specs)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import texts
from contract import schemas

Normalizer = Callable[[Any], Any]


def compile_normalizer(schema: dict[str, Any], document: dict[str, Any]) -> Normalizer:
    """Return a function that normalizes each text of a valid instance of `schema`, in place."""
    return _compile(schema, document) or _unchanged


def _unchanged(instance: Any) -> Any:
    return instance


def _compile(schema: dict[str, Any], document: dict[str, Any]) -> Normalizer | None:
    schema = schemas.resolve(schema, document)
    if "x-text" in schema:
        kind = texts.Kind(schema["x-text"])
        return lambda instance: texts.normalize(instance, kind) if isinstance(instance, str) else instance
    found = {name: _compile(each, document) for name, each in schema.get("properties", {}).items()}
    fields = {name: each for name, each in found.items() if each}
    items = _compile(schema["items"], document) if "items" in schema else None
    if not fields and not items:
        return None

    def normalize(instance: Any) -> Any:
        if isinstance(instance, dict):
            for name in fields.keys() & instance.keys():
                instance[name] = fields[name](instance[name])
        elif isinstance(instance, list) and items:
            instance[:] = map(items, instance)
        return instance

    return normalize
