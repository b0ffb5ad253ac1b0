"""Logins with ID tokens: to the identity's account, to a new one, and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from models import email_addresses
from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs
from testing.databases import rows, value
from testing.identities import IdentityDeployment, log_in_with, make_token, on_device, read_problem
from testing.logins import Visit
from testing.servers import PASSWORD, send_at_once

AT_ONCE = 50


async def count_accounts(deployment: IdentityDeployment, email: str) -> int:
    canonical = email_addresses.to_canonical(email)
    found = "SELECT count(*) FROM users WHERE email_canonical = :email"
    return int(await value(deployment.services, found, email=canonical))


@pytest.mark.parametrize("provider", ["google", "apple", "keycloak"])
async def test_first_login_opens_an_account(deployment: IdentityDeployment, visit: Visit, provider: str) -> None:
    issuer, email, http = deployment.issuers.by_id[provider], new_email(), visit()
    first = (await log_in_with(http, make_token(issuer, email))).json()
    assert first["user"]["email"] == email
    me = await http.get("/users/me", headers=bearer(first["accessToken"]))
    assert me.status_code == 200
    # Its address has changed at the provider; the subject is the key.
    again = make_token(issuer, new_email(), subject=issuer.subject_of(email))
    second = (await log_in_with(http, again, device="tablet")).json()
    assert second["user"]["id"] == first["user"]["id"] and second["user"]["email"] == email


@pytest.mark.parametrize(
    ("provider", "claims", "is_verified"),
    [
        ("apple", {}, True),
        ("apple", {"email_verified": "true", "is_private_email": "true"}, True),
        ("apple", {"email_verified": False}, False),
        ("apple", {"email_verified": "false"}, False),
        ("apple", {"email_verified": "TRUE"}, False),
        ("apple", {"email_verified": None}, False),
        ("google", {}, False),
        ("google", {"hd": "example.com"}, True),
        ("google", {"hd": "example.com", "email_verified": False}, False),
        ("google", {"hd": "example.com", "email_verified": "true"}, False),
        ("google", {"hd": ""}, False),
        ("google", {"hd": ["example.com"]}, False),
        ("keycloak", {}, False),
        ("keycloak", {"hd": "example.com"}, False),
    ],
)
async def test_account_is_verified_only_where_the_provider_vouches(
    deployment: IdentityDeployment, visit: Visit, provider: str, claims: dict[str, Any], is_verified: bool
) -> None:
    """Google's verified address of another domain was verified once, and may have a new owner (its `hd` says)."""
    email = new_email()
    token = make_token(deployment.issuers.by_id[provider], email, **claims)
    user = (await log_in_with(visit(), token)).json()["user"]
    assert user["isVerified"] is is_verified
    await run_jobs(deployment.services)
    assert bool(deployment.outbox.tokens(email, "verify-email")) is not is_verified


async def test_gmail_address_is_authoritative(deployment: IdentityDeployment, visit: Visit) -> None:
    email = new_email().replace("@example.com", "@gmail.com")
    assert (await log_in_with(visit(), make_token(deployment.issuers.google, email))).json()["user"]["isVerified"]


async def test_account_of_an_id_token_has_no_password(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http = new_email(), visit()
    await log_in_with(http, make_token(deployment.issuers.apple, email))
    for password in ("12345678", PASSWORD):
        answer = await http.post("/auth/login", json=credentials(email, password=password))
        assert read_problem(answer) == (401, "invalid_credentials")


async def test_web_login_gets_the_refresh_cookie(deployment: IdentityDeployment, visit: Visit) -> None:
    token = make_token(deployment.issuers.google, new_email(), platform="web")
    answer = await log_in_with(visit(), token, platform="web")
    assert "refreshToken" not in answer.json() and "refresh_token=" in answer.headers["set-cookie"]


@pytest.mark.parametrize("mix", ["different tokens", "one token", "pairs"])
async def test_parallel_first_logins_make_one_account(deployment: IdentityDeployment, visit: Visit, mix: str) -> None:
    issuer, email = deployment.issuers.apple, new_email()
    distinct = {"different tokens": AT_ONCE, "one token": 1, "pairs": AT_ONCE // 2}[mix]
    tokens = [make_token(issuer, email) for _ in range(distinct)]

    def send(number: int) -> Callable[[], Awaitable[httpx.Response]]:
        body = on_device(tokens[number % distinct], device=f"device-{number}")
        return lambda: visit().post("/auth/id-token", json=body)

    answers = await send_at_once([send(number) for number in range(AT_ONCE)])
    welcomed = [each.json() for each in answers if each.status_code == 200]
    refused = [read_problem(each) for each in answers if each.status_code != 200]
    assert len(welcomed) == distinct and set(refused) <= {(401, "id_token_invalid")}
    assert len({each["user"]["id"] for each in welcomed}) == 1
    assert await count_accounts(deployment, email) == 1
    user_id = welcomed[0]["user"]["id"]
    for table in ("identities", "profiles"):
        counted = f"SELECT count(*) FROM {table} WHERE user_id = :id"
        assert await value(deployment.services, counted, id=user_id) == 1


async def test_first_login_beside_a_registration_makes_one_account(
    deployment: IdentityDeployment, visit: Visit
) -> None:
    """Ten times, because either may be first."""
    opened_by: set[str] = set()
    for _ in range(10):
        email, http = new_email(), visit()
        body = on_device(make_token(deployment.issuers.google, email, hd="example.com"))
        registered, logged_in = await asyncio.gather(
            http.post("/auth/register", json=credentials(email, device="laptop")),
            http.post("/auth/id-token", json=body),
        )
        assert await count_accounts(deployment, email) == 1
        if registered.status_code == 201:
            # The account's address is not verified: who registered may be another person.
            assert read_problem(logged_in) == (409, "password_required")
            opened_by.add("registration")
        else:
            assert read_problem(registered) == (409, "email_taken") and logged_in.status_code == 200
            opened_by.add("ID token")
    assert opened_by


async def test_parallel_first_logins_with_two_addresses(deployment: IdentityDeployment, visit: Visit) -> None:
    """One subject whose address changes meanwhile is one account still."""
    issuer, subject = deployment.issuers.apple, deployment.issuers.apple.subject_of(new_email())
    bodies = [
        on_device(make_token(issuer, new_email(), subject=subject), device=f"device-{number}") for number in range(10)
    ]
    answers = await asyncio.gather(*(visit().post("/auth/id-token", json=body) for body in bodies))
    assert [each.status_code for each in answers] == [200] * 10
    assert len({each.json()["user"]["id"] for each in answers}) == 1
    linked = "SELECT user_id FROM identities WHERE subject = :subject"
    assert len(await rows(deployment.services, linked, subject=subject)) == 1


@pytest.mark.parametrize(
    "email", [None, "not an address", "a@b@c.example", "=?utf-8?q?a?=@example.com", "a\u200b@x.example"]
)
async def test_new_account_needs_an_address(deployment: IdentityDeployment, visit: Visit, email: str | None) -> None:
    token = make_token(deployment.issuers.google, email, subject=new_email(), email_verified=True)
    answer = await visit().post("/auth/id-token", json=on_device(token))
    assert read_problem(answer) == (400, "email_missing")


async def test_same_subject_of_two_providers_is_two_identities(deployment: IdentityDeployment, visit: Visit) -> None:
    subject = new_email()
    first = await log_in_with(visit(), make_token(deployment.issuers.google, new_email(), subject=subject))
    second = await log_in_with(visit(), make_token(deployment.issuers.oidc, new_email(), subject=subject))
    assert first.json()["user"]["id"] != second.json()["user"]["id"]


async def test_subjects_that_differ_by_case_are_two(deployment: IdentityDeployment, visit: Visit) -> None:
    subject = f"Ab{new_email()}"
    made = [
        (await log_in_with(visit(), make_token(deployment.issuers.google, new_email(), subject=each))).json()
        for each in (subject, subject.lower())
    ]
    assert made[0]["user"]["id"] != made[1]["user"]["id"]


async def test_unknown_provider_is_refused(deployment: IdentityDeployment, visit: Visit) -> None:
    token = {**make_token(deployment.issuers.google, new_email()), "provider": "facebook"}
    answer = await visit().post("/auth/id-token", json=on_device(token))
    assert read_problem(answer) == (400, "request_invalid") and "GET /auth/methods" in answer.json()["detail"]
