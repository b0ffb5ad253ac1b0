"""`RateLimit` and `RateLimit-Policy`: what is left of the limits of an operation, on its responses of every kind."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import httpx
import pytest

from container import Container
from contract import examples, operations, rate_limits, schemas
from models import email_addresses
from testing.accounts import credentials, make_admin, new_email
from testing.call_history import MakeLearner
from testing.servers import Learner, address, client

pytestmark = pytest.mark.rest_paths

DOCUMENT = schemas.load(schemas.OPENAPI)
LIMITED = {name: each for name, each in operations.definitions(DOCUMENT).items() if "x-rate-limit" in each}
BODIES = operations.json_body_schemas(DOCUMENT)


def read(answer: httpx.Response) -> dict[str, tuple[int, int | None]]:
    """Return what is left of each policy, and the seconds until one more is available."""
    form = r'"([\w-]+)";r=(\d+)(?:;t=(\d+))?'
    members = answer.headers["RateLimit"].split(", ")
    found = [re.fullmatch(form, each) for each in members]
    return {each[1]: (int(each[2]), int(each[3]) if each[3] else None) for each in found if each}


def request(operation_id: str) -> dict[str, Any]:
    """Return the arguments of a request that passes validation."""
    definition = LIMITED[operation_id]
    body: dict[str, Any] = {}
    if operation_id in BODIES:
        body["json"] = examples.compose(BODIES[operation_id], DOCUMENT)
        if "email" in body["json"]:
            # Limits per account outlive a test: other tests send the example's address to the same Redis.
            body["json"]["email"] = new_email()
    elif "requestBody" in definition:
        body["files"] = {"file": b"a picture"}
    return {"method": definition["method"], "url": re.sub(r"\{\w+\}", str(uuid.uuid4()), definition["path"]), **body}


@pytest.mark.parametrize("operation_id", LIMITED)
async def test_request_beyond_a_limit_is_refused_with_the_wait(
    container: Container, asgi: Any, api: httpx.AsyncClient, make_learner: MakeLearner, operation_id: str
) -> None:
    definition, sent, host = LIMITED[operation_id], request(operation_id), address()
    counted_as = definition.get("x-successor", operation_id)
    learner: Learner | None = None
    if "x-role" in definition:
        learner = await make_admin(container, api)
    elif definition["security"]:
        learner = await make_learner()
    limits = rate_limits.read(definition)
    for limit in limits:
        who = host
        if limit.per != "ip":
            who = learner.id if learner else email_addresses.account_key(sent["json"]["email"])
        if limit.per == "account-ip":
            who += f":{host}"
        key = f"{counted_as}:{limit.per}:{who}"
        await asyncio.gather(
            *(container.rate_limiter.take(key, limit.calls, limit.seconds) for _ in range(limit.calls))
        )
        headers = {"Authorization": f"Bearer {learner.access_token}"} if learner else {}
        async with client(asgi, host) as http:
            answer = await http.request(**sent, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), answer.text
        assert read(answer)[limit.per] == (0, int(answer.headers["Retry-After"]))
        policies = [f'"{each.per}";q={each.calls};w={int(each.seconds)}' for each in limits]
        assert answer.headers["RateLimit-Policy"] == ", ".join(policies)
        await container.redis.delete(f"limit:{key}")


async def test_success_gives_back_a_call_that_counts_failures_only(asgi: Any) -> None:
    email, host = new_email(), address()
    async with client(asgi, host) as http:
        registered = await http.post("/auth/register", json=credentials(email))
        assert registered.headers["RateLimit-Policy"] == '"ip";q=10;w=3600'
        assert read(registered) == {"ip": (9, 3600)}
        login = credentials(email)
        entered = await http.post("/auth/login", json=login)
        assert entered.status_code == 200
        assert entered.headers["RateLimit-Policy"] == '"ip";q=5;w=900, "account";q=20;w=900'
        assert read(entered) == {"ip": (4, 900), "account": (20, None)}
        wrong = await http.post("/auth/login", json={**login, "password": "not the password"})
        assert wrong.status_code == 401
        assert read(wrong)["account"][0] == 19 and read(wrong)["ip"][0] == 3
        # The failure stays counted until it leaves the window.
        again = await http.post("/auth/login", json=login)
        assert read(again)["account"][0] == 19 and read(again)["account"][1] is not None


async def test_operation_without_a_limit_has_no_such_headers(api: httpx.AsyncClient) -> None:
    answer = await api.get("/health")
    assert not {"ratelimit", "ratelimit-policy"} & answer.headers.keys()
