"""Journeys of an account over HTTP: staying signed in, signing out, and what arrives by mail."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

import app
from container import Container
from jobs import send_password_reset
from settings import Settings
from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs, running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.servers import PASSWORD, client

ALLOWED = ["http://localhost:5503", "https://app.example.com"]
FOREIGN = [
    None,
    "null",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "https://app.example.com/",
]


@dataclass
class Deployment:
    """The whole app in this process on a database of its own, its mails caught."""

    asgi: Any
    services: Container
    outbox: Outbox


@pytest.fixture(scope="module")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = own.model_copy(update={"cors_origins": ["https://app.example.com"]})
        async with running_container(changed, mailer=outbox) as services:
            yield Deployment(app.create(services), services, outbox)


@pytest.fixture
async def visit(deployment: Deployment) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """Make clients, each from an address of its own."""
    clients: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        clients.append(client(deployment.asgi))
        return clients[-1]

    yield make
    for each in clients:
        await each.aclose()


Visit = Callable[[], httpx.AsyncClient]


async def enter(
    http: httpx.AsyncClient, email: str, *, device: str = "phone", platform: str = "ios", new: bool = False
) -> httpx.Response:
    path, status = ("/auth/register", 201) if new else ("/auth/login", 200)
    answer = await http.post(path, json=credentials(email, device=device, platform=platform))
    assert answer.status_code == status, answer.text
    return answer


def cookie(answer: httpx.Response) -> str:
    """The refresh token that an answer sets as a cookie."""
    match = re.match(r"refresh_token=([^;]*);", answer.headers["set-cookie"])
    assert match
    return match[1]


async def me(http: httpx.AsyncClient, access_token: str) -> int:
    return (await http.get("/users/me", headers=bearer(access_token))).status_code


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- Refreshing -------------------------------------------------------------------------------


@pytest.mark.rest_paths
async def test_app_refreshes_with_a_token_in_the_body(visit: Visit) -> None:
    http = visit()
    tokens = (await enter(http, new_email(), new=True)).json()
    for _ in range(3):
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        fresh = answer.json()
        assert fresh["refreshToken"] != tokens["refreshToken"] and fresh["user"] == tokens["user"]
        assert await me(http, fresh["accessToken"]) == 200
        tokens = fresh


@pytest.mark.rest_paths
@pytest.mark.parametrize("origin", ALLOWED)
async def test_browser_refreshes_with_a_cookie(visit: Visit, origin: str) -> None:
    http = visit()
    before = cookie(await enter(http, new_email(), platform="web", new=True))
    for _ in range(2):
        answer = await http.post("/auth/refresh", headers={"Cookie": f"refresh_token={before}", "Origin": origin})
        assert answer.status_code == 200, answer.text
        assert "refreshToken" not in answer.json() and before not in answer.text
        after = cookie(answer)
        assert after != before and after not in answer.text
        for attribute in ("HttpOnly", "SameSite=Strict", "Path=/auth"):
            assert attribute in answer.headers["set-cookie"]
        assert await me(http, answer.json()["accessToken"]) == 200
        before = after


@pytest.mark.rest_paths
@pytest.mark.parametrize("origin", FOREIGN)
async def test_refresh_cookie_needs_an_allowed_origin(deployment: Deployment, visit: Visit, origin: str | None) -> None:
    http = visit()
    answer = await enter(http, new_email(), platform="web", new=True)
    user_id = answer.json()["user"]["id"]
    headers = {"Cookie": f"refresh_token={cookie(answer)}"} | ({"Origin": origin} if origin else {})
    for body in (None, dict[str, str]()):
        refused = await http.post("/auth/refresh", headers=headers, json=body)
        assert code(refused) == (403, "forbidden") and "set-cookie" not in refused.headers
    rows = await query(
        deployment.services, "SELECT rotated_at, revoked FROM refresh_tokens WHERE user_id = :id", id=user_id
    )
    assert [tuple(row) for row in rows] == [(None, False)]
    allowed = await http.post("/auth/refresh", headers={**headers, "Origin": ALLOWED[0]})
    assert allowed.status_code == 200


@pytest.mark.rest_paths
async def test_token_in_the_body_takes_precedence_over_the_cookie(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    web = await enter(http, new_email(), platform="web", new=True)
    mine = (await enter(http, new_email(), new=True)).json()
    answer = await http.post(
        "/auth/refresh",
        headers={"Cookie": f"refresh_token={cookie(web)}", "Origin": "https://evil.example"},
        json={"refreshToken": mine["refreshToken"]},
    )
    assert answer.status_code == 200 and answer.json()["user"]["id"] == mine["user"]["id"]
    rows = await query(
        deployment.services, "SELECT rotated_at FROM refresh_tokens WHERE user_id = :id", id=web.json()["user"]["id"]
    )
    assert [row.rotated_at for row in rows] == [None]


@pytest.mark.rest_paths
async def test_refresh_without_a_valid_token_is_refused(visit: Visit) -> None:
    http = visit()
    for answer in (
        await http.post("/auth/refresh"),
        await http.post("/auth/refresh", json={}),
        await http.post("/auth/refresh", json={"refreshToken": "nonsense"}),
        await http.post("/auth/refresh", headers={"Cookie": "refresh_token=nonsense", "Origin": ALLOWED[0]}),
    ):
        assert code(answer) == (401, "refresh_token_invalid")


async def test_reused_refresh_token_ends_the_login(visit: Visit) -> None:
    http = visit()
    stolen = (await enter(http, new_email(), new=True)).json()
    child = (await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})).json()
    grandchild = (await http.post("/auth/refresh", json={"refreshToken": child["refreshToken"]})).json()
    reused = await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})
    assert code(reused) == (401, "refresh_token_reused")
    for tokens in (stolen, child, grandchild):
        assert await me(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert code(answer) == (401, "refresh_token_invalid")


# --- Signing out ------------------------------------------------------------------------------


async def test_logout_ends_this_login_alone(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await enter(http, email, new=True)).json()
    laptop = await enter(http, email, device="laptop", platform="web")
    out = await http.post("/auth/logout", headers=bearer(laptop.json()["accessToken"]))
    assert out.status_code == 204 and cookie(out) == "" and "Max-Age=0" in out.headers["set-cookie"]
    assert await me(http, laptop.json()["accessToken"]) == 401
    spent = {"Cookie": f"refresh_token={cookie(laptop)}", "Origin": ALLOWED[0]}
    assert code(await http.post("/auth/refresh", headers=spent)) == (401, "refresh_token_invalid")
    assert (await http.post("/auth/logout", headers=bearer(laptop.json()["accessToken"]))).status_code == 401
    assert await me(http, phone["accessToken"]) == 200
    assert (await http.post("/auth/refresh", json={"refreshToken": phone["refreshToken"]})).status_code == 200


async def test_logout_all_ends_every_login_of_the_account(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await enter(http, email, new=True)).json()
    tablet = (await enter(http, email, device="tablet", platform="android")).json()
    stranger = (await enter(http, new_email(), new=True)).json()
    out = await http.post("/auth/logout-all", headers=bearer(phone["accessToken"]))
    assert out.status_code == 204 and cookie(out) == ""
    for tokens in (phone, tablet):
        assert await me(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert code(answer) == (401, "refresh_token_invalid")
    assert await me(http, stranger["accessToken"]) == 200
    again = (await enter(http, email)).json()
    assert await me(http, again["accessToken"]) == 200


async def test_devices_are_listed_and_ended_one_by_one(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await enter(http, email, new=True)).json()
    laptop = (await enter(http, email, device="laptop", platform="web")).json()
    tablet = (await enter(http, email, device="tablet", platform="android")).json()
    phone = (await http.post("/auth/refresh", json={"refreshToken": phone["refreshToken"]})).json()

    async def devices(tokens: Any) -> list[Any]:
        answer = await http.get("/auth/devices", headers=bearer(tokens["accessToken"]))
        assert answer.status_code == 200
        return list(answer.json()["items"])

    listed = await devices(phone)
    assert [(each["deviceId"], each["platform"], each["current"]) for each in listed] == [
        ("phone", "ios", True),
        ("tablet", "android", False),
        ("laptop", "web", False),
    ]
    assert listed[0]["signedInAt"] < listed[0]["lastUsedAt"] and listed[1]["signedInAt"] == listed[1]["lastUsedAt"]
    assert [each["deviceId"] for each in await devices(tablet) if each["current"]] == ["tablet"]

    assert (await http.delete("/auth/devices/laptop", headers=bearer(phone["accessToken"]))).status_code == 204
    assert [each["deviceId"] for each in await devices(phone)] == ["phone", "tablet"]
    assert await me(http, laptop["accessToken"]) == 401
    assert await me(http, tablet["accessToken"]) == 200

    stranger = (await enter(http, new_email(), device="strangers-phone", new=True)).json()
    for unknown in ("laptop", "never-seen", "strangers-phone"):
        answer = await http.delete(f"/auth/devices/{unknown}", headers=bearer(phone["accessToken"]))
        assert code(answer) == (404, "not_found")
    assert await me(http, stranger["accessToken"]) == 200

    assert (await http.delete("/auth/devices/phone", headers=bearer(phone["accessToken"]))).status_code == 204
    assert await me(http, phone["accessToken"]) == 401


# --- Mail: a new password -----------------------------------------------------------------------


async def forgot(http: httpx.AsyncClient, email: str) -> httpx.Response:
    return await http.post("/auth/forgot-password", json={"email": email})


async def reset(http: httpx.AsyncClient, token: str, password: str) -> httpx.Response:
    return await http.post("/auth/reset-password", json={"token": token, "newPassword": password})


async def test_password_reset_ends_every_login(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await enter(http, email, new=True)).json()
    tablet = (await enter(http, email, device="tablet")).json()
    assert (await forgot(http, email.upper())).status_code == 202
    assert deployment.outbox.tokens(email, "reset-password") == [], "a mail left before its job ran"
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")

    assert (await reset(http, token, "a brand new password")).status_code == 204
    for tokens in (phone, tablet):
        assert await me(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert code(answer) == (401, "refresh_token_invalid")
    old = await http.post("/auth/login", json=credentials(email))
    assert code(old) == (401, "invalid_credentials")
    new = await http.post("/auth/login", json=credentials(email, password="a brand new password"))
    assert new.status_code == 200

    again = await reset(http, token, "yet another password")
    assert code(again) == (400, "token_invalid")
    assert (
        await visit().post("/auth/login", json=credentials(email, password="a brand new password"))
    ).status_code == 200


async def test_forgot_password_mails_known_addresses_alone(deployment: Deployment, visit: Visit) -> None:
    known, unknown = new_email(), new_email()
    await enter(visit(), known, new=True)
    answers = [await forgot(visit(), email) for email in (known, unknown)]
    seen = [
        (answer.status_code, answer.content, {name for name in answer.headers if name != "x-request-id"})
        for answer in answers
    ]
    assert seen[0] == seen[1] == (202, b"", seen[0][2])
    jobs = await query(
        deployment.services,
        "SELECT args->>'email' FROM procrastinate_jobs WHERE task_name = 'auth.send_password_reset'",
    )
    assert {known, unknown} <= {row[0] for row in jobs}, "the same work is asked for both"
    await run_jobs(deployment.services)
    assert len(deployment.outbox.tokens(known, "reset-password")) == 1
    assert deployment.outbox.to(unknown) == []
    left = await query(
        deployment.services, "SELECT 1 FROM procrastinate_jobs WHERE args->>'email' = :email", email=unknown
    )
    assert left == [], "an unknown address is no failure"


async def test_used_reset_link_invalidates_the_others(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await enter(http, email, new=True)
    for _ in range(3):
        await forgot(http, email)
    await run_jobs(deployment.services)
    first, second, third = deployment.outbox.tokens(email, "reset-password")
    assert len({first, second, third}) == 3
    assert (await reset(http, second, "the second password")).status_code == 204
    for token in (first, second, third):
        assert code(await reset(http, token, "a thief's password")) == (400, "token_invalid")
    assert (await http.post("/auth/login", json=credentials(email, password="the second password"))).status_code == 200


async def test_reset_link_is_valid_for_an_hour(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await enter(http, email, new=True)
    for minutes, expected in ((61, 400), (59, 204)):
        await forgot(http, email)
        await run_jobs(deployment.services)
        token = deployment.outbox.tokens(email, "reset-password")[-1]
        await query(
            deployment.services,
            "UPDATE password_reset_tokens SET expires_at = expires_at - make_interval(mins => :minutes) "
            "WHERE user_id = (SELECT id FROM users WHERE email = :email) AND NOT used",
            minutes=minutes,
            email=email,
        )
        assert (await reset(http, token, "a brand new password")).status_code == expected


async def test_concurrent_uses_of_a_reset_link_set_one_password(deployment: Deployment, visit: Visit) -> None:
    import asyncio

    http, email = visit(), new_email()
    await enter(http, email, new=True)
    await forgot(http, email)
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")
    passwords = [f"password number {number}" for number in range(5)]
    answers = await asyncio.gather(*(reset(http, token, password) for password in passwords))
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400, 400, 400]
    for password, answer in zip(passwords, answers, strict=True):
        login = await visit().post("/auth/login", json=credentials(email, password=password))
        assert login.status_code == (200 if answer.status_code == 204 else 401)


@pytest.mark.parametrize(
    ("token", "password", "refusal"),
    [
        ("unknown-token", "long enough", (400, "token_invalid")),
        ("unknown token", "long enough", (400, "request_invalid")),
        ("x" * 129, "long enough", (400, "request_invalid")),
        ("unknown-token", "short", (400, "request_invalid")),
        ("unknown-token", "p" * 73, (400, "request_invalid")),
    ],
)
async def test_unknown_link_is_refused(visit: Visit, token: str, password: str, refusal: tuple[int, str]) -> None:
    assert code(await reset(visit(), token, password)) == refusal


async def test_refused_password_keeps_the_reset_link(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await enter(http, email, new=True)
    await forgot(http, email)
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")
    refused = await reset(http, token, "ü" * 36 + "u")
    assert code(refused) == (400, "request_invalid") and "72 bytes" in refused.json()["detail"]
    assert (await reset(http, token, "ü" * 36)).status_code == 204
    assert (await http.post("/auth/login", json=credentials(email, password="ü" * 36))).status_code == 200


# --- Mail: the address --------------------------------------------------------------------------


async def verify(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/verify-email", json={"token": token})


async def is_verified(http: httpx.AsyncClient, access_token: str) -> bool:
    return bool((await http.get("/users/me", headers=bearer(access_token))).json()["isVerified"])


async def test_registration_mail_verifies_the_address(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "verify-email")
    assert not await is_verified(http, access_token)
    assert (await verify(http, token)).status_code == 204
    assert await is_verified(http, access_token)
    assert code(await verify(http, token)) == (400, "token_invalid")
    again = (await enter(http, email)).json()
    assert again["user"]["isVerified"] is True
    access_token = again["accessToken"]

    resent = await http.post("/auth/resend-verification", headers=bearer(access_token))
    assert resent.status_code == 202
    await run_jobs(deployment.services)
    assert len(deployment.outbox.to(email)) == 1, "a verified address was mailed again"


async def test_verification_is_resent_and_expires_after_a_day(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await run_jobs(deployment.services)
    await query(
        deployment.services,
        "UPDATE email_verification_tokens SET expires_at = expires_at - interval '1 day 1 second' "
        "WHERE user_id = (SELECT id FROM users WHERE email = :email)",
        email=email,
    )
    [late] = deployment.outbox.tokens(email, "verify-email")
    assert code(await verify(http, late)) == (400, "token_invalid")
    assert (await http.post("/auth/resend-verification", headers=bearer(access_token))).status_code == 202
    await run_jobs(deployment.services)
    assert (await verify(http, deployment.outbox.tokens(email, "verify-email")[-1])).status_code == 204
    assert await is_verified(http, access_token)


async def test_mailed_tokens_are_bound_to_their_purpose(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await forgot(http, email)
    await run_jobs(deployment.services)
    [verification], [password] = (deployment.outbox.tokens(email, page) for page in ("verify-email", "reset-password"))
    assert code(await reset(http, verification, "a thief's password")) == (400, "token_invalid")
    assert code(await verify(http, password)) == (400, "token_invalid")
    assert not await is_verified(http, access_token)


# --- Mail: the job ------------------------------------------------------------------------------


async def test_failed_mail_is_retried_with_a_valid_link(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await enter(http, email, new=True)
    await run_jobs(deployment.services)
    await forgot(http, email)
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND args->>'email' = :email"
    waiting = "SELECT attempts, scheduled_at > now() AS later FROM procrastinate_jobs WHERE args->>'email' = :email"
    deployment.outbox.broken = ConnectionError("the provider is away")
    try:
        for attempt in (1, 2):
            await run_jobs(deployment.services)
            assert [tuple(row) for row in await query(deployment.services, waiting, email=email)] == [(attempt, True)]
            await query(deployment.services, due, email=email)
    finally:
        deployment.outbox.broken = None
    await run_jobs(deployment.services)
    assert await query(deployment.services, waiting, email=email) == []
    [token] = deployment.outbox.tokens(email, "reset-password")
    assert (await reset(http, token, "a brand new password")).status_code == 204


async def test_failed_registration_sends_no_mail(deployment: Deployment, visit: Visit) -> None:
    email = new_email()
    await enter(visit(), email, new=True)
    await run_jobs(deployment.services)
    count = "SELECT count(*) FROM procrastinate_jobs"
    [before] = await query(deployment.services, count)
    taken = await visit().post("/auth/register", json=credentials(email.upper()))
    assert code(taken) == (409, "email_taken")
    assert await query(deployment.services, count) == [before]
    await run_jobs(deployment.services)
    assert len(deployment.outbox.to(email)) == 1


async def test_job_is_enqueued_exactly_if_its_transaction_commits(deployment: Deployment) -> None:
    async def enqueue(email: str, *, fails: bool) -> None:
        async with deployment.services.database.transaction() as db:
            await deployment.services.jobs.enqueue(db, send_password_reset, email=email)
            if fails:
                raise LookupError

    kept, dropped = new_email(), new_email()
    await enqueue(kept, fails=False)
    with pytest.raises(LookupError):
        await enqueue(dropped, fails=True)
    jobs = await query(deployment.services, "SELECT args->>'email' FROM procrastinate_jobs")
    assert kept in {row[0] for row in jobs} and dropped not in {row[0] for row in jobs}
    await run_jobs(deployment.services)


# --- Passwords of 72 bytes ----------------------------------------------------------------------


async def test_password_limit_is_72_bytes(visit: Visit) -> None:
    http, email = visit(), new_email()
    longest = "é" * 36
    for too_long in ("p" * 73, "é" * 36 + "p", "😀" * 19):
        answer = await http.post("/auth/register", json=credentials(email, password=too_long))
        assert code(answer) == (400, "request_invalid")
    assert (await http.post("/auth/register", json=credentials(email, password=longest))).status_code == 201
    assert (await http.post("/auth/login", json=credentials(email, password=longest))).status_code == 200
    # bcrypt would read 72 bytes of these and find them equal.
    answer = await http.post("/auth/login", json=credentials(email, password=longest + "p"))
    assert code(answer) == (401, "invalid_credentials")
    assert PASSWORD not in answer.text
