"""Connexion middleware that answers plain REST requests ahead of the rest of Connexion's stack.

Connexion gives it every operation, with the function that the resolver found for it (`SpecMiddleware.add_api`). A
request is plain if its path, method, parameters, body and token match its operation, in their usual
form. Any other request goes to the next middleware unchanged, with the part of its body that was read, so that
every refusal is made in one place. An operation that needs more than a bearer token, simple parameters and a JSON
body always goes there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import orjson
from connexion.middleware.abstract import RoutedAPI, SpecMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract import schemas
from contract.entity_tags import NOT_MODIFIED
from contract.http_limits import Limits
from contract.operation_calls import JSON_HEADERS, Answer
from contract.operations import OPERATION, WHOLE, ContractError, Operation
from contract.request_bodies import MAX_JSON_BYTES, replay
from contract.security import OPTIONAL, Bearer

if TYPE_CHECKING:
    from connexion.operations import AbstractOperation
    from connexion.spec import Specification

    from services.identity.logins import Identity

#: Parameters, and schemas of parameters, with other keys are left to Connexion.
_PARAMETER_KEYS = {"name", "in", "required", "description", "example", "schema"}
_SCHEMA_KEYS = {"type", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "default"}
_ANNOTATIONS = {"title", "description", "example", "x-may-grow"}
_TEMPLATE = re.compile(r"\{([^}]+)\}")
_NO_SEGMENTS: tuple[str, ...] = ()
_CONTENT_TYPE = (b"content-type", b"application/json")
_JSON = frozenset((b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"))

TokenCheck: TypeAlias = "Callable[[str], Awaitable[Identity]]"


class _NotPlain(Exception):
    """The request, or the operation, is left to the rest of Connexion's stack."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of type string, integer or boolean: its name in Python, and its rules."""

    name: str
    type: str
    validator: schemas.Validator

    def read(self, text: str) -> str | int | bool:
        # The regular expressions of Python and of jsonschema-rs agree on ASCII only.
        if not (text.isascii() and text.isprintable()):
            raise _NotPlain
        value: str | int | bool = text
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
    check_token: TokenCheck | None
    #: Whether the token is optional. One that is sent is checked.
    is_public: bool
    path: list[_Parameter]
    query: dict[str, _Parameter]
    required: frozenset[str]
    defaults: dict[str, Any]
    #: Describes how an answer's body differs from the spec, where answers are validated.
    answer_problem: Callable[[Answer], str | None] | None

    async def read(
        self, scope: Scope, segments: tuple[str, ...], receive: Receive, received: list[Message]
    ) -> tuple[Identity | None, dict[str, Any]]:
        """Return the identity and the arguments, messages read added to `received`; raise _NotPlain otherwise."""
        headers = dict(reversed(scope["headers"]))  # of a repeated header, the first counts
        identity = None
        if self.check_token and not (self.is_public and b"authorization" not in headers):
            kind, _, token = headers[b"authorization"].partition(b" ")
            if kind.lower() != b"bearer":
                raise _NotPlain
            identity = await self.check_token(token.decode("latin-1"))
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
        if self.operation.validate_body:
            arguments["body"] = await _read_body(self.operation.validate_body, headers, receive, received)
        elif headers.get(b"content-type", b"application/json") not in _JSON:
            raise _NotPlain  # Connexion reads forms even where the operation takes none
        return identity, arguments


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
    # Text that cannot be stored is valid UTF-8 only as an escape.
    if body is None or validator(body) or (b"\\u" in raw and schemas.unstorable(body)):
        raise _NotPlain
    return body


class FastPathAPI(RoutedAPI):  # type: ignore[misc]
    """Plans of the operations of one specification, with Connexion's resolver and security handlers."""

    def __init__(
        self,
        specification: Specification,
        *,
        security_map: dict[str, type[Bearer]],
        validate_responses: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(specification, **options)
        self._bearer = security_map["bearer"]()
        self._validate_responses = validate_responses
        #: Each operation as Connexion lists them: method, path, and its plan, or None where it is never plain.
        self.routes: list[tuple[str, str, _Plan | None]] = []
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> _Plan | None:
        try:
            plan = self._plan(operation, self.resolver.operations[operation.operation_id])
        except _NotPlain:
            plan = None
        self.routes.append((operation.method.upper(), self.base_path + operation.path, plan))
        return plan

    def _plan(self, operation: AbstractOperation, bound: Operation) -> _Plan:
        """Compile an operation; raise _NotPlain for one that is left to Connexion."""
        if operation.consumes not in ([], ["application/json"]):
            raise _NotPlain
        # `contract/tus.py` checks the headers of its paths in Connexion's stack.
        is_tus = self.specification["paths"][operation.path].get("x-tus", False)
        declared = {each["name"]: each for each in operation.parameters if is_tus or not _is_unchecked(each)}
        # A function with other parameters gets them from Connexion.
        if bound.parameters.keys() != {*declared, *(["body"] if bound.validate_body else [])}:
            raise _NotPlain
        parameters: dict[str, dict[str, _Parameter]] = {"path": {}, "query": {}}
        for name, each in declared.items():
            if each["in"] not in parameters or not each.keys() <= _PARAMETER_KEYS:
                raise _NotPlain
            parameters[each["in"]][name] = _parameter(bound.parameters[name], each["schema"])
        names = _TEMPLATE.findall(operation.path)
        if sorted(parameters["path"]) != sorted(names):
            raise _NotPlain
        check_token, is_public = self._token_check(operation)
        return _Plan(
            bound,
            check_token,
            is_public,
            [parameters["path"][name] for name in names],
            parameters["query"],
            frozenset(bound.parameters[name] for name, each in declared.items() if each.get("required")),
            {
                bound.parameters[name]: each["schema"]["default"]
                for name, each in declared.items()
                if "default" in each["schema"]
            },
            _answer_check(operation, bound.status) if self._validate_responses else None,
        )

    def _token_check(self, operation: AbstractOperation) -> tuple[TokenCheck | None, bool]:
        """Return the check of the operation's token, None without one, and whether the token is optional."""
        if not operation.security:
            return None, True
        names = [name for requirement in operation.security for name in requirement]
        scheme = operation.security_schemes[names[0]] if len(names) == 1 else {}
        if len(operation.security) != 1 or scheme.get("scheme") != "bearer":
            raise _NotPlain
        return self._bearer.token_check(scheme), OPTIONAL in scheme


def _is_unchecked(parameter: dict[str, Any]) -> bool:
    """Return whether a parameter is a header or a cookie that only the function reads and no rule limits."""
    schema = {key: value for key, value in parameter["schema"].items() if key not in _ANNOTATIONS}
    is_any_text = schema.pop("maxLength", 0) >= Limits().head_bytes and schema == {"type": "string"}
    return parameter["in"] in ("header", "cookie") and not parameter.get("required") and is_any_text


def _parameter(name: str, schema: dict[str, Any]) -> _Parameter:
    schema = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    if not schema.keys() <= _SCHEMA_KEYS or schema.get("type") not in ("string", "integer", "boolean"):
        raise _NotPlain
    return _Parameter(name, schema["type"], schemas.compiled(schema, {}))


def _answer_check(operation: AbstractOperation, status: int) -> Callable[[Answer], str | None]:
    """Return the check of answers against the spec, as Connexion validates responses."""
    has_content = "content" in operation.response_definition(status)
    # Connexion adds the document's components, which it has resolved already, and which contain the schema itself.
    schema = {
        key: value
        for key, value in operation.response_schema(status, "application/json").items()
        if key != "components"
    }
    validator = schemas.compiled(schema, {}, check_texts=False) if schema else None

    def problem(answer: Answer) -> str | None:
        if answer.status == NOT_MODIFIED:
            is_declared = str(NOT_MODIFIED) in operation.responses
            return None if is_declared and answer.body is None else "304 with a body, or where it is not described"
        if validator is None or answer.body is None:
            fits = validator is None and (answer.body is None) == (not has_content)
            return None if fits else "a body where none is described, or none"
        return validator(orjson.loads(answer.body))

    return problem


class _Templates:
    """The other paths of one method, as one pattern: the first that fits counts, as in Connexion's router."""

    def __init__(self, routes: list[tuple[str, _Plan | None]]) -> None:
        self._plans: dict[int, tuple[_Plan | None, int]] = {}
        patterns, group = [], 1
        for path, plan in routes:
            literals = _TEMPLATE.split(path)[::2]
            patterns.append("(" + "([^/]+)".join(map(re.escape, literals)) + ")")
            self._plans[group] = plan, group + len(literals) - 1
            group += len(literals)
        self._pattern = re.compile("|".join(patterns))

    def find(self, path: str) -> tuple[_Plan | None, tuple[str, ...]]:
        """Return the plan, or None, and the values of the parameters of `path`."""
        match = self._pattern.fullmatch(path)
        if match is None or match.lastindex is None:
            return None, _NO_SEGMENTS
        plan, last = self._plans[match.lastindex]
        return plan, match.groups()[match.lastindex : last]


class FastPath(SpecMiddleware):  # type: ignore[misc]
    """The middleware; it stands first in Connexion's stack."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        #: The plans of paths without parameters.
        self._exact: dict[tuple[str, str], _Plan] = {}
        self._templates: dict[str, _Templates] = {}
        #: Counts of requests that were answered here, by operationId.
        self.answered: dict[str, int] = {}

    def add_api(self, specification: Specification, **options: Any) -> FastPathAPI:
        """Compile the operations that Connexion serves."""
        if self._templates:
            raise ContractError("the fast path serves one specification")
        api = FastPathAPI(specification, next_app=self._app, **options)
        templates: dict[str, list[tuple[str, _Plan | None]]] = {}
        for method, path, plan in api.routes:
            for served in (method, "HEAD") if method == "GET" else (method,):
                if plan is None or plan.path:
                    templates.setdefault(served, []).append((path, plan))
                else:
                    self._exact[served, path] = plan
        self._templates = {method: _Templates(routes) for method, routes in templates.items()}
        self.answered = dict.fromkeys((plan.operation.id for _, _, plan in api.routes if plan), 0)
        return api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan, segments = None, _NO_SEGMENTS
        if scope["type"] == "http" and not scope.get("root_path"):
            plan = self._exact.get((scope["method"], scope["path"]))
            if plan is None and scope["method"] in self._templates:
                plan, segments = self._templates[scope["method"]].find(scope["path"])
        if plan is None:
            await self._app(scope, receive, send)
            return
        if (named := scope.get(OPERATION)) is not None:
            named[0] = plan.operation.id
        received: list[Message] = []
        try:
            identity, arguments = await plan.read(scope, segments, receive, received)
        except Exception:
            # Connexion finds the same fault, and describes it.
            await self._app(scope, replay(received, receive), send)
            return
        operation = plan.operation
        self.answered[operation.id] += 1
        try:
            answer = await operation.call(scope, replay(received, receive), identity, arguments)
            if plan.answer_problem and (problem := plan.answer_problem(answer)):
                raise ContractError(f"{operation.id} answered against the contract: {problem}")
        except Exception as exception:
            answer = operation.answer_failure(exception)
        if answer.headers is JSON_HEADERS and answer.body is not None and WHOLE in scope.get("extensions", ()):
            await send({"type": WHOLE, "status": answer.status, "body": answer.body})
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": _raw_headers(answer)})
        await send({"type": "http.response.body", "body": answer.body or b""})


def _raw_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    if answer.headers is JSON_HEADERS and answer.body is not None:
        return [_CONTENT_TYPE, (b"content-length", b"%d" % len(answer.body))]
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status not in (204, NOT_MODIFIED):
        headers.append((b"content-length", b"%d" % len(answer.body or b"")))
    return headers
