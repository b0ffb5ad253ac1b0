"""Builds the REST app from openapi.yaml: connexion, which holds every request to the spec.

Before it stands `contract/compiled.py`, which answers plain requests sooner and leaves all others to connexion.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Set
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

import orjson

with warnings.catch_warnings():
    # connexion imports Starlette's test client, which complains of a test library.
    warnings.simplefilter("ignore")
    import connexion.context
    from connexion import AsyncApp

from connexion.datastructures import MediaTypeDict
from connexion.exceptions import ProblemException
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.middleware.abstract import ROUTING_CONTEXT
from connexion.middleware.main import ConnexionMiddleware, MiddlewarePosition
from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from connexion.resolver import Resolver
from connexion.security import BearerSecurityHandler
from connexion.validators.parameter import ParameterValidator
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import errors
from contract import compiled, schemas, tus
from contract.operations import (
    MAX_JSON_BYTES,
    METHODS,
    OPERATION,
    Answer,
    Operation,
    bind,
    failure,
    is_public,
    json_body_schemas,
    security,
)

if TYPE_CHECKING:
    from container import Container

# Each request of an operation that takes several content types would be warned of, six times.
logging.getLogger("connexion.operations").setLevel(logging.ERROR)

#: As JSON writes one. Python's `int` also takes a plus, spaces, underscores and the digits of any script.
_INTEGER = re.compile("-?[0-9]{1,19}")
#: Marks, in the document that connexion gets, a scheme whose token may be left out.
_OPTIONAL = "x-optional"


class BoundResolver(Resolver):  # type: ignore[misc]
    """Finds the function that connexion calls for an operation; it asks several times for each."""

    def __init__(self, operations: dict[str, Operation]) -> None:
        super().__init__()
        self._operations = operations

    def resolve_function_from_operation_id(self, operation_id: str) -> Callable[..., Awaitable[ConnexionResponse]]:
        operation = self._operations[operation_id]

        async def endpoint(token_info: Any = None, **arguments: Any) -> ConnexionResponse:
            caller = token_info["identity"] if token_info else None
            named = {operation.parameters[name]: value for name, value in arguments.items()}
            return _response(await operation.call(connexion.context.scope, connexion.context.receive, caller, named))

        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("token_info", *operation.parameters)
        ]
        endpoint.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        return endpoint


def _response(answer: Answer) -> ConnexionResponse:
    return ConnexionResponse(status_code=answer.status, body=answer.body, headers=dict(answer.headers))


class JsonBody:
    """Reads and validates a JSON body; takes the place of connexion's validator, which answers 500 to odd bytes."""

    #: By operationId, in the subclass that `build` makes: connexion makes a JsonBody for each request.
    validators: ClassVar[dict[str, schemas.Validator]]

    def __init__(self, *, required: bool = False, **_: Any) -> None:
        self._required = required

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        headers = Headers(scope=scope)
        raw = await _read(receive, headers)
        if not raw and not self._required:
            return compiled.replay([{"type": "http.request", "body": raw}], receive), scope
        if not raw:
            raise errors.RequestInvalid("a JSON body is needed")
        if "content-type" not in headers:
            raise errors.UnsupportedMediaType("Content-Type should be application/json")
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise errors.RequestInvalid(f"the body is not JSON: {error}") from None
        validator = self.validators[scope["extensions"][ROUTING_CONTEXT]["operation_id"]]
        if problem := schemas.unstorable(body) or validator(body):
            raise errors.RequestInvalid(problem)
        return compiled.replay([{"type": "http.request", "body": raw}], receive), scope


class Upload:
    """Holds a multipart body to one part of a size while it streams; the form parser would take any, and drop parts."""

    #: Bytes by operationId (`x-max-bytes`), in the subclass that `build` makes.
    limits: ClassVar[dict[str, int]]

    def __init__(self, **_: Any) -> None:
        pass

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        headers = Headers(scope=scope)
        _, options = parse_options_header(headers.get("content-type", ""))
        if not options.get(b"boundary"):
            raise errors.RequestInvalid("the multipart body has no boundary")
        delimiter = b"\r\n--" + options[b"boundary"]
        # The body begins with a delimiter, without the line break that belongs to the others.
        tail, delimiters = b"\r\n", 0
        limit = self.limits[scope["extensions"][ROUTING_CONTEXT]["operation_id"]]
        # The file, and what multipart wraps around it.
        left = limit + 4096
        too_large = errors.PayloadTooLarge(f"the file may have {limit} bytes at most")
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > left:
            raise too_large

        async def counted() -> Message:
            nonlocal left, tail, delimiters
            message = await receive()
            body = message.get("body", b"")
            left -= len(body)
            if left < 0:
                raise too_large
            seen = tail + body
            delimiters += seen.count(delimiter)
            tail = seen[-len(delimiter) + 1 :]
            if delimiters > 2:  # the one before the part, and the one that closes
                raise errors.RequestInvalid("the form should have one part")
            return message

        return counted, scope


class Parameters(ParameterValidator):  # type: ignore[misc]
    """Tells what is wrong with a parameter in our words; connexion's repeat the value and the schema.

    Stricter than connexion, which takes the last of repeated values, and for an integer whatever Python reads as one.
    """

    def validate(self, scope: Scope) -> None:
        super().validate(scope)
        types = {each["name"]: each.get("schema", {}).get("type") for each in self.parameters["query"]}
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for name, times in Counter(name for name, _ in given).items():
            if times > 1 and types.get(name) != "array":
                raise errors.RequestInvalid(f"'{name}' is given more than once")
        for name, text in given:
            if types.get(name) == "integer" and not _INTEGER.fullmatch(text):
                raise errors.RequestInvalid(f"'{name}' is not what the contract says")

    def validate_query_parameter_list(self, request: ConnexionRequest, security_params: Any = None) -> set[str]:
        unknown: set[str] = super().validate_query_parameter_list(request, security_params)
        if unknown:
            names = ", ".join(f"'{name}'" for name in sorted(unknown))
            raise errors.RequestInvalid(f"the query has parameters that are not in the contract: {names[:200]}")
        return unknown

    @staticmethod
    def validate_parameter(
        parameter_type: str, value: Any, param: dict[str, Any], param_name: Any = None
    ) -> str | None:
        problem: str | None = ParameterValidator.validate_parameter(parameter_type, value, param, param_name)
        return f"'{param['name']}' is not what the contract says" if problem else None


async def _read(receive: Receive, headers: Headers) -> bytes:
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_JSON_BYTES:
        raise errors.PayloadTooLarge(f"a JSON body may have {MAX_JSON_BYTES} bytes at most")
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.RequestInvalid("the body broke off")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_JSON_BYTES:
            raise errors.PayloadTooLarge(f"a JSON body may have {MAX_JSON_BYTES} bytes at most")
        more = message.get("more_body", False)
    return b"".join(chunks)


class ContentType:
    """Says what a body is in the one form that connexion looks for, and nothing where the spec names no body.

    In `Application/JSON ; charset=utf-8` connexion would find no JSON; and it reads a form, files of any size included,
    wherever one comes.
    """

    def __init__(self, app: ASGIApp, with_body: Set[str]) -> None:
        self._app = app
        self._with_body = with_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            wanted = scope["extensions"][ROUTING_CONTEXT]["operation_id"] in self._with_body
            scope["headers"] = [
                (name, _usual(value) if name == b"content-type" else value)
                for name, value in scope["headers"]
                if wanted or name != b"content-type"
            ]
        await self._app(scope, receive, send)


def _usual(content_type: bytes) -> bytes:
    media_type, *parameters = content_type.split(b";", 1)
    return b";".join([media_type.strip().lower(), *parameters])


class Named:
    """Tells whoever counts which operation connexion is about to answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (named := scope.get(OPERATION)) is not None:
            named[0] = scope["extensions"][ROUTING_CONTEXT]["operation_id"]
        await self._app(scope, receive, send)


class PlainPaths:
    """Answers odd paths like any address that is not there.

    Starlette would redirect `/health/` to the Host header's word, and connexion's patterns overlook a last line break.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].endswith("/") or not scope["path"].isprintable()):
            raise errors.NotFound()
        await self._app(scope, receive, send)


def _bearer_handler(services: Container) -> type[BearerSecurityHandler]:
    class InjectedBearer(BearerSecurityHandler):  # type: ignore[misc]
        def get_fn(self, security_scheme: dict[str, Any], required_scopes: list[str]) -> Callable[..., Any]:
            verify: Callable[..., Any] = super().get_fn(security_scheme, required_scopes)
            if not security_scheme.get(_OPTIONAL):
                return verify
            return lambda request: verify(request) if "authorization" in request.headers else {}

        def _resolve_func(self, security_scheme: dict[str, Any]) -> Callable[..., Any]:
            check = security(security_scheme, services)

            async def verify(token: str) -> dict[str, Any]:
                identity = await check(token)
                return {"sub": identity.user_id, "identity": identity}  # connexion asks for a dict

            return verify

    return InjectedBearer


def _with_optional_schemes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with `[{}, {bearer: []}]` as one scheme, in which a token may be left out.

    Connexion takes the first requirement that is met: with `{}` no token is read, and a bad one is excused.
    """
    schemes = document["components"]["securitySchemes"]
    optional = {f"{name}Optional": {**scheme, _OPTIONAL: True} for name, scheme in schemes.items()}

    def rewritten(method: str, operation: Any) -> Any:
        if method not in METHODS or not is_public(operation):
            return operation
        needed: list[dict[str, list[str]]] = [
            {f"{name}Optional": [] for name in each} for each in operation["security"] if each
        ]
        return {**operation, "security": needed}

    paths = {
        path: {method: rewritten(method, operation) for method, operation in item.items()}
        for path, item in document["paths"].items()
    }
    components = {**document["components"], "securitySchemes": {**schemes, **optional}}
    return {**document, "paths": paths, "components": components}


def build(services: Container, document: dict[str, Any]) -> ASGIApp:
    """Build the ASGI app of openapi.yaml; raise ContractError where spec and code disagree."""
    operations = bind(document, services)
    validators = {
        operation_id: schemas.compiled(schema, document) for operation_id, schema in json_body_schemas(document).items()
    }
    stock: ASGIApp = _connexion(services, document, operations, validators)
    if not services.settings.rest_fast_path:
        return stock
    return compiled.FastPath(stock, services, document, operations, validators)


def _connexion(
    services: Container,
    document: dict[str, Any],
    operations: dict[str, Operation],
    validators: dict[str, schemas.Validator],
) -> AsyncApp:
    templates = [
        (compile_path(path)[0], [method.upper() for method in METHODS if method in item])
        for path, item in document["paths"].items()
    ]

    async def on_error(request: ConnexionRequest, exception: Exception) -> ConnexionResponse:
        answer = failure(exception)
        if answer.status == errors.MethodNotAllowed.status:
            allowed = [
                method for pattern, methods in templates if pattern.match(request.url.path) for method in methods
            ]
            answer.headers["Allow"] = ", ".join(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])}))
        return _response(answer)

    body_validator = type("BoundJsonBody", (JsonBody,), {"validators": validators})
    limits = {
        each.id: each.definition["requestBody"]["x-max-bytes"]
        for each in operations.values()
        if "x-max-bytes" in each.definition.get("requestBody", {})
    }
    upload = type("BoundUpload", (Upload,), {"limits": limits})
    app = AsyncApp(
        "parlance",
        specification_dir=str(schemas.ROOT),
        lifespan=services.lifespan,
        strict_validation=True,
        validate_responses=services.settings.app_env == "test",
        middlewares=[each for each in ConnexionMiddleware.default_middlewares if each is not SwaggerUIMiddleware],
        resolver=BoundResolver(operations),
        security_map={"bearer": _bearer_handler(services)},
        validator_map={
            "body": MediaTypeDict({"*/*json": body_validator, "multipart/form-data": upload}),
            "parameter": Parameters,
        },
    )
    app.add_middleware(PlainPaths, position=MiddlewarePosition.BEFORE_ROUTING)
    app.add_middleware(Named, position=MiddlewarePosition.BEFORE_SECURITY)
    with_body = {each.id for each in operations.values() if "requestBody" in each.definition}
    app.add_middleware(ContentType, position=MiddlewarePosition.BEFORE_VALIDATION, with_body=with_body)
    app.add_middleware(tus.Requests, position=MiddlewarePosition.BEFORE_VALIDATION, document=document)
    app.add_api(_with_optional_schemes(document))
    for kind in (errors.ProductError, ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, on_error)
    return app
