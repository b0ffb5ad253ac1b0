"""Verification of the email address, by the email of the registration or another."""

from __future__ import annotations

import httpx

from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in, request_reset, reset_password


async def verify_email(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/verify-email", json={"token": token})


async def is_verified(http: httpx.AsyncClient, access_token: str) -> bool:
    return bool((await http.get("/users/me", headers=bearer(access_token))).json()["isVerified"])


async def test_registration_mail_verifies_the_address(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await log_in(http, email, new=True)).json()["accessToken"]
    await run_jobs(deployment.services)
    [token] = deployment.outbox.tokens(email, "verify-email")
    assert not await is_verified(http, access_token)
    assert (await verify_email(http, token)).status_code == 204
    assert await is_verified(http, access_token)
    assert problem(await verify_email(http, token)) == (400, "token_invalid")
    again = (await log_in(http, email)).json()
    assert again["user"]["isVerified"] is True
    access_token = again["accessToken"]

    resent = await http.post("/auth/resend-verification", headers=bearer(access_token))
    assert resent.status_code == 202
    await run_jobs(deployment.services)
    assert len(deployment.outbox.to(email)) == 1, "a verified address was mailed again"


async def test_verification_is_resent_and_expires_after_a_day(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await log_in(http, email, new=True)).json()["accessToken"]
    await run_jobs(deployment.services)
    await query(
        deployment.services,
        "UPDATE email_verification_tokens SET expires_at = expires_at - interval '1 day 1 second' "
        "WHERE user_id = (SELECT id FROM users WHERE email = :email)",
        email=email,
    )
    [late] = deployment.outbox.tokens(email, "verify-email")
    assert problem(await verify_email(http, late)) == (400, "token_invalid")
    assert (await http.post("/auth/resend-verification", headers=bearer(access_token))).status_code == 202
    await run_jobs(deployment.services)
    assert (await verify_email(http, deployment.outbox.tokens(email, "verify-email")[-1])).status_code == 204
    assert await is_verified(http, access_token)


async def test_mailed_tokens_are_bound_to_their_purpose(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    access_token = (await log_in(http, email, new=True)).json()["accessToken"]
    await request_reset(http, email)
    await run_jobs(deployment.services)
    [verification], [password] = (deployment.outbox.tokens(email, page) for page in ("verify-email", "reset-password"))
    assert problem(await reset_password(http, verification, "a thief's password")) == (400, "token_invalid")
    assert problem(await verify_email(http, password)) == (400, "token_invalid")
    assert not await is_verified(http, access_token)


async def test_failed_registration_sends_no_mail(deployment: Deployment, visit: Visit) -> None:
    email = new_email()
    await log_in(visit(), email, new=True)
    await run_jobs(deployment.services)
    count = "SELECT count(*) FROM procrastinate_jobs"
    [before] = await query(deployment.services, count)
    taken = await visit().post("/auth/register", json=credentials(email.upper()))
    assert problem(taken) == (409, "email_taken")
    assert await query(deployment.services, count) == [before]
    await run_jobs(deployment.services)
    assert len(deployment.outbox.to(email)) == 1
