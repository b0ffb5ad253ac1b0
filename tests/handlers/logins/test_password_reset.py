"""Passwords by email: a reset link, once, for an hour; its job; the limit of 72 bytes."""

from __future__ import annotations

import asyncio

import pytest

from jobs import send_password_reset
from testing.accounts import credentials, new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in, read_status, request_reset, reset_password
from testing.servers import PASSWORD


async def test_password_reset_ends_every_login(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await log_in(http, email, new=True)).json()
    tablet = (await log_in(http, email, device="tablet")).json()
    assert (await request_reset(http, email.upper())).status_code == 202
    assert deployment.outbox.tokens(email, "reset-password") == [], "a mail left before its job ran"
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")

    assert (await reset_password(http, token, "a brand new password")).status_code == 204
    for tokens in (phone, tablet):
        assert await read_status(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert problem(answer) == (401, "refresh_token_invalid")
    old = await http.post("/auth/login", json=credentials(email))
    assert problem(old) == (401, "invalid_credentials")
    new = await http.post("/auth/login", json=credentials(email, password="a brand new password"))
    assert new.status_code == 200

    again = await reset_password(http, token, "yet another password")
    assert problem(again) == (400, "token_invalid")
    assert (
        await visit().post("/auth/login", json=credentials(email, password="a brand new password"))
    ).status_code == 200


async def test_forgot_password_mails_known_addresses_alone(deployment: Deployment, visit: Visit) -> None:
    known, unknown = new_email(), new_email()
    await log_in(visit(), known, new=True)
    answers = [await request_reset(visit(), email) for email in (known, unknown)]
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
    await log_in(http, email, new=True)
    for _ in range(3):
        await request_reset(http, email)
    await run_jobs(deployment.services)
    first, second, third = deployment.outbox.tokens(email, "reset-password")
    assert len({first, second, third}) == 3
    assert (await reset_password(http, second, "the second password")).status_code == 204
    for token in (first, second, third):
        assert problem(await reset_password(http, token, "a thief's password")) == (400, "token_invalid")
    assert (await http.post("/auth/login", json=credentials(email, password="the second password"))).status_code == 200


async def test_reset_link_is_valid_for_an_hour(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await log_in(http, email, new=True)
    for minutes, expected in ((61, 400), (59, 204)):
        await request_reset(http, email)
        await run_jobs(deployment.services)
        token = deployment.outbox.tokens(email, "reset-password")[-1]
        await query(
            deployment.services,
            "UPDATE password_reset_tokens SET expires_at = expires_at - make_interval(mins => :minutes) "
            "WHERE user_id = (SELECT id FROM users WHERE email = :email) AND NOT used",
            minutes=minutes,
            email=email,
        )
        assert (await reset_password(http, token, "a brand new password")).status_code == expected


async def test_concurrent_uses_of_a_reset_link_set_one_password(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await log_in(http, email, new=True)
    await request_reset(http, email)
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")
    passwords = [f"password number {number}" for number in range(5)]
    answers = await asyncio.gather(*(reset_password(http, token, password) for password in passwords))
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
    assert problem(await reset_password(visit(), token, password)) == refusal


async def test_refused_password_keeps_the_reset_link(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await log_in(http, email, new=True)
    await request_reset(http, email)
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "reset-password")
    refused = await reset_password(http, token, "ü" * 36 + "u")
    assert problem(refused) == (400, "request_invalid") and "72 bytes" in refused.json()["detail"]
    assert (await reset_password(http, token, "ü" * 36)).status_code == 204
    assert (await http.post("/auth/login", json=credentials(email, password="ü" * 36))).status_code == 200


async def test_failed_mail_is_retried_with_a_valid_link(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    await log_in(http, email, new=True)
    await run_jobs(deployment.services)
    await request_reset(http, email)
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND args->>'email' = :email"
    waiting = "SELECT attempts, scheduled_at > now() AS later FROM procrastinate_jobs WHERE args->>'email' = :email"
    deployment.outbox.broken = ConnectionError("the provider is unavailable")
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
    assert (await reset_password(http, token, "a brand new password")).status_code == 204


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


async def test_password_limit_is_72_bytes(visit: Visit) -> None:
    http, email = visit(), new_email()
    longest = "é" * 36
    for too_long in ("p" * 73, "é" * 36 + "p", "😀" * 19):
        answer = await http.post("/auth/register", json=credentials(email, password=too_long))
        assert problem(answer) == (400, "request_invalid")
    assert (await http.post("/auth/register", json=credentials(email, password=longest))).status_code == 201
    assert (await http.post("/auth/login", json=credentials(email, password=longest))).status_code == 200
    # bcrypt would read 72 bytes of these and find them equal.
    answer = await http.post("/auth/login", json=credentials(email, password=longest + "p"))
    assert problem(answer) == (401, "invalid_credentials")
    assert PASSWORD not in answer.text
