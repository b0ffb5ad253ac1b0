"""Operations of openapi.yaml, bound to their functions. The fast path and Connexion call them in the same way.

`operationId` in snake_case is the name of a function in the module that `x-openapi-router-controller` names. It takes
`services` (the container), the path and query parameters in snake_case, `body` if the operation has one, `identity` if
it is secured, and `request` for headers, cookies and, without `body`, the raw bytes. It returns the body, or
`(body, headers)`; bytes go out as they are, under the Content-Type of those headers. The status is the operation's only
2xx answer, or 304 where `If-None-Match` has the ETag of those headers.
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import inflection
from starlette.routing import compile_path

import errors
import handlers
import parlance
from contract import problems, rate_limits, schemas, text_fields
from contract.operation_calls import Answer, Call, call_handler, limit_calls, normalize_body, repeat_answers
from contract.schemas import ContractError as ContractError

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.contract")

METHODS = ("get", "head", "put", "post", "delete", "patch", "options")

#: The name in a request's scope of a list with one item: the id of the operation that answers it, for metrics.
OPERATION = "parlance.operation"
#: The name in a request's state of the other end of its connection, which may be a proxy, as ASGI's (host, port).
PEER = "parlance.peer"
#: An ASGI extension, and its message: an answer's `status` and its `body` of JSON; `middleware.py` adds `head`, further
#: header lines. One write in place of two, without uvicorn's checks of headers that are always the same.
WHOLE = "parlance.response.whole"

#: Codes that any operation can answer; `x-codes` lists the others of one operation.
COMMON_CODES = frozenset(
    error.code
    for error in (
        errors.RequestInvalid,
        errors.MethodNotAllowed,
        errors.NotAcceptable,
        errors.RequestTimeout,
        errors.PayloadTooLarge,
        errors.UriTooLong,
        errors.UnsupportedMediaType,
        errors.HeadersTooLarge,
        errors.Internal,
        errors.Unavailable,
    )
)

#: Parameters of a handler besides those of its operation and the body.
_INJECTED = ("services", "identity", "request")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with its function.

    `call(scope, receive, identity, arguments)` takes the request in ASGI's terms, the identity where the operation is
    secured (None where it is public and no token came), and the arguments by the names of `parameters`, which maps
    those of the spec to those of the function.
    """

    id: str
    path: str
    method: str
    definition: dict[str, Any]
    status: int
    parameters: dict[str, str]
    #: Of a JSON body; None where the operation takes none.
    validate_body: schemas.Validator | None
    call: Call
    #: Codes that it can answer. An answer with another one is an error in tests.
    codes: frozenset[str]
    is_checked: bool

    def answer_failure(self, exception: Exception) -> Answer:
        """Return the problem that an exception becomes, as `failure`; in tests `internal` for an undeclared code."""
        error = problems.as_product_error(exception)
        if error.code not in self.codes:
            log.error("undeclared_code operation=%s code=%s", self.id, error.code)
            if self.is_checked:
                error = errors.Internal(f"openapi.yaml does not list {error.code} for {self.id}")
        return problem_answer(error)


class _Body(NamedTuple):
    """Processing of a JSON body: validation, and normalization of its texts."""

    validate: schemas.Validator
    normalize: text_fields.Normalizer


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


def error_codes(document: dict[str, Any]) -> list[str]:
    """Return the values of a spec's `ErrorCode`."""
    codes: list[str] = document["components"]["schemas"]["ErrorCode"]["enum"]
    return codes


def bind(document: dict[str, Any], services: Container) -> dict[str, Operation]:
    """Bind each operation, by its id; raise ContractError where it has no function or a handler no operation."""
    found = definitions(document)
    for definition in found.values():
        check_parameters(function_for(definition), definition, document)
    bodies = {
        operation_id: _Body(schemas.compiled(schema, document), text_fields.compile_normalizer(schema, document))
        for operation_id, schema in json_body_schemas(document).items()
    }
    bound = {
        operation_id: _bind(function_for(definition), services, definition, bodies.get(operation_id))
        for operation_id, definition in found.items()
    }
    _check_order(bound.values())
    named = {function_path(definition) for definition in found.values()}
    for info in pkgutil.iter_modules(handlers.__path__):
        path = f"handlers.{info.name}"
        module = parlance.import_module(path)
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            taken = next(iter(inspect.signature(function).parameters), None)
            if function.__module__ != module.__name__ or taken != "services" or info.name == "security":
                continue
            if f"{path}.{name}" not in named:
                raise ContractError(f"{path}.{name} takes requests, but openapi.yaml does not name it")
    return bound


def _check_order(operations: Iterable[Operation]) -> None:
    """Raise ContractError for a path that Connexion never reaches, because one before it fits the same addresses."""
    for first, second in combinations(operations, 2):
        if first.method == second.method and compile_path(first.path)[0].fullmatch(second.path):
            raise ContractError(f"openapi.yaml: {first.path} also fits {second.path}; put the more exact one first")


def function_path(definition: dict[str, Any]) -> str:
    """Return the import path of an operation's function: its controller, and its operationId in snake_case."""
    name = inflection.underscore(definition.get("operationId", ""))
    return f"{definition.get('x-openapi-router-controller', '')}.{name}"


def function_for(definition: dict[str, Any]) -> Callable[..., Any]:
    """Import the function of an operation, or raise ContractError."""
    path = function_path(definition)
    module_name, _, name = path.rpartition(".")
    try:
        module = parlance.import_module(module_name)
        function: Callable[..., Any] = getattr(module, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"openapi.yaml names {path}, but there is no such function ({error})") from None
    if (
        not inspect.iscoroutinefunction(function)
        or next(iter(inspect.signature(function).parameters), None) != "services"
    ):
        raise ContractError(f"{path} should be `async def {name}(services, ...)`")
    return function


def check_parameters(function: Callable[..., Any], definition: dict[str, Any], document: dict[str, Any]) -> None:
    """Raise ContractError unless the function takes exactly the parameters of path, query and form."""
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
    """Map the id of each operation that takes a JSON body to the body's schema; one with `x-raw-body` takes bytes."""
    found = {}
    for operation_id, definition in definitions(document).items():
        body = schemas.follow(definition.get("requestBody", {}), document)
        schema = body.get("content", {}).get("application/json", {}).get("schema")
        if schema and not body.get("x-raw-body"):
            found[operation_id] = schema
    return found


def is_public(definition: dict[str, Any]) -> bool:
    """Return whether an operation's bearer token may be left out: its `security` has an empty requirement, `{}`."""
    return {} in definition.get("security", [])


def _bind(
    function: Callable[..., Any], services: Container, definition: dict[str, Any], body: _Body | None
) -> Operation:
    """Wrap a handler: injection and the answer's status, then repeats, limits, and the texts of a body."""
    status = next(int(code) for code in definition["responses"] if str(code).startswith("2"))
    names = list(inspect.signature(function).parameters)
    operation_id, idempotent = definition["operationId"], definition.get("x-idempotent", False)
    if idempotent and not ("identity" in names and status != 204):
        raise ContractError(f"openapi.yaml: {operation_id} is x-idempotent, but has no identity or no answer to repeat")
    call = call_handler(function, services, names, status, is_public=is_public(definition))
    if idempotent:
        call = repeat_answers(call, services, operation_id, status)
    if limits := rate_limits.read(definition):
        # Counted together with the operation that replaces it.
        call = limit_calls(call, services, definition.get("x-successor", operation_id), limits)
    if body:
        call = normalize_body(call, body.normalize)
    return Operation(
        operation_id,
        definition["path"],
        definition["method"],
        definition,
        status,
        {inflection.camelize(name, uppercase_first_letter=False): name for name in names if name not in _INJECTED},
        body.validate if body else None,
        call,
        COMMON_CODES.union(definition.get("x-codes", ())),
        services.settings.app_env == "test",
    )


def failure(exception: Exception) -> Answer:
    """Return the problem that an exception becomes, where no operation was found."""
    return problem_answer(problems.as_product_error(exception))


def problem_answer(error: errors.ProductError) -> Answer:
    body, headers = problems.problem_response(error)
    return Answer(error.status, headers, body)
