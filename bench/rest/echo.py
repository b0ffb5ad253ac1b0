"""An operation that the benchmark adds to openapi.yaml: returns its validated body."""

from __future__ import annotations

from typing import Any

from contract import schemas

_PATH = {
    "post": {
        "operationId": "echo",
        "x-openapi-router-controller": "bench.rest.echo",
        "requestBody": {"$ref": "#/components/requestBodies/Credentials"},
        "responses": {
            "200": {
                "description": "What came.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Credentials"}}},
            }
        },
    }
}


async def echo(services: Any, body: dict[str, Any]) -> dict[str, Any]:
    return body


def document() -> dict[str, Any]:
    """Read openapi.yaml with `POST /bench/echo` added."""
    openapi = schemas.load(schemas.OPENAPI)
    openapi["paths"]["/bench/echo"] = _PATH
    return openapi
