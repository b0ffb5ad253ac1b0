"""The ASGI app: the container, the REST contract, the events contract, and the middleware around them."""

from typing import Any

from starlette.types import ASGIApp

import settings as configuration
from adapters import error_reports, logs, tracing
from container import Container
from contract import (
    admin_page,
    deprecations,
    docs,
    events,
    guide,
    middleware,
    pages,
    policy_pages,
    practice_page,
    problem_pages,
    request_traces,
    rest,
    schemas,
    socket_server,
    tus,
)


def create(container: Container | None = None, openapi: dict[str, Any] | None = None) -> ASGIApp:
    """Compose the app; uvicorn calls this in each web process. Benchmarks pass their own `openapi`."""
    services = container or Container(configuration.load())
    logs.configure(services.settings)
    error_reports.configure(services.settings)
    tracing.configure(services.settings, process="web")
    openapi, asyncapi = openapi or schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI)
    documents = [*docs.routes(openapi, asyncapi), *problem_pages.routes(openapi, asyncapi)]
    pictures = services.storage.public_origin
    practice = practice_page.routes(pictures, services.storage.signed_origin)
    # Connexion's app for servers only awaits its middleware.
    api = tus.Protocol(rest.build(services, openapi).middleware, openapi)
    routes = [*documents, *guide.routes(), *admin_page.routes(pictures), *policy_pages.routes(services), *practice]
    http = pages.Pages(routes, api, openapi["paths"])
    wrapped = middleware.wrap(
        socket_server.App(events.build(services), http),
        services.settings,
        services.metrics.count_request,
        deprecations.read_headers(openapi),
        services.stopping,
    )
    return request_traces.wrap(wrapped, services.settings, openapi)
