"""Owns the operations of openapi.yaml: each bound to its function, and the one way in which both servers call it.

`operationId` is the import path of a function in `handlers/`. It takes `services` (the container), the path and
query parameters in snake_case, `body` where the operation has one, `caller` where it is secured, and `request` for
headers, cookies and, where no `body` is asked for, the bytes that came. It returns the body, or `(body, headers)`;
bytes go out as they are, under the Content-Type of those headers. The status is the operation's only 2xx answer.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import inflection
from starlette.requests import Request
from starlette.types import Receive, Scope

import errors
import handlers
from adapters.json_text import encode_json
from adapters.rate_limiter import Taken
from contract import client_addresses, problems, schemas, text_fields
from models import email_addresses

if TYPE_CHECKING:
    from container import Container
    from services.identity.logins import Identity

METHODS = ("get", "head", "put", "post", "delete", "patch", "options")

MAX_JSON_BYTES = 64 * 1024
JSON_HEADERS = {"Content-Type": "application/json"}
#: The client of a request whose server does not say who it is, as ASGI's (host, port).
UNKNOWN_CLIENT = (client_addresses.UNKNOWN, 0)

#: Where a request's ASGI scope has a list of one: the operation that answers it, for whoever counts.
OPERATION = "parlance.operation"
#: An ASGI extension, and the message it allows: an answer's `status` and its `body` of JSON; the edge adds `head`,
#: further lines of its head. One write in place of two, without a look at headers that are always the same.
WHOLE = "parlance.response.whole"

#: What caches may do with an answer that differs for who sends a token: a shared one keeps that to nobody for a minute,
#: and no other.
_ANONYMOUS = {"Cache-Control": "public, max-age=60", "Vary": "Authorization"}
_PERSONAL = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}

#: What a handler may take beside the parameters and the body of its operation.
_INJECTED = ("services", "caller", "request")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class ContractError(errors.Refused):
    """The spec and the code disagree; the message says where. Raised at start."""


class Answer(NamedTuple):
    """What goes out, whoever sends it."""

    status: int
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with its function.

    `call(scope, receive, caller, arguments)` takes the request in ASGI's terms, the caller where the operation is
    secured (None where it is public and no token came), and the arguments by the names of `parameters`, which maps
    those of the spec to those of the function.
    """

    id: str
    path: str
    method: str
    definition: dict[str, Any]
    status: int
    parameters: dict[str, str]
    call: Callable[[Scope, Receive, Any, dict[str, Any]], Awaitable[Answer]]


def definitions(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
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


def bind(document: dict[str, Any], services: Container) -> dict[str, Operation]:
    """Bind each operation, by its id; raise ContractError where it has no function or a handler no operation."""
    found = definitions(document)
    for operation_id, definition in found.items():
        check_parameters(function_for(operation_id), definition, document)
    bodies = {
        operation_id: text_fields.compile_normalizer(schema, document)
        for operation_id, schema in json_body_schemas(document).items()
    }
    bound = {
        operation_id: _bind(function_for(operation_id), services, found[operation_id], bodies.get(operation_id))
        for operation_id in found
    }
    for info in pkgutil.iter_modules(handlers.__path__):
        module = importlib.import_module(f"handlers.{info.name}")
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            taken = next(iter(inspect.signature(function).parameters), None)
            if function.__module__ != module.__name__ or taken != "services" or info.name == "security":
                continue
            if f"{module.__name__}.{name}" not in found:
                raise ContractError(f"{module.__name__}.{name} takes requests, but openapi.yaml does not name it")
    return bound


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


def check_parameters(function: Callable[..., Any], definition: dict[str, Any], document: dict[str, Any]) -> None:
    """Raise ContractError where the function does not take what path, query and form say, or takes more."""
    shared = document["paths"][definition["path"]].get("parameters", [])
    named = [schemas.follow(each, document) for each in (*shared, *definition.get("parameters", []))]
    described = {each["name"] for each in named if each["in"] in ("path", "query")}
    content = schemas.follow(definition.get("requestBody", {}), document).get("content", {})
    if form := content.get("multipart/form-data"):
        described |= schemas.follow(form["schema"], document)["properties"].keys()
    taken = {inflection.camelize(name, uppercase_first_letter=False) for name in inspect.signature(function).parameters}
    taken -= {*_INJECTED, "body"}
    if described != taken:
        differ = ", ".join(sorted(described ^ taken))
        raise ContractError(
            f"openapi.yaml: {definition['operationId']} and its function differ in parameters: {differ}"
        )


def json_body_schemas(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Map the id of each operation that takes a JSON body to the body's schema."""
    found = {}
    for operation_id, definition in definitions(document).items():
        body = schemas.follow(definition.get("requestBody", {}), document)
        if schema := body.get("content", {}).get("application/json", {}).get("schema"):
            found[operation_id] = schema
    return found


def is_public(definition: dict[str, Any]) -> bool:
    """Say whether the bearer token of an operation may be left out: its `security` has an empty requirement, `{}`."""
    return {} in definition.get("security", [])


def security(scheme: dict[str, Any], services: Container) -> Callable[[str], Awaitable[Identity]]:
    """Return what turns a bearer token into the caller, or raises, for a scheme of the spec."""
    module_name, _, name = scheme["x-bearerInfoFunc"].rpartition(".")
    return functools.partial(getattr(importlib.import_module(module_name), name), services)


class Limit(NamedTuple):
    """`calls` in `seconds`, counted for each `per`: `ip`, or `account` (the caller, else the e-mail of the body).

    With `failures` a call counts only if it is answered with 401, and a device that proves that it has logged in to the
    account before is counted apart: guesses of others cannot lock the owner out.
    """

    calls: int
    seconds: float
    per: str
    failures: bool = False

    async def take(self, services: Container, operation_id: str, client: str, caller: Any, body: Any) -> Taken:
        """Count a call; raise RateLimited."""
        who = client_addresses.canonical(client)
        if self.per == "account":
            who = caller.user_id if caller else email_addresses.account_key(body["email"])
            proof = body.get("deviceProof") if self.failures and body else None
            if proof is not None and services.logins.is_known_device(proof, body["email"], body["deviceId"]):
                who += f":{body['deviceId']}"
        return await services.rate_limiter.take(f"{operation_id}:{self.per}:{who}", self.calls, self.seconds)


@asynccontextmanager
async def _counted(
    services: Container, operation_id: str, limits: list[Limit], client: str, caller: Any, body: Any
) -> AsyncIterator[None]:
    """Count a call while it is carried out. Where failures count, it is counted first and given back at the end: of
    calls at once no more than the limit are tried. One that is broken off stays counted."""
    provisional: list[Taken] = []
    for limit in limits:
        taken = await limit.take(services, operation_id, client, caller, body)
        if limit.failures:
            provisional.append(taken)
    try:
        yield
    except Exception as error:
        if not (isinstance(error, errors.ProductError) and error.status == 401):
            await _give_back(services, provisional)
        raise
    await _give_back(services, provisional)


async def _give_back(services: Container, provisional: list[Taken]) -> None:
    for taken in provisional:
        await services.rate_limiter.give_back(taken)


def rate_limits(operation: dict[str, Any]) -> list[Limit]:
    """Read `x-rate-limit`."""
    limits = []
    for entry in operation.get("x-rate-limit", []):
        match = re.fullmatch(r"(\d+)([smhd])", entry["window"])
        counts = entry.get("counts", "calls")
        if match is None or entry["per"] not in ("ip", "account") or counts not in ("calls", "failures"):
            raise ContractError(f"openapi.yaml: {operation['operationId']} has an x-rate-limit that is not understood")
        window = timedelta(**{_UNITS[match[2]]: int(match[1])})
        limits.append(Limit(entry["limit"], window.total_seconds(), entry["per"], counts == "failures"))
    return limits


#: The header that makes a repeat of an operation with `x-idempotent` harmless, as ASGI has it.
_IDEMPOTENCY_KEY = b"idempotency-key"


def _bind(
    function: Callable[..., Any],
    services: Container,
    definition: dict[str, Any],
    normalize_body: text_fields.Normalizer | None,
) -> Operation:
    """Wrap a handler: inject `services` and `caller`, hold limits, answer repeats, set the status."""
    status = next(int(code) for code in definition["responses"] if str(code).startswith("2"))
    names = list(inspect.signature(function).parameters)
    parameters = {
        inflection.camelize(name, uppercase_first_letter=False): name for name in names if name not in _INJECTED
    }
    wants_caller, wants_request = "caller" in names, "request" in names
    limits = rate_limits(definition)
    operation_id = definition["operationId"]

    idempotent = definition.get("x-idempotent", False)
    public = is_public(definition)

    async def call(scope: Scope, receive: Receive, caller: Any, arguments: dict[str, Any]) -> Answer:
        if normalize_body and "body" in arguments:
            arguments["body"] = normalize_body(arguments["body"])
        if not limits:
            return await carry_out(scope, receive, caller, arguments)
        client = (scope.get("client") or UNKNOWN_CLIENT)[0]
        async with _counted(services, operation_id, limits, client, caller, arguments.get("body")):
            return await carry_out(scope, receive, caller, arguments)

    async def carry_out(scope: Scope, receive: Receive, caller: Any, arguments: dict[str, Any]) -> Answer:
        key = dict(scope["headers"]).get(_IDEMPOTENCY_KEY) if idempotent else None
        if key is None:
            return await answer(scope, receive, caller, arguments)
        attempt = await services.idempotency.begin(caller.user_id, operation_id, key.decode("latin-1"), arguments)
        if attempt.answer is not None:
            return Answer(status, {**JSON_HEADERS, "Idempotent-Replayed": "true"}, attempt.answer.encode())
        try:
            answered = await answer(scope, receive, caller, arguments)
        except BaseException:
            await services.idempotency.abandon(attempt)
            raise
        await services.idempotency.finish(attempt, (answered.body or b"").decode())
        return answered

    async def answer(scope: Scope, receive: Receive, caller: Any, arguments: dict[str, Any]) -> Answer:
        # Copied: what belongs to the request alone is no part of what a repeat is compared by.
        given = dict(arguments)
        if wants_caller:
            given["caller"] = caller
        if wants_request:
            given["request"] = Request(scope, receive)
        result = await function(services, **given)
        body, headers = result if isinstance(result, tuple) else (result, {})
        if public:
            headers = {**(_ANONYMOUS if caller is None else _PERSONAL), **headers}
        if body is None:
            return Answer(status, headers, None)
        if isinstance(body, bytes):  # its headers say what it is
            return Answer(status, headers, body)
        return Answer(status, {**headers, **JSON_HEADERS} if headers else JSON_HEADERS, encode_json(body))

    if idempotent and not (wants_caller and status != 204):
        raise ContractError(f"openapi.yaml: {operation_id} is x-idempotent, but has no caller or no answer to repeat")
    return Operation(operation_id, definition["path"], definition["method"], definition, status, parameters, call)


def failure(exception: Exception) -> Answer:
    """Answer with the problem that an exception is."""
    error = problems.as_product_error(exception)
    body, headers = problems.problem_response(error)
    return Answer(error.status, headers, body)
