"""Rules of `contract/lint.py` for the schemas of openapi.yaml: descriptions, examples, limits of lists."""

from __future__ import annotations

from collections.abc import Iterator

from contract import examples, schemas
from contract.lint_rules import Document, Problem, false_examples, property_rules, text_filter_problems, walk


def schema_problems(document: Document) -> Iterator[Problem]:
    """Yield each fault of the document's schemas and examples."""
    yield from _undescribed(document)
    yield from _constructors(document)
    yield from text_filter_problems(document)
    yield from property_rules(document)
    yield from _unlimited_lists(document)
    false = list(false_examples(document))
    yield from false or _missing_examples(document)


def _undescribed(document: Document) -> Iterator[Problem]:
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        if not schemas.resolve(schema, document).get("description"):
            yield ("components", "schemas", name), "a schema is described"


def _constructors(document: Document) -> Iterator[Problem]:
    named = document.get("components", {}).get("schemas", {}).keys()
    for name in named:
        if name.startswith("New") and name.removeprefix("New") in named:
            yield (
                ("components", "schemas", name),
                "a schema is not named like the constructor that Go has of another",
            )


def _unlimited_lists(document: Document) -> Iterator[Problem]:
    for place, node in walk(document):
        if node.get("type") == "array" and "maxItems" not in node and not node.get("x-unbounded"):
            yield place, "a list needs `maxItems`, or `x-unbounded` with the reason why it has no limit"


def _missing_examples(document: Document) -> Iterator[Problem]:
    """Yield each JSON body or answer for which no example can be composed, or one that does not fit."""
    for place, content in examples.json_contents(document):
        if content.keys() & {"example", "examples"}:
            continue
        try:
            example = examples.compose(content["schema"], document)
        except examples.NoExample as missing:
            yield place, f"needs an example: {missing}"
            continue
        if fault := schemas.compiled(content["schema"], document)(example):
            yield place, f"the examples of its parts do not fit together: {fault}"
