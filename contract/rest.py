"""Builds the REST app from openapi.yaml: every operation bound to its function, every request held to the spec.

`operationId` is the import path of a function in `handlers/`. It takes `services` (the container), the path and
query parameters in snake_case, `body` where the operation has one, `caller` where it is secured, and `request` for
headers and cookies. It returns the
body, or `(body, headers)`; the status is the operation's only 2xx answer.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import warnings
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import inflection
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
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import errors
from contract import problems, schemas

if TYPE_CHECKING:
    from container import Container

METHODS = ("get", "put", "post", "delete", "patch")
MAX_JSON_BYTES = 64 * 1024

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class ContractError(errors.Refused):
    """The spec and the code disagree; the message says where. Raised at start."""


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Map each operationId to its operation, with `path` and `method` added."""
    found: dict[str, dict[str, Any]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation_id = item[method].get("operationId", "")
                if operation_id in found:
                    raise ContractError(
                        f"openapi.yaml: {operation_id} names two operations, the second is {method} {path}"
                    )
                found[operation_id] = {**item[method], "path": path, "method": method}
    return found


def function_for(operation_id: str) -> Callable[..., Any]:
    """Import the function an operationId names, or raise ContractError."""
    module_name, _, name = operation_id.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        function: Callable[..., Any] = getattr(module, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"openapi.yaml names {operation_id}, but there is no such function ({error})") from None
    if (
        not inspect.iscoroutinefunction(function)
        or next(iter(inspect.signature(function).parameters), None) != "services"
    ):
        raise ContractError(f"{operation_id} should be `async def {name}(services, ...)`")
    return function


def check_bound(document: dict[str, Any]) -> None:
    """Raise ContractError where an operation has no function or a handler no operation."""
    import pkgutil

    import handlers

    ids = operations(document)
    for operation_id in ids:
        function_for(operation_id)
    for info in pkgutil.iter_modules(handlers.__path__):
        module = importlib.import_module(f"handlers.{info.name}")
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            taken = next(iter(inspect.signature(function).parameters), None)
            if function.__module__ != module.__name__ or taken != "services" or info.name == "security":
                continue
            if f"{module.__name__}.{name}" not in ids:
                raise ContractError(f"{module.__name__}.{name} takes requests, but openapi.yaml does not name it")


class Limit(NamedTuple):
    """`calls` in `seconds`, counted for each `per`: `ip`, or `account` (the caller, else the e-mail of the body)."""

    calls: int
    seconds: float
    per: str

    async def take(self, services: Container, operation_id: str, client: str, caller: Any, body: Any) -> None:
        """Count a call; raise RateLimited."""
        who = client
        if self.per == "account":
            # Hashed: a store of counters should not be a list of addresses.
            who = caller.user_id if caller else hashlib.sha256(body["email"].lower().encode()).hexdigest()[:32]
        await services.rate_limiter.take(f"{operation_id}:{self.per}:{who}", self.calls, self.seconds)


def rate_limits(operation: dict[str, Any]) -> list[Limit]:
    """Read `x-rate-limit`."""
    limits = []
    for entry in operation.get("x-rate-limit", []):
        match = re.fullmatch(r"(\d+)([smhd])", entry["window"])
        if match is None or entry["per"] not in ("ip", "account"):
            raise ContractError(f"openapi.yaml: {operation['operationId']} has an x-rate-limit that is not understood")
        window = timedelta(**{_UNITS[match[2]]: int(match[1])})
        limits.append(Limit(entry["limit"], window.total_seconds(), entry["per"]))
    return limits


class InjectingResolver(Resolver):  # type: ignore[misc]
    """Finds an operation's function and hands it `services`; connexion calls it several times an operation."""

    def __init__(self, services: Container, document: dict[str, Any]) -> None:
        super().__init__()
        self._services = services
        self._operations = operations(document)

    def resolve_function_from_operation_id(self, operation_id: str) -> Callable[..., Awaitable[ConnexionResponse]]:
        return bind(function_for(operation_id), self._services, self._operations[operation_id])


def bind(function: Callable[..., Any], services: Container, operation: dict[str, Any]) -> Callable[..., Any]:
    """Wrap a handler for connexion: inject `services` and `caller`, spell parameters, hold limits, set the status."""
    status = next(int(code) for code in operation["responses"] if str(code).startswith("2"))
    signature = inspect.signature(function).parameters
    injected = ("services", "caller", "request")
    wire_names = {
        inflection.camelize(name, uppercase_first_letter=False): name for name in signature if name not in injected
    }
    limits = rate_limits(operation)
    operation_id = operation["operationId"]

    async def endpoint(token_info: Any = None, **kwargs: Any) -> ConnexionResponse:
        scope = connexion.context.scope
        caller = token_info["identity"] if token_info else None
        for limit in limits:
            client = (scope.get("client") or ("unknown", 0))[0]
            await limit.take(services, operation_id, client, caller, kwargs.get("body"))
        arguments = {wire_names[name]: value for name, value in kwargs.items()}
        if "caller" in signature:
            arguments["caller"] = caller
        if "request" in signature:
            arguments["request"] = Request(scope)
        result = await function(services, **arguments)
        body, headers = result if isinstance(result, tuple) else (result, {})
        return ConnexionResponse(
            status_code=status,
            content_type="application/json" if body is not None else None,
            body=orjson.dumps(body) if body is not None else None,
            headers=dict(headers),
        )

    keywords = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("token_info", *wire_names)]
    endpoint.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return endpoint


class JsonBody:
    """Reads and validates a JSON body; takes the place of connexion's validator, which answers 500 to odd bytes."""

    #: By operationId; filled when the app is built, for connexion makes a JsonBody for each request.
    validators: ClassVar[dict[str, schemas.Validator]] = {}

    def __init__(self, *, required: bool = False, **_: Any) -> None:
        self._required = required

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        headers = Headers(scope=scope)
        raw = await _read(receive, headers)
        if not raw and not self._required:
            return _replay(raw, receive), scope
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
        return _replay(raw, receive), scope


class Upload:
    """Holds a multipart body to one part of a size while it streams; the form parser would take any, and drop parts."""

    #: Bytes by operationId (`x-max-bytes`); filled when the app is built.
    limits: ClassVar[dict[str, int]] = {}

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
    """Tells what is wrong with a parameter in our words; connexion's repeat the value and the schema."""

    @staticmethod
    def validate_parameter(
        parameter_type: str, value: Any, param: dict[str, Any], param_name: Any = None
    ) -> str | None:
        problem: str | None = ParameterValidator.validate_parameter(parameter_type, value, param, param_name)
        return f"'{param['name']}' is not what the contract says" if problem else None


def body_validators(document: dict[str, Any]) -> dict[str, schemas.Validator]:
    """Compile the JSON body of each operation that takes one, by operationId."""
    compiled = {}
    for operation_id, operation in operations(document).items():
        body = schemas.follow(operation.get("requestBody", {}), document)
        if schema := body.get("content", {}).get("application/json", {}).get("schema"):
            compiled[operation_id] = schemas.compiled(schema, document)
    return compiled


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


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


class NoTrailingSlash:
    """Answers `/health/` like any address that is not there; Starlette would redirect to the Host header's word."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            raise errors.NotFound()
        await self._app(scope, receive, send)


def _bearer_handler(services: Container) -> type[BearerSecurityHandler]:
    class InjectedBearer(BearerSecurityHandler):  # type: ignore[misc]
        def _resolve_func(self, security_scheme: dict[str, Any]) -> Callable[..., Any]:
            module_name, _, name = security_scheme["x-bearerInfoFunc"].rpartition(".")
            function = getattr(importlib.import_module(module_name), name)

            async def verify(token: str) -> dict[str, Any]:
                identity = await function(services, token)
                return {"sub": identity.user_id, "identity": identity}  # connexion asks for a dict

            return verify

    return InjectedBearer


def build(services: Container) -> AsyncApp:
    """Build the ASGI app of openapi.yaml; raise ContractError where spec and code disagree."""
    document = schemas.load(schemas.OPENAPI)
    check_bound(document)
    JsonBody.validators = body_validators(document)
    Upload.limits = {
        operation_id: operation["requestBody"]["x-max-bytes"]
        for operation_id, operation in operations(document).items()
        if "x-max-bytes" in operation.get("requestBody", {})
    }
    templates = [
        (compile_path(path)[0], [method.upper() for method in METHODS if method in item])
        for path, item in document["paths"].items()
    ]

    async def on_error(request: ConnexionRequest, exception: Exception) -> ConnexionResponse:
        error = problems.as_product_error(exception)
        body, headers = problems.problem_response(error)
        if isinstance(error, errors.MethodNotAllowed):
            allowed = [
                method for pattern, methods in templates if pattern.match(request.url.path) for method in methods
            ]
            headers["Allow"] = ", ".join(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])}))
        return ConnexionResponse(
            status_code=error.status, content_type=headers.pop("Content-Type"), body=body, headers=headers
        )

    app = AsyncApp(
        "parlance",
        specification_dir=str(schemas.ROOT),
        lifespan=services.lifespan,
        strict_validation=True,
        validate_responses=services.settings.app_env == "test",
        middlewares=[each for each in ConnexionMiddleware.default_middlewares if each is not SwaggerUIMiddleware],
        resolver=InjectingResolver(services, document),
        security_map={"bearer": _bearer_handler(services)},
        validator_map={
            "body": MediaTypeDict({"*/*json": JsonBody, "multipart/form-data": Upload}),
            "parameter": Parameters,
        },
    )
    app.add_middleware(NoTrailingSlash, position=MiddlewarePosition.BEFORE_ROUTING)
    app.add_api(document)
    for kind in (errors.ProductError, ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, on_error)
    return app
