"""Answers plain REST requests without connexion, from the same openapi.yaml compiled at start.

A request is plain when its path, method, parameters, body and token are what the spec asks for, in their usual form.
Whatever else comes is handed to connexion as it came, the part of its body that was read included, so that every
refusal is worded in one place. Operations that need more than a bearer token, simple parameters and a JSON body are
left to connexion altogether.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract import schemas
from contract.operations import (
    JSON_HEADERS,
    MAX_JSON_BYTES,
    OPERATION,
    WHOLE,
    Answer,
    ContractError,
    Operation,
    failure,
    is_public,
    security,
)

if TYPE_CHECKING:
    from container import Container

#: Parameters, and schemas of parameters, that say more than this are connexion's.
_PARAMETER_KEYS = {"name", "in", "required", "description", "example", "schema"}
_SCHEMA_KEYS = {"type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "default"}
_ANNOTATIONS = {"title", "description", "example", "x-may-grow"}
_NONE: list[str] = []
_CONTENT_TYPE = (b"content-type", b"application/json")
_JSON = frozenset((b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"))


class _NotPlain(Exception):
    """The request is connexion's."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of type string, integer or boolean: its name in Python, and what its value must be."""

    name: str
    type: str
    validator: schemas.Validator

    def read(self, text: str) -> Any:
        # The two servers' regular expressions agree on ASCII only.
        if not (text.isascii() and text.isprintable()):
            raise _NotPlain
        value: Any = text
        if self.type == "integer":
            if not text.isdigit():
                raise _NotPlain
            value = int(text)
        elif self.type == "boolean":
            if text not in ("true", "false"):
                raise _NotPlain
            value = text == "true"
        if self.validator(value):
            raise _NotPlain
        return value


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to answer one operation."""

    operation: Operation
    check_token: Callable[[str], Awaitable[Any]] | None
    #: Whether the token may be left out. One that comes is checked all the same.
    is_public: bool
    path: list[_Parameter]
    query: dict[str, _Parameter]
    required: frozenset[str]
    defaults: dict[str, Any]
    body: schemas.Validator | None
    #: For tests: what is wrong with an answer's body.
    answer_problem: Callable[[Answer], str | None] | None

    async def read(
        self, scope: Scope, segments: list[str], receive: Receive, received: list[Message]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the caller and the arguments, messages read noted in `received`; raise for a request not plain."""
        headers = dict(reversed(scope["headers"]))  # of headers that come twice, the first counts
        caller = None
        if self.check_token and not (self.is_public and b"authorization" not in headers):
            kind, _, token = headers[b"authorization"].partition(b" ")
            if kind.lower() != b"bearer":
                raise _NotPlain
            caller = await self.check_token(token.decode("latin-1"))
        arguments = self.defaults.copy()
        if segments:
            for parameter, segment in zip(self.path, segments, strict=True):
                arguments[parameter.name] = parameter.read(segment)
        if scope["query_string"]:
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            texts = dict(pairs)
            if len(texts) < len(pairs):
                raise _NotPlain
            for name, text in texts.items():
                parameter = self.query[name]
                arguments[parameter.name] = parameter.read(text)
        if self.required and not self.required <= arguments.keys():
            raise _NotPlain
        if self.body:
            arguments["body"] = await _read_body(self.body, headers, receive, received)
        elif headers.get(b"content-type", b"application/json") not in _JSON:
            raise _NotPlain  # connexion reads forms even where none is asked for
        return caller, arguments


async def _read_body(
    validator: schemas.Validator, headers: dict[bytes, bytes], receive: Receive, received: list[Message]
) -> Any:
    declared = int(headers[b"content-length"])
    if headers[b"content-type"] not in _JSON or b"transfer-encoding" in headers or declared > MAX_JSON_BYTES:
        raise _NotPlain
    raw, more = b"", True
    while more:
        message = await receive()
        received.append(message)
        raw += message["body"]
        more = message.get("more_body", False)
        if len(raw) > declared:
            raise _NotPlain
    body = orjson.loads(raw)
    # What cannot be stored can only come as an escape.
    if body is None or validator(body) or (b"\\u" in raw and schemas.unstorable(body)):
        raise _NotPlain
    return body


@dataclass(slots=True)
class _Node:
    """A place in the tree of paths, and the plans of the path that ends there, by method."""

    children: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    plans: dict[str, _Plan] = field(default_factory=dict)

    def add(self, plan: _Plan) -> None:
        node = self
        for segment in plan.operation.path.split("/"):
            if not _is_template(segment):
                node = node.children.setdefault(segment, _Node())
            else:
                node.parameter = node.parameter or _Node()
                node = node.parameter
        node.plans[plan.operation.method.upper()] = plan
        if plan.operation.method == "get":
            node.plans["HEAD"] = plan

    def find(self, method: str, path: str) -> tuple[_Plan | None, list[str]]:
        """Return the plan, or None, and the segments of `path` that are values of parameters."""
        node = self
        values: list[str] = []
        for segment in path.split("/"):
            if child := node.children.get(segment):
                node = child
            elif node.parameter and segment:
                node = node.parameter
                values.append(segment)
            else:
                return None, values
        return node.plans.get(method), values


class FastPath:
    """The ASGI app before connexion's, which is `stock`."""

    def __init__(
        self,
        stock: ASGIApp,
        services: Container,
        document: dict[str, Any],
        operations: dict[str, Operation],
        validators: dict[str, schemas.Validator],
    ) -> None:
        _check_order(operations)
        self._stock = stock
        self._root = _Node()
        #: The plans of paths without parameters, found without walking the tree.
        self._exact: dict[tuple[str, str], _Plan] = {}
        #: How many requests of each operation were answered here, by operationId.
        self.answered: dict[str, int] = {}
        for operation in operations.values():
            with suppress(_NotPlain):
                plan = _plan(operation, services, document, validators.get(operation.id))
                self._root.add(plan)
                if not plan.path:
                    self._exact[operation.method.upper(), operation.path] = plan
                self.answered[operation.id] = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan, segments = None, _NONE
        if scope["type"] == "http" and not scope.get("root_path"):
            plan = self._exact.get((scope["method"], scope["path"]))
            if plan is None:
                plan, segments = self._root.find(scope["method"], scope["path"])
        if plan is None:
            await self._stock(scope, receive, send)
            return
        if (named := scope.get(OPERATION)) is not None:
            named[0] = plan.operation.id
        received: list[Message] = []
        try:
            caller, arguments = await plan.read(scope, segments, receive, received)
        except Exception:
            # Whatever it was, connexion meets it again and says it in its words.
            await self._stock(scope, replay(received, receive), send)
            return
        operation = plan.operation
        self.answered[operation.id] += 1
        try:
            answer = await operation.call(scope, replay(received, receive), caller, arguments)
            if plan.answer_problem and (problem := plan.answer_problem(answer)):
                raise ContractError(f"{operation.id} answered against the contract: {problem}")
        except Exception as exception:
            answer = failure(exception)
        if answer.headers is JSON_HEADERS and answer.body is not None and WHOLE in scope.get("extensions", ()):
            await send({"type": WHOLE, "status": answer.status, "body": answer.body})
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": _raw_headers(answer)})
        await send({"type": "http.response.body", "body": answer.body or b""})


def replay(messages: list[Message], receive: Receive) -> Receive:
    """Return a `receive` that gives `messages` before it goes on."""
    pending = iter(messages)

    async def replayed() -> Message:
        for message in pending:
            return message
        return await receive()

    return replayed


def _raw_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    if answer.headers is JSON_HEADERS and answer.body is not None:
        return [_CONTENT_TYPE, (b"content-length", b"%d" % len(answer.body))]
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body or b"")))
    return headers


def _check_order(operations: dict[str, Operation]) -> None:
    """Raise ContractError where two paths fit one address and the more general comes first: connexion takes that."""
    for first, second in combinations(operations.values(), 2):
        pairs = list(zip(first.path.split("/"), second.path.split("/"), strict=False))
        if (
            first.method == second.method
            and first.path.count("/") == second.path.count("/")
            and all(a == b or _is_template(a) or _is_template(b) for a, b in pairs)
            and not all(a == b or _is_template(b) for a, b in pairs)
        ):
            raise ContractError(f"openapi.yaml: {second.path} also fits {first.path}; put the more exact one first")


def _is_template(segment: str) -> bool:
    return segment.startswith("{")


def _plan(operation: Operation, services: Container, document: dict[str, Any], body: schemas.Validator | None) -> _Plan:
    """Compile an operation; raise _NotPlain for one that is connexion's."""
    definition = operation.definition
    content = schemas.follow(definition.get("requestBody", {}), document).get("content", {})
    if content and set(content) != {"application/json"}:
        raise _NotPlain
    declared = [
        schemas.follow(each, document)
        for each in (*document["paths"][operation.path].get("parameters", ()), *definition.get("parameters", ()))
    ]
    # A function that takes anything else, or leaves something out, needs what connexion gives it.
    if sorted(operation.parameters) != sorted([*(each["name"] for each in declared), *(["body"] if content else [])]):
        raise _NotPlain
    parameters: dict[str, dict[str, _Parameter]] = {"path": {}, "query": {}}
    for each in declared:
        if each["in"] not in parameters or not each.keys() <= _PARAMETER_KEYS:
            raise _NotPlain
        parameters[each["in"]][each["name"]] = _parameter(each, operation, document)
    segments = [segment for segment in operation.path.split("/") if _is_template(segment)]
    if sorted(parameters["path"]) != sorted(segment[1:-1] for segment in segments):
        raise _NotPlain
    defaults = {
        parameters["query"][each["name"]].name: schemas.follow(each["schema"], document)["default"]
        for each in declared
        if each["in"] == "query" and "default" in schemas.follow(each["schema"], document)
    }
    return _Plan(
        operation,
        _token_check(definition.get("security", document.get("security", [])), services, document),
        is_public(definition),
        [parameters["path"][segment[1:-1]] for segment in segments],
        parameters["query"],
        frozenset(operation.parameters[each["name"]] for each in declared if each.get("required")),
        defaults,
        body,
        _answer_check(operation, document) if services.settings.app_env == "test" else None,
    )


def _parameter(declared: dict[str, Any], operation: Operation, document: dict[str, Any]) -> _Parameter:
    schema = schemas.follow(declared["schema"], document)
    schema = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    if not schema.keys() <= _SCHEMA_KEYS or schema.get("type") not in ("string", "integer", "boolean"):
        raise _NotPlain
    return _Parameter(operation.parameters[declared["name"]], schema["type"], schemas.compiled(schema, document))


def _token_check(
    requirements: list[dict[str, Any]], services: Container, document: dict[str, Any]
) -> Callable[[str], Awaitable[Any]] | None:
    requirements = [each for each in requirements if each]
    if not requirements:
        return None
    names = [name for requirement in requirements for name in requirement]
    scheme = document["components"]["securitySchemes"][names[0]] if len(names) == 1 else {}
    if len(requirements) != 1 or scheme.get("scheme") != "bearer":
        raise _NotPlain
    return security(scheme, services)


def _answer_check(operation: Operation, document: dict[str, Any]) -> Callable[[Answer], str | None]:
    """Return what tells how an answer differs from the spec: in tests each is looked at, as connexion does it."""
    response = schemas.follow(operation.definition["responses"][str(operation.status)], document)
    content = response.get("content", {})
    schema = content.get("application/json", {}).get("schema")
    validator = schemas.compiled(schema, document, check_texts=False) if schema else None

    def problem(answer: Answer) -> str | None:
        if validator is None or answer.body is None:
            fits = validator is None and (answer.body is None) == (not content)
            return None if fits else "a body where none is described, or none"
        return validator(orjson.loads(answer.body))

    return problem
