"""What nobody thought of: requests made from openapi.yaml, right and wrong ones, to every operation."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from container import Container
from contract import schemas
from tests.world import PASSWORD, Server, address

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

DOCUMENT = schemas.load(schemas.OPENAPI)
OPERATIONS = [
    (path, method)
    for path, item in DOCUMENT["paths"].items()
    for method in ("get", "put", "post", "delete", "patch")
    if method in item
]
#: Operations that end the account or its sign-in: each request would need an account of its own. Tested by journeys.
ENDING = {
    ("/auth/logout", "post"),
    ("/auth/logout-all", "post"),
    ("/auth/devices/{deviceId}", "delete"),
    ("/users/me", "delete"),
}


def new_account(server: Server) -> str:
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "deviceId": "fuzz", "platform": "ios"}
    answer = httpx.post(f"{server.url}/auth/register", json=body, headers={"X-Forwarded-For": address()})
    return str(answer.json()["accessToken"])


@pytest.fixture(scope="session")
def token(server: Server) -> str:
    return new_account(server)


@pytest.fixture(scope="session")
async def admin_token(server: Server, container: Container) -> str:
    email = f"{uuid.uuid4().hex}@example.com"
    await container.admins.create(email, PASSWORD)
    body = {"email": email, "password": PASSWORD, "deviceId": "fuzz", "platform": "ios"}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{server.url}/auth/login", json=body, headers={"X-Forwarded-For": address()})
    return str(answer.json()["accessToken"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_generated_requests_get_documented_answers(
    path: str, method: str, server: Server, token: str, admin_token: str
) -> None:
    usual = admin_token if path.startswith("/admin/") else token
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.base_url = server.url
    operation = schema[path][method.upper()]
    strategy = operation.as_strategy(generation_mode=GenerationMode.POSITIVE) | operation.as_strategy(
        generation_mode=GenerationMode.NEGATIVE
    )

    @given(case=strategy)
    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # Each from an address and, for what ends an account, an account of its own.
        bearer = new_account(server) if (path, method) in ENDING else usual
        answer = case.call(headers={"X-Forwarded-For": address(), "Authorization": f"Bearer {bearer}"})
        assert answer.status_code < 500 or path == "/ready", answer.text
        # A 400 to what the schema allows is right where the schema cannot say it: a cursor that this list gave out, a
        # token of a mail, a time zone that exists, a password's bytes.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    check()
