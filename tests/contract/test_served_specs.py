"""The served specs: clients generated from them accept new fields and values, with strict inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from contract import lint, schemas, served
from contract.operations import COMMON_CODES, METHODS
from testing.call_history import MakeLearner

Document = dict[str, Any]

OPENAPI, ASYNCAPI = schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI)
#: Lists of answers that get no new values, and why.
CLOSED = {
    ("off", "on"): "a setting that is on or off",
    ("ok",): "/health and /ready: another status is another HTTP status",
    ("Bearer",): "the one type that we issue (RFC 6750)",
    ("true",): "a header that is there or not",
    ("1.0.0",): "the version of tus that was asked for",
    (True,): "an answer that says nothing else",
    ("caller", "receiver"): "a call has two",
}


def answers(document: Document) -> dict[str, Document]:
    """The schemas of JSON that the server sends, by operation and status, or by event."""
    if "paths" in document:
        return {
            f"{method} {path} {status}": content["schema"]
            for path, item in document["paths"].items()
            for method in METHODS
            if method in item and not item[method].get("x-internal")
            for status, response in item[method]["responses"].items()
            for media, content in schemas.follow(response, document).get("content", {}).items()
            if "json" in media
        }
    found = {}
    for key, operation in document["operations"].items():
        holder = operation if operation["action"] == "send" else operation["reply"]
        found[key] = schemas.follow(holder["messages"][0], document)["payload"]
    return found


def inputs(document: Document) -> dict[str, Document]:
    """The schemas of JSON that clients send."""
    if "paths" in document:
        return {
            f"{method} {path}": content["schema"]
            for path, item in document["paths"].items()
            for method in METHODS
            if "requestBody" in item.get(method, {}) and not item[method].get("x-internal")
            if not item[method]["requestBody"].get("x-raw-body")
            for media, content in schemas.follow(item[method]["requestBody"], document)["content"].items()
            if "json" in media
        }
    return {
        key: schemas.follow(operation["messages"][0], document)["payload"]
        for key, operation in document["operations"].items()
        if operation["action"] == "receive"
    }


def below(schema: Any, document: Document, seen: set[int]) -> Iterator[Document]:
    """Yield each schema in and below one."""
    schema = schemas.follow(schema, document)
    if id(schema) in seen:
        return
    seen.add(id(schema))
    yield schema
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for each in (*inner, *schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if isinstance(each, dict):
            yield from below(each, document, seen)


def example(schema: Document, document: Document) -> Any:
    """Make something that fits a schema of an answer, each list at its first value."""
    schema = schemas.follow(schema, document)
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return example(schema[key][-1], document)
    if "allOf" in schema:
        return example(schema["allOf"][0], document)
    if "const" in schema or "enum" in schema or "example" in schema:
        return schema["const"] if "const" in schema else schema.get("enum", [schema.get("example")])[0]
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: example(each, document) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [example(schema["items"], document)] * schema.get("minItems", 1)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if schema.get("pattern"):
        return next(each for each in _STRINGS if re.search(schema["pattern"], each))
    return "a" * max(1, schema.get("minLength", 0))


_FORMATS = {
    "uuid": "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0",
    "date-time": "2026-03-14T09:26:53.589Z",
    "date": "2026-03-14",
    "uri": "https://media.example.com/1",
}
_STRINGS = (
    *_FORMATS.values(),
    "inr",
    "pixel-9",
    "user.ban",
    "anyone",
    "0" * 64,
)


def grown(value: Any, schema: Document, document: Document) -> Any:
    """Add a field to each object, and replace each value of a list that may grow by one that is not known yet."""
    schema = schemas.follow(schema, document)
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return grown(value, schema[key][-1], document)
    if "allOf" in schema:
        return grown(value, schema["allOf"][0], document)
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        # A map of texts has text values under any name.
        more: Any = "new" if isinstance(schema.get("additionalProperties"), dict) else {"nested": [1]}
        return {**{name: grown(each, fields.get(name, {}), document) for name, each in value.items()}, "newField": more}
    if isinstance(value, list):
        return [grown(each, schema.get("items", {}), document) for each in value]
    return "a_new_value" if schema.get("x-may-grow") else value


DOCUMENTS = [
    pytest.param(OPENAPI, served.openapi(OPENAPI), id="openapi"),
    pytest.param(ASYNCAPI, served.asyncapi(ASYNCAPI), id="asyncapi"),
]


def test_served_openapi_is_valid() -> None:
    document = served.openapi(OPENAPI)
    assert not list(OpenAPIV30SpecValidator(document).iter_errors())
    # The controllers, which lint wants in the tree, are server words; and a shared response is written out where its
    # example would have a code that the operation does not answer.
    problems = lint.openapi_problems(document)
    assert {place[-1] for place, _ in problems} == {"x-openapi-router-controller", "401", "403", "409"}, problems


def served_operations() -> Iterator[tuple[Document, Document]]:
    """Yield each operation of the tree with the same one of the served document."""
    document = served.openapi(OPENAPI)
    for path, item in OPENAPI["paths"].items():
        for method in METHODS:
            if method in item and not item[method].get("x-internal"):
                yield item[method], document["paths"][path][method]


def test_served_responses_have_the_headers_of_their_operation() -> None:
    for tree, open_ in served_operations():
        expected = {"X-Request-Id"}
        if "x-rate-limit" in tree:
            expected |= {"RateLimit", "RateLimit-Policy"}
        if tree.get("deprecated"):
            expected |= {"Deprecation", "Sunset"}
        (response,) = (each for status, each in open_["responses"].items() if status.startswith("2"))
        own = next(each for status, each in tree["responses"].items() if status.startswith("2"))
        assert response["headers"].keys() == {*schemas.follow(own, OPENAPI).get("headers", {}), *expected}


def test_example_of_a_problem_has_a_code_of_its_operation() -> None:
    document = served.openapi(OPENAPI)
    shown = [
        (operation["operationId"], content["example"]["code"], COMMON_CODES.union(operation["x-codes"]))
        for _, operation in served_operations()
        for response in operation["responses"].values()
        for name, content in schemas.follow(response, document).get("content", {}).items()
        if name == "application/problem+json"
    ]
    assert len(shown) > 300
    assert [(operation, code) for operation, code, codes in shown if code not in codes] == []
    assert ("rateCall", "already_rated") in {(operation, code) for operation, code, _ in shown}


def test_deprecated_operation_is_served_with_its_headers() -> None:
    tree = deepcopy(OPENAPI)
    tree["paths"]["/health"]["get"]["deprecated"] = True
    response = served.openapi(tree)["paths"]["/health"]["get"]["responses"]["200"]
    assert {"Deprecation", "Sunset"} < response["headers"].keys()


def test_internal_operations_are_not_served() -> None:
    document = served.openapi(OPENAPI)
    assert "delete" in OPENAPI["paths"]["/users/me"] and "delete" not in document["paths"]["/users/me"]
    # Nothing else uses the body of the old form.
    assert "PushDeviceRef" in OPENAPI["components"]["schemas"]
    assert "PushDeviceRef" not in document["components"]["schemas"]


def test_served_specs_have_no_server_words() -> None:
    """Names of the server's modules are nothing to clients, and would change under them."""
    assert "handlers." in json.dumps(OPENAPI) and "handlers." not in json.dumps(served.openapi(OPENAPI))
    assert "realtime." in json.dumps(ASYNCAPI) and "realtime." not in json.dumps(served.asyncapi(ASYNCAPI))


def test_served_asyncapi_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "asyncapi.json"
    path.write_text(json.dumps(served.asyncapi(ASYNCAPI)))
    assert lint.asyncapi_diagnostics(path) == []


@pytest.mark.parametrize(("tree", "open_"), DOCUMENTS)
def test_served_answers_accept_new_fields_and_values(tree: Document, open_: Document) -> None:
    """With a further field in each object and a new value in each list an answer fits, and not the tree's schema."""
    found = answers(open_)
    assert found.keys() == answers(tree).keys() and len(found) > 20
    for name, strict in answers(tree).items():
        usual = example(strict, tree)
        assert schemas.compiled(strict, tree)(usual) is None, name
        grown_up = grown(usual, strict, tree)
        assert schemas.compiled(found[name], open_)(grown_up) is None, name
        assert isinstance(usual, str) or schemas.compiled(strict, tree)(grown_up) is not None, name


@pytest.mark.parametrize(("tree", "open_"), DOCUMENTS)
def test_served_inputs_stay_strict(tree: Document, open_: Document) -> None:
    found = inputs(open_)
    assert found.keys() == inputs(tree).keys()
    for name, strict in inputs(tree).items():
        usual = example(strict, tree)
        assert schemas.compiled(found[name], open_)(usual) is None, name
        assert schemas.compiled(found[name], open_)({**usual, "newField": 1}) is not None, name
        closed = [each.get("enum") for each in below(strict, tree, set()) if "enum" in each]
        assert [each.get("enum") for each in below(found[name], open_, set()) if "enum" in each] == closed, name
        objects = [each for each in below(found[name], open_, set()) if "properties" in each]
        assert all(each.get("additionalProperties") is False for each in objects), name


@pytest.mark.parametrize(("tree", "open_"), DOCUMENTS)
def test_enums_of_answers_may_grow_or_are_listed_as_closed(tree: Document, open_: Document) -> None:
    lists = [each for schema in answers(tree).values() for each in below(schema, tree, set()) if "enum" in each]
    assert lists
    for each in lists:
        assert each.get("x-may-grow") or tuple(each["enum"]) in CLOSED, each
    for schema in answers(open_).values():
        for each in below(schema, open_, set()):
            assert "enum" not in each or tuple(each["enum"]) in CLOSED, each
            assert each.get("additionalProperties") is not False, each


async def test_real_answer_with_a_new_field_fits_the_served_document(
    api: httpx.AsyncClient, make_learner: MakeLearner
) -> None:
    document = (await api.get("/openapi.json")).json()
    ada = await make_learner()
    answer = await ada.http.get("/users/me")
    content = schemas.follow(document["paths"]["/users/me"]["get"]["responses"]["200"], document)["content"]
    validate = schemas.compiled(content["application/json"]["schema"], document)
    body = answer.json()
    assert validate(body) is None
    assert validate({**body, "pronouns": ["she"], "role": "teacher", "englishLevel": "native"}) is None
    assert validate({name: each for name, each in body.items() if name != "id"}) is not None
    problem = await ada.http.patch("/users/me", json={"newField": 1})
    content = schemas.follow(document["paths"]["/users/me"]["patch"]["responses"]["default"], document)["content"]
    validate = schemas.compiled(content["application/problem+json"]["schema"], document)
    assert validate({**problem.json(), "code": "a_new_code", "errors": []}) is None


async def test_served_documents_are_the_open_form(api: httpx.AsyncClient) -> None:
    assert (await api.get("/openapi.json")).json() == orjson.loads(orjson.dumps(served.openapi(OPENAPI)))
    assert (await api.get("/asyncapi.json")).json() == orjson.loads(orjson.dumps(served.asyncapi(ASYNCAPI)))
