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
from testing.accounts import Outbox, an_email, bearer, credentials, own_database, query, run_jobs, running
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
class House:
    """The whole app in this process on a database of its own, its mails caught."""

    asgi: Any
    services: Container
    outbox: Outbox


@pytest.fixture(scope="module")
async def house(settings: Settings) -> AsyncIterator[House]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = own.model_copy(update={"cors_origins": ["https://app.example.com"]})
        async with running(changed, mailer=outbox) as services:
            yield House(app.create(services), services, outbox)


@pytest.fixture
async def visit(house: House) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """Make clients, each from an address of its own."""
    clients: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        clients.append(client(house.asgi))
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


async def test_an_app_stays_signed_in_by_sending_its_refresh_token(visit: Visit) -> None:
    http = visit()
    tokens = (await enter(http, an_email(), new=True)).json()
    for _ in range(3):
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        fresh = answer.json()
        assert fresh["refreshToken"] != tokens["refreshToken"] and fresh["user"] == tokens["user"]
        assert await me(http, fresh["accessToken"]) == 200
        tokens = fresh


@pytest.mark.parametrize("origin", ALLOWED)
async def test_a_browser_stays_signed_in_by_its_cookie_from_an_allowed_origin(visit: Visit, origin: str) -> None:
    http = visit()
    before = cookie(await enter(http, an_email(), platform="web", new=True))
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


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_cookie_from_a_foreign_origin_or_none_is_refused_and_not_spent(
    house: House, visit: Visit, origin: str | None
) -> None:
    http = visit()
    answer = await enter(http, an_email(), platform="web", new=True)
    user_id = answer.json()["user"]["id"]
    headers = {"Cookie": f"refresh_token={cookie(answer)}"} | ({"Origin": origin} if origin else {})
    for body in (None, dict[str, str]()):
        refused = await http.post("/auth/refresh", headers=headers, json=body)
        assert code(refused) == (403, "forbidden") and "set-cookie" not in refused.headers
    rows = await query(house.services, "SELECT rotated_at, revoked FROM refresh_tokens WHERE user_id = :id", id=user_id)
    assert [tuple(row) for row in rows] == [(None, False)]
    allowed = await http.post("/auth/refresh", headers={**headers, "Origin": ALLOWED[0]})
    assert allowed.status_code == 200


async def test_a_token_in_the_body_is_the_one_that_counts_and_the_cookie_is_not_spent(
    house: House, visit: Visit
) -> None:
    http = visit()
    web = await enter(http, an_email(), platform="web", new=True)
    mine = (await enter(http, an_email(), new=True)).json()
    answer = await http.post(
        "/auth/refresh",
        headers={"Cookie": f"refresh_token={cookie(web)}", "Origin": "https://evil.example"},
        json={"refreshToken": mine["refreshToken"]},
    )
    assert answer.status_code == 200 and answer.json()["user"]["id"] == mine["user"]["id"]
    rows = await query(
        house.services, "SELECT rotated_at FROM refresh_tokens WHERE user_id = :id", id=web.json()["user"]["id"]
    )
    assert [row.rotated_at for row in rows] == [None]


async def test_refreshing_with_nothing_or_nonsense_is_refused(visit: Visit) -> None:
    http = visit()
    for answer in (
        await http.post("/auth/refresh"),
        await http.post("/auth/refresh", json={}),
        await http.post("/auth/refresh", json={"refreshToken": "nonsense"}),
        await http.post("/auth/refresh", headers={"Cookie": "refresh_token=nonsense", "Origin": ALLOWED[0]}),
    ):
        assert code(answer) == (401, "refresh_token_invalid")


async def test_a_token_used_twice_over_signs_its_device_out(visit: Visit) -> None:
    http = visit()
    stolen = (await enter(http, an_email(), new=True)).json()
    child = (await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})).json()
    grandchild = (await http.post("/auth/refresh", json={"refreshToken": child["refreshToken"]})).json()
    reused = await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})
    assert code(reused) == (401, "refresh_token_reused")
    for tokens in (stolen, child, grandchild):
        assert await me(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert code(answer) == (401, "refresh_token_invalid")


# --- Signing out ------------------------------------------------------------------------------


async def test_logout_signs_out_this_device_and_no_other(visit: Visit) -> None:
    http, email = visit(), an_email()
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


async def test_logout_all_signs_out_every_device_of_this_account_only(visit: Visit) -> None:
    http, email = visit(), an_email()
    phone = (await enter(http, email, new=True)).json()
    tablet = (await enter(http, email, device="tablet", platform="android")).json()
    stranger = (await enter(http, an_email(), new=True)).json()
    out = await http.post("/auth/logout-all", headers=bearer(phone["accessToken"]))
    assert out.status_code == 204 and cookie(out) == ""
    for tokens in (phone, tablet):
        assert await me(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert code(answer) == (401, "refresh_token_invalid")
    assert await me(http, stranger["accessToken"]) == 200
    again = (await enter(http, email)).json()
    assert await me(http, again["accessToken"]) == 200


async def test_devices_are_listed_the_latest_used_first_and_can_be_ended_one_by_one(visit: Visit) -> None:
    http, email = visit(), an_email()
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

    stranger = (await enter(http, an_email(), device="strangers-phone", new=True)).json()
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


async def test_a_forgotten_password_is_set_anew_by_mail_and_every_device_is_signed_out(
    house: House, visit: Visit
) -> None:
    http, email = visit(), an_email()
    phone = (await enter(http, email, new=True)).json()
    tablet = (await enter(http, email, device="tablet")).json()
    assert (await forgot(http, email.upper())).status_code == 202
    assert house.outbox.tokens(email, "reset-password") == [], "a mail left before its job ran"
    await run_jobs(house.services)
    [token] = house.outbox.tokens(email, "reset-password")

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


async def test_known_and_unknown_addresses_get_the_same_answer_and_only_the_known_a_mail(
    house: House, visit: Visit
) -> None:
    known, unknown = an_email(), an_email()
    await enter(visit(), known, new=True)
    answers = [await forgot(visit(), email) for email in (known, unknown)]
    seen = [
        (answer.status_code, answer.content, {name for name in answer.headers if name != "x-request-id"})
        for answer in answers
    ]
    assert seen[0] == seen[1] == (202, b"", seen[0][2])
    jobs = await query(
        house.services, "SELECT args->>'email' FROM procrastinate_jobs WHERE task_name = 'auth.send_password_reset'"
    )
    assert {known, unknown} <= {row[0] for row in jobs}, "the same work is asked for both"
    await run_jobs(house.services)
    assert len(house.outbox.tokens(known, "reset-password")) == 1
    assert house.outbox.to(unknown) == []
    left = await query(house.services, "SELECT 1 FROM procrastinate_jobs WHERE args->>'email' = :email", email=unknown)
    assert left == [], "an unknown address is no failure"


async def test_one_link_used_kills_those_asked_for_before_and_after(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    await enter(http, email, new=True)
    for _ in range(3):
        await forgot(http, email)
    await run_jobs(house.services)
    first, second, third = house.outbox.tokens(email, "reset-password")
    assert len({first, second, third}) == 3
    assert (await reset(http, second, "the second password")).status_code == 204
    for token in (first, second, third):
        assert code(await reset(http, token, "a thief's password")) == (400, "token_invalid")
    assert (await http.post("/auth/login", json=credentials(email, password="the second password"))).status_code == 200


async def test_a_link_for_a_new_password_works_for_an_hour(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    await enter(http, email, new=True)
    for minutes, expected in ((61, 400), (59, 204)):
        await forgot(http, email)
        await run_jobs(house.services)
        token = house.outbox.tokens(email, "reset-password")[-1]
        await query(
            house.services,
            "UPDATE password_reset_tokens SET expires_at = expires_at - make_interval(mins => :minutes) "
            "WHERE user_id = (SELECT id FROM users WHERE email = :email) AND NOT used",
            minutes=minutes,
            email=email,
        )
        assert (await reset(http, token, "a brand new password")).status_code == expected


async def test_two_uses_of_one_link_at_once_set_one_password(house: House, visit: Visit) -> None:
    import asyncio

    http, email = visit(), an_email()
    await enter(http, email, new=True)
    await forgot(http, email)
    await run_jobs(house.services)
    [token] = house.outbox.tokens(email, "reset-password")
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
async def test_a_link_that_was_never_mailed_is_refused(
    visit: Visit, token: str, password: str, refusal: tuple[int, str]
) -> None:
    assert code(await reset(visit(), token, password)) == refusal


async def test_a_new_password_of_73_bytes_is_refused_and_the_link_still_works(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    await enter(http, email, new=True)
    await forgot(http, email)
    await run_jobs(house.services)
    [token] = house.outbox.tokens(email, "reset-password")
    refused = await reset(http, token, "ü" * 36 + "u")
    assert code(refused) == (400, "request_invalid") and "72 bytes" in refused.json()["detail"]
    assert (await reset(http, token, "ü" * 36)).status_code == 204
    assert (await http.post("/auth/login", json=credentials(email, password="ü" * 36))).status_code == 200


# --- Mail: the address --------------------------------------------------------------------------


async def verify(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/verify-email", json={"token": token})


async def is_verified(http: httpx.AsyncClient, access_token: str) -> bool:
    return bool((await http.get("/users/me", headers=bearer(access_token))).json()["isVerified"])


async def test_an_address_is_verified_by_the_link_that_registering_mails(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await run_jobs(house.services)
    [token] = house.outbox.tokens(email, "verify-email")
    assert not await is_verified(http, access_token)
    assert (await verify(http, token)).status_code == 204
    assert await is_verified(http, access_token)
    assert code(await verify(http, token)) == (400, "token_invalid")
    again = (await enter(http, email)).json()
    assert again["user"]["isVerified"] is True
    access_token = again["accessToken"]

    resent = await http.post("/auth/resend-verification", headers=bearer(access_token))
    assert resent.status_code == 202
    await run_jobs(house.services)
    assert len(house.outbox.to(email)) == 1, "a verified address was mailed again"


async def test_a_verification_is_mailed_again_on_request_and_expires_after_a_day(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await run_jobs(house.services)
    await query(
        house.services,
        "UPDATE email_verification_tokens SET expires_at = expires_at - interval '1 day 1 second' "
        "WHERE user_id = (SELECT id FROM users WHERE email = :email)",
        email=email,
    )
    [late] = house.outbox.tokens(email, "verify-email")
    assert code(await verify(http, late)) == (400, "token_invalid")
    assert (await http.post("/auth/resend-verification", headers=bearer(access_token))).status_code == 202
    await run_jobs(house.services)
    assert (await verify(http, house.outbox.tokens(email, "verify-email")[-1])).status_code == 204
    assert await is_verified(http, access_token)


async def test_the_token_of_one_kind_of_mail_does_not_work_as_the_other(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    access_token = (await enter(http, email, new=True)).json()["accessToken"]
    await forgot(http, email)
    await run_jobs(house.services)
    [verification], [password] = (house.outbox.tokens(email, page) for page in ("verify-email", "reset-password"))
    assert code(await reset(http, verification, "a thief's password")) == (400, "token_invalid")
    assert code(await verify(http, password)) == (400, "token_invalid")
    assert not await is_verified(http, access_token)


# --- Mail: the job ------------------------------------------------------------------------------


async def test_a_mail_that_could_not_leave_is_tried_again_with_a_link_that_works(house: House, visit: Visit) -> None:
    http, email = visit(), an_email()
    await enter(http, email, new=True)
    await run_jobs(house.services)
    await forgot(http, email)
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND args->>'email' = :email"
    waiting = "SELECT attempts, scheduled_at > now() AS later FROM procrastinate_jobs WHERE args->>'email' = :email"
    house.outbox.broken = ConnectionError("the provider is away")
    try:
        for attempt in (1, 2):
            await run_jobs(house.services)
            assert [tuple(row) for row in await query(house.services, waiting, email=email)] == [(attempt, True)]
            await query(house.services, due, email=email)
    finally:
        house.outbox.broken = None
    await run_jobs(house.services)
    assert await query(house.services, waiting, email=email) == []
    [token] = house.outbox.tokens(email, "reset-password")
    assert (await reset(http, token, "a brand new password")).status_code == 204


async def test_nothing_is_mailed_by_a_registration_that_did_not_happen(house: House, visit: Visit) -> None:
    email = an_email()
    await enter(visit(), email, new=True)
    await run_jobs(house.services)
    count = "SELECT count(*) FROM procrastinate_jobs"
    [before] = await query(house.services, count)
    taken = await visit().post("/auth/register", json=credentials(email.upper()))
    assert code(taken) == (409, "email_taken")
    assert await query(house.services, count) == [before]
    await run_jobs(house.services)
    assert len(house.outbox.to(email)) == 1


async def test_a_job_is_there_exactly_if_its_transaction_commits(house: House) -> None:
    async def enqueue(email: str, *, fails: bool) -> None:
        async with house.services.database.transaction() as db:
            await house.services.jobs.enqueue(db, send_password_reset, email=email)
            if fails:
                raise LookupError

    kept, dropped = an_email(), an_email()
    await enqueue(kept, fails=False)
    with pytest.raises(LookupError):
        await enqueue(dropped, fails=True)
    jobs = await query(house.services, "SELECT args->>'email' FROM procrastinate_jobs")
    assert kept in {row[0] for row in jobs} and dropped not in {row[0] for row in jobs}
    await run_jobs(house.services)


# --- Passwords of 72 bytes ----------------------------------------------------------------------


async def test_a_password_of_72_bytes_works_and_73_are_refused_never_an_error_of_ours(visit: Visit) -> None:
    http, email = visit(), an_email()
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
