"""A server that fails at startup: `python -m tests.cli.failing_server stack|lifespan|contract PORT WORKERS`.

`stack` fails where Connexion builds its middlewares, which it does with the first message of the server, `lifespan`
where the services start, and `contract` before that: the spec names an operation without a function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connexion import AsyncApp
from connexion.middleware.main import ConnexionMiddleware
from starlette.types import ASGIApp

import errors
import settings as configuration
from adapters import logs
from cli import serve
from cli.main import refuse
from contract import middleware, schemas


class FailingMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        raise errors.Refused("the middleware cannot be built")


@asynccontextmanager
async def failing_lifespan(_app: object) -> AsyncIterator[None]:
    raise OSError("the services cannot start")
    yield


def application() -> ASGIApp:
    failure = os.environ["FAILURE"]
    if failure == "contract":
        document = schemas.load(schemas.OPENAPI)
        document["paths"]["/nowhere"] = {"get": {**document["paths"]["/health"]["get"], "operationId": "nowhere"}}
        return serve.application(document)
    settings = configuration.load()
    logs.configure(settings)
    stack = [*([FailingMiddleware] if failure == "stack" else []), *ConnexionMiddleware.default_middlewares]
    app = AsyncApp("failing", middlewares=stack, lifespan=failing_lifespan)
    return middleware.wrap(app, settings, lambda _operation, _status, _seconds: None)


if __name__ == "__main__":
    os.environ["FAILURE"], port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    name = "tests.cli.failing_server:application"
    try:
        serve.run_web_processes(name, host="127.0.0.1", port=port, workers=workers, trusted_proxies=[])
    except errors.Refused as error:
        refuse(str(error))
