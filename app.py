"""The ASGI app: the container, the REST contract, the events contract, and the edge around them."""

import socketio
from starlette.types import ASGIApp

import settings as configuration
from adapters import logs
from container import Container
from contract import docs, edge, events, rest, schemas


def create(container: Container | None = None) -> ASGIApp:
    """Compose the app; uvicorn calls this in each worker."""
    services = container or Container(configuration.load())
    logs.configure(services.settings)
    documents = docs.routes(schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI))
    http = edge.Before(documents, rest.build(services))
    return edge.wrap(socketio.ASGIApp(events.build(services), http), services.settings)
