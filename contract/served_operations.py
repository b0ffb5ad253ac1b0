"""Operations of openapi.yaml as clients are to read them: without internal ones, with the headers of every response.

Headers that follow from another mark of an operation are added here; the file would repeat them eighty times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

import errors
from contract import problems, schemas
from contract.operations import COMMON_CODES, METHODS

Document = dict[str, Any]

_HEADERS = "#/components/headers/"
_PROBLEM = "application/problem+json"
_REFERENCE = re.compile(r"#/components/([A-Za-z]+)/([^/]+)")


def prepare(document: Document) -> None:
    """Drop operations with `x-internal`, add headers to the others' responses, and drop unused components; in place."""
    kinds = {kind.code: kind for kind in errors.list_error_classes()}
    for path, item in [*document["paths"].items()]:
        for method in [method for method in METHODS if method in item]:
            if item[method].get("x-internal"):
                del item[method]
            else:
                _add_headers(item[method], document)
                _fit_problems(item[method], document, kinds)
        if not item.keys() & {*METHODS}:
            del document["paths"][path]
    _drop_unused(document)


def _add_headers(operation: Document, document: Document) -> None:
    names = {"X-Request-Id": "XRequestId"}
    if "x-rate-limit" in operation:
        names |= {"RateLimit-Policy": "RateLimitPolicy", "RateLimit": "RateLimit"}
    if operation.get("deprecated"):
        names |= {"Deprecation": "Deprecation", "Sunset": "Sunset"}
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response = operation["responses"][status] = {**schemas.follow(response, document)}
            added = {name: {"$ref": _HEADERS + component} for name, component in names.items()}
            response["headers"] = {**response.get("headers", {}), **added}


def _fit_problems(operation: Document, document: Document, kinds: dict[str, type[errors.ProductError]]) -> None:
    """Replace, in place, examples of problems whose code the operation does not answer by one that it does."""
    codes: list[str] = operation.get("x-codes", [])
    for status, response in operation["responses"].items():
        whole = schemas.follow(response, document)
        content = whole.get("content", {}).get(_PROBLEM, {})
        shown = content.get("example", {}).get("code")
        own = [code for code in codes if str(kinds[code].status) == status]
        if shown and own and shown not in COMMON_CODES.union(codes):
            body, _ = problems.problem_response(kinds[own[0]]())
            example = orjson.loads(body)
            operation["responses"][status] = {**whole, "content": {_PROBLEM: {**content, "example": example}}}


def _drop_unused(document: Document) -> None:
    components = document.get("components", {})
    used: set[tuple[str, str]] = {("securitySchemes", name) for name in components.get("securitySchemes", {})}
    unread: list[Any] = [{key: value for key, value in document.items() if key != "components"}]
    while unread:
        for section, name in _references(unread.pop()):
            if (section, name) not in used and name in components.get(section, {}):
                used.add((section, name))
                unread.append(components[section][name])
    for section, named in [*components.items()]:
        components[section] = {name: value for name, value in named.items() if (section, name) in used}
        if not components[section]:
            del components[section]


def _references(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if match := _REFERENCE.fullmatch(str(node.get("$ref", ""))):
            yield match[1], match[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
