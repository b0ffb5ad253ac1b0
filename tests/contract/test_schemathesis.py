"""What nobody thought of: requests made from openapi.yaml, right and wrong ones, to every operation."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.generation import GenerationMode

from contract import schemas
from tests.world import PASSWORD, Server, address

DOCUMENT = schemas.load(schemas.OPENAPI)
OPERATIONS = [
    (path, method) for path, item in DOCUMENT["paths"].items() for method in ("get", "put", "post", "delete", "patch") if method in item
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


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_generated_requests_get_documented_answers(path: str, method: str, server: Server, token: str) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.base_url = server.url
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    operation = schema[path][method.upper()]

    @schema.given(case=operation.as_strategy())  # type: ignore[untyped-decorator, unused-ignore]
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
        bearer = new_account(server) if (path, method) in ENDING else token
        answer = case.call(headers={"X-Forwarded-For": address(), "Authorization": f"Bearer {bearer}"})
        assert answer.status_code < 500 or path == "/ready", answer.text
        case.validate_response(answer)

    assert isinstance(Case, type)
    check()
