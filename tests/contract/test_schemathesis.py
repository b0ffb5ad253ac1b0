"""Generated requests: valid and invalid ones, made from openapi.yaml, to every operation.

First each operation by itself; then one after another, each made from the answers before it, which schemathesis reads
from the contract: what one answer names as `courseId` is asked for by the next. The requests are the same in every run;
`REST_SEED=7 REST_EXAMPLES=2000 pytest tests/contract/test_schemathesis.py` makes others, and more of them.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

import errors
from container import Container
from contract import schemas
from testing.servers import PASSWORD, Server, address, http_client
from testing.time_limits import limit

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

DOCUMENT = schemas.load(schemas.OPENAPI)
OPERATIONS = [
    (path, method)
    for path, item in DOCUMENT["paths"].items()
    for method in ("get", "put", "post", "delete", "patch")
    if method in item
]
SEED = int(os.environ.get("REST_SEED", "0"))
#: Requests to each operation, and walks through all of them.
EXAMPLES = int(os.environ.get("REST_EXAMPLES", "12"))
#: Operations that end the account or its login: each request would need an account of its own. Tested by journeys.
ENDING = {
    ("/auth/logout", "post"),
    ("/auth/logout-all", "post"),
    ("/auth/devices/{deviceId}", "delete"),
    ("/users/me", "delete"),
}
#: Those, and the ones by which a walk would end an account that it walks as, or what others watch. Tested by journeys.
NOT_WALKED = [
    *(DOCUMENT["paths"][path][method]["operationId"] for path, method in sorted(ENDING)),
    "banUser",
    # Counted by the hour: a walk would soon get 429 alone. See tests/handlers/logins/.
    "resendVerification",
    # Signed by the provider: what is made up is refused, as the test above shows. See tests/handlers/payments/.
    "receivePaymentWebhook",
]
#: What ends at a payment provider.
PAID = ("/payments/create-checkout-session", "/courses/{courseId}/enroll")


def new_account(server: Server) -> str:
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "deviceId": "fuzz", "platform": "ios"}
    answer = httpx.post(
        f"{server.url}/auth/register", json=body, headers={"X-Forwarded-For": address()}, timeout=limit(15)
    )
    return str(answer.json()["accessToken"])


@pytest.fixture(scope="session")
def token(server: Server) -> str:
    return new_account(server)


@pytest.fixture(scope="session")
async def admin_token(server: Server, container: Container) -> str:
    email = f"{uuid.uuid4().hex}@example.com"
    await container.administrators.create(email, PASSWORD)
    body = {"email": email, "password": PASSWORD, "deviceId": "fuzz", "platform": "ios"}
    async with http_client() as http:
        answer = await http.post(f"{server.url}/auth/login", json=body, headers={"X-Forwarded-For": address()})
    return str(answer.json()["accessToken"])


@pytest.mark.rest_paths
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

    @seed(SEED)
    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
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
        excluded = [positive_data_acceptance]
        # A header breaks its own limit by breaking that of all headers. What breaks the query may have no form in it,
        # such as an empty list; then the request that was sent breaks nothing.
        sent = parse_qs(urlsplit(str(answer.request.url)).query, keep_blank_values=True)
        if answer.status_code == errors.HeadersTooLarge.status or (case.query or {}).keys() - sent.keys():
            excluded.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=excluded)

    check()


@pytest.mark.parametrize("role", ["student", "admin"])
def test_linked_requests_keep_to_the_contract(role: str, server: Server, token: str, admin_token: str) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(operation_id=NOT_WALKED)
    schema.config.base_url = server.url
    bearer = admin_token if role == "admin" else token
    statuses: Counter[int] = Counter()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"X-Forwarded-For": address(), "Authorization": f"Bearer {bearer}"}}

        def validate_response(self, response: Any, case: Any, **given: Any) -> None:
            statuses[response.status_code] += 1
            # This server has no payment provider, and says so. With one: tests/handlers/payments/.
            if response.status_code == 503 and case.path in PAID:
                return
            assert response.status_code < 500 or case.path == "/ready", response.text
            # A request that is wrong for want of a token is right with the one that it is given here.
            case.validate_response(response, excluded_checks=[positive_data_acceptance, negative_data_rejection])

    once = settings(
        max_examples=1,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Each walk by itself: hypothesis would take a product that remembers the last one for a test that is not steady.
    for number in range(EXAMPLES):
        run_state_machine_as_test(seed(SEED * 1_000_000 + number)(Walk), settings=once)
    # It came further than to refusals: something was made, and found again.
    assert statuses[200] > 5, statuses
    assert statuses[201] if role == "admin" else statuses[403], statuses
