"""The REST app of openapi.yaml: Connexion, which routes every operation and validates each request.

Its stack begins with `contract/fast_path.py`, which answers plain requests sooner.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    # Connexion imports Starlette's test client, which warns of a test library.
    warnings.simplefilter("ignore")
    import connexion.context
    from connexion import AsyncApp

from connexion.datastructures import MediaTypeDict
from connexion.exceptions import NonConformingResponseBody, ProblemException
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.middleware.abstract import ROUTING_CONTEXT
from connexion.middleware.main import ConnexionMiddleware, MiddlewarePosition
from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from connexion.resolver import Resolver
from connexion.validators import JSONResponseBodyValidator, TextResponseBodyValidator
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

import errors
from contract import schemas, tus
from contract.fast_path import FastPath
from contract.operation_calls import Answer
from contract.operations import METHODS, OPERATION, Operation, bind, failure
from contract.parameters import Parameters
from contract.request_bodies import ContentType, JsonBody, Upload
from contract.security import bearer_handler, for_connexion

if TYPE_CHECKING:
    from connexion.operations import AbstractOperation

    from container import Container

# Connexion would log six warnings for each request of an operation with several content types.
logging.getLogger("connexion.operations").setLevel(logging.ERROR)


class BoundResolver(Resolver):  # type: ignore[misc]
    """Resolver of operations to their bound functions, cached: Connexion resolves each several times."""

    def __init__(self, operations: dict[str, Operation]) -> None:
        super().__init__()
        self.operations = operations

    def resolve_operation_id(self, operation: AbstractOperation) -> str:
        return str(operation.operation_id)  # unique by itself; the functions have been found by their controllers

    def resolve_function_from_operation_id(self, operation_id: str) -> Callable[..., Awaitable[ConnexionResponse]]:
        operation = self.operations[operation_id]

        async def endpoint(token_info: Any = None, **arguments: Any) -> ConnexionResponse:
            identity = token_info["identity"] if token_info else None
            named = {operation.parameters[name]: value for name, value in arguments.items()}
            return _response(await operation.call(connexion.context.scope, connexion.context.receive, identity, named))

        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("token_info", *operation.parameters)
        ]
        endpoint.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        return endpoint


def _response(answer: Answer) -> ConnexionResponse:
    return ConnexionResponse(status_code=answer.status, body=answer.body, headers=dict(answer.headers))


class JsonAnswer(JSONResponseBodyValidator):  # type: ignore[misc]
    """Validator of JSON answers instead of Connexion's, which knows fewer formats and no nullable `allOf`."""

    def _validate(self, body: Any) -> None:
        # Connexion adds the document's components, which it has resolved already.
        schema = {key: value for key, value in self._schema.items() if key != "components"}
        if problem := schemas.compiled(schema, {}, check_texts=False)(body):
            raise NonConformingResponseBody(f"the answer is against the contract: {problem}")


class OperationName:
    """Middleware that notes, for metrics, which operation Connexion has routed a request to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (named := scope.get(OPERATION)) is not None:
            named[0] = scope["extensions"][ROUTING_CONTEXT]["operation_id"]
        await self._app(scope, receive, send)


class PlainPaths:
    """Middleware that answers 404 to paths that Connexion's router would match or redirect by mistake.

    Starlette redirects `/health/` to the address in the Host header, and a pattern ignores a line break at the end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].endswith("/") or not scope["path"].isprintable()):
            raise errors.NotFound()
        await self._app(scope, receive, send)


def build(services: Container, document: dict[str, Any]) -> AsyncApp:
    """Build the ASGI app of openapi.yaml; raise ContractError where spec and code disagree."""
    operations = bind(document, services)
    stack = [each for each in ConnexionMiddleware.default_middlewares if each is not SwaggerUIMiddleware]
    app = AsyncApp(
        "parlance",
        specification_dir=str(schemas.ROOT),
        lifespan=services.lifespan,
        strict_validation=True,
        validate_responses=services.settings.app_env == "test",
        middlewares=[FastPath, *stack] if services.settings.rest_fast_path else stack,
        resolver=BoundResolver(operations),
        security_map={"bearer": bearer_handler(services)},
        validator_map=_validators(operations),
    )
    app.add_middleware(PlainPaths, position=MiddlewarePosition.BEFORE_ROUTING)
    app.add_middleware(OperationName, position=MiddlewarePosition.BEFORE_SECURITY)
    with_body = {each.id for each in operations.values() if "requestBody" in each.definition}
    app.add_middleware(ContentType, position=MiddlewarePosition.BEFORE_VALIDATION, with_body=with_body)
    app.add_middleware(tus.Requests, position=MiddlewarePosition.BEFORE_VALIDATION, document=document)
    app.add_api(for_connexion(document))
    on_error = _error_handler(document, operations)
    for kind in (errors.ProductError, ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, on_error)
    return app


def _validators(operations: dict[str, Operation]) -> dict[str, Any]:
    bodies = {each.id: each.validate_body for each in operations.values() if each.validate_body}
    limits = {
        each.id: each.definition["requestBody"]["x-max-bytes"]
        for each in operations.values()
        if "x-max-bytes" in each.definition.get("requestBody", {})
    }
    return {
        "body": MediaTypeDict(
            {
                "*/*json": type("BoundJsonBody", (JsonBody,), {"validators": bodies}),
                "multipart/form-data": type("BoundUpload", (Upload,), {"limits": limits}),
            }
        ),
        "parameter": Parameters,
        "response": MediaTypeDict({"*/*json": JsonAnswer, "text/plain": TextResponseBodyValidator}),
    }


def _error_handler(
    document: dict[str, Any], operations: dict[str, Operation]
) -> Callable[[ConnexionRequest, Exception], Awaitable[ConnexionResponse]]:
    templates = [
        (compile_path(path)[0], [method.upper() for method in METHODS if method in item])
        for path, item in document["paths"].items()
    ]

    async def on_error(request: ConnexionRequest, exception: Exception) -> ConnexionResponse:
        operation = operations.get(request.scope[OPERATION][0]) if OPERATION in request.scope else None
        answer = operation.answer_failure(exception) if operation else failure(exception)
        if answer.status == errors.MethodNotAllowed.status:
            # Starlette names the methods of one route; the path may have several.
            allowed = [
                method for pattern, methods in templates if pattern.match(request.url.path) for method in methods
            ]
            answer.headers["Allow"] = ", ".join(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])}))
        return _response(answer)

    return on_error
