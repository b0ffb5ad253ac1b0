"""Deletion of an account by a link in an e-mail, from a page without scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

import app
from adapters.mail.mailbox import Mailbox
from container import Container
from settings import Settings
from testing.accounts import make_admin, new_email
from testing.containers import run_jobs, running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.sanctions import BAN, issue
from testing.servers import PASSWORD, Learner, client, register

PAGE = "/delete-account"


@pytest.fixture(scope="module")
def own(settings: Settings) -> Iterator[Settings]:
    with own_database(settings) as found:
        yield found


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
async def services(own: Settings, outbox: Outbox) -> AsyncIterator[Container]:
    async with running_container(own, mailer=outbox) as made:
        yield made


@pytest.fixture
def asgi(services: Container) -> Any:
    return app.create(services)


@pytest.fixture
async def page(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(asgi) as http:
        yield http


@pytest.fixture
async def ada(asgi: Any) -> AsyncIterator[Learner]:
    async with client(asgi) as http:
        yield await register(http)


async def request_link(services: Container, page: httpx.AsyncClient, outbox: Outbox, email: str) -> str:
    """Request a link as a browser does, and return its token."""
    answer = await page.post(PAGE, data={"email": f" {email.upper()} "})
    assert answer.status_code == 200 and "on its way" in answer.text
    await run_jobs(services)
    return outbox.tokens(email, "delete-account")[-1]


async def is_deleted(services: Container, learner: Learner) -> bool:
    (row,) = await query(services, "SELECT deleted_at FROM users WHERE id = :i", i=learner.id)
    return row.deleted_at is not None


async def test_link_deletes_the_account(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    opened = await page.get(PAGE, params={"token": token})
    assert opened.status_code == 200 and f'value="{token}"' in opened.text and "What stays" in opened.text
    assert opened.headers["cache-control"] == "no-store" and opened.headers["referrer-policy"] == "same-origin"
    deleted = await page.post(PAGE, data={"token": token})
    assert deleted.status_code == 200 and "is deleted" in deleted.text
    assert await is_deleted(services, ada)
    assert (await ada.http.get("/users/me")).status_code == 401
    login = {"email": ada.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    assert (await page.post("/auth/login", json=login)).status_code == 401
    again = await page.post(PAGE, data={"token": token})
    assert again.status_code == 400 and "was used" in again.text
    assert (await page.get(PAGE, params={"token": token})).status_code == 400


async def test_scanner_that_opens_the_link_deletes_nothing(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    for method in ("GET", "HEAD", "GET"):
        assert (await page.request(method, PAGE, params={"token": token})).status_code == 200
    assert not await is_deleted(services, ada)
    assert (await page.post(PAGE, data={"token": token})).status_code == 200
    assert await is_deleted(services, ada)


async def test_two_clicks_at_once_delete_once(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    other = ada.http.post("/users/me/deletion", json={"password": PASSWORD})
    answers = await asyncio.gather(*(page.post(PAGE, data={"token": token}) for _ in range(6)), other)
    assert await is_deleted(services, ada)
    assert sum(each.status_code in (200, 204) for each in answers) == 1
    assert {each.status_code for each in answers} <= {200, 204, 400, 401}


async def test_expired_or_invented_link_deletes_nothing(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    await query(services, "UPDATE account_deletion_tokens SET expires_at = now() - interval '1 second'")
    for each in (token, "a" * 43, "", "'; DROP TABLE users; --", "\x00", "a" * 3000):
        for answer in (await page.get(PAGE, params={"token": each}), await page.post(PAGE, data={"token": each})):
            assert answer.status_code == 400 and "This link does not work" in answer.text, each
    assert not await is_deleted(services, ada)


async def test_unknown_address_is_answered_like_a_known_one(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    stranger = new_email()
    answers = [await page.post(PAGE, data={"email": each}) for each in (ada.email, stranger)]
    assert answers[0].text == answers[1].text and answers[0].status_code == answers[1].status_code == 200
    queued = await query(services, "SELECT task_name, args FROM procrastinate_jobs WHERE status = 'todo'")
    asked = [row for row in queued if row.task_name == "auth.send_deletion_link"]
    assert {row.args["email"] for row in asked} == {ada.email, stranger}
    await run_jobs(services)
    assert len(outbox.tokens(ada.email, "delete-account")) == 1 and outbox.to(stranger) == []


async def test_administrator_gets_no_link_and_is_not_deleted(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner, asgi: Any
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    await services.administrators.promote(ada.email)
    refused = await page.post(PAGE, data={"token": token})
    assert refused.status_code == 403 and "demote" in refused.text and not await is_deleted(services, ada)
    async with client(asgi) as http:
        admin = await make_admin(services, http)
        assert (await page.post(PAGE, data={"email": admin.email})).status_code == 200
    await run_jobs(services)
    assert outbox.tokens(admin.email, "delete-account") == []
    # Demoted, the account may be deleted by the same link.
    await services.administrators.demote(ada.email)
    assert (await page.post(PAGE, data={"token": token})).status_code == 200


async def test_banned_learner_may_delete_the_account(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner, asgi: Any
) -> None:
    async with client(asgi) as http:
        admin = await make_admin(services, http)
        await issue(admin, ada.id, BAN)
    token = await request_link(services, page, outbox, ada.email)
    assert (await page.post(PAGE, data={"token": token})).status_code == 200
    assert await is_deleted(services, ada)


async def test_banned_learner_may_download_the_data(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner, asgi: Any
) -> None:
    """Without a login, by the mailed link, which then still deletes the account (GDPR, articles 15 and 20)."""
    me = (await ada.http.get("/users/me/export")).json()["me"]
    async with client(asgi) as http:
        await issue(await make_admin(services, http), ada.id, BAN)
    assert (await ada.http.get("/users/me/export")).status_code == 401
    token = await request_link(services, page, outbox, ada.email)
    opened = await page.get(PAGE, params={"token": token})
    assert 'name="action" value="export"' in opened.text
    for _ in range(2):
        copy = await page.post(PAGE, data={"token": token, "action": "export"})
        assert copy.status_code == 200 and copy.headers["content-type"] == "application/json"
        assert copy.headers["cache-control"] == "no-store" and "attachment" in copy.headers["content-disposition"]
        data = copy.json()
        assert data["me"]["id"] == me["id"] == ada.id and data["me"]["email"] == ada.email
        assert [each["kind"] for each in data["sanctions"]] == ["ban"]
    assert not await is_deleted(services, ada)
    assert (await page.post(PAGE, data={"token": token})).status_code == 200 and await is_deleted(services, ada)
    used = await page.post(PAGE, data={"token": token, "action": "export"})
    assert used.status_code == 400 and "This link does not work" in used.text


async def test_unknown_action_deletes_nothing(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    refused = await page.post(PAGE, data={"token": token, "action": "exports"})
    assert refused.status_code == 400 and not await is_deleted(services, ada)
    assert (await page.post(PAGE, data={"token": token})).status_code == 200 and await is_deleted(services, ada)


async def test_link_of_staff_downloads_nothing(
    services: Container, page: httpx.AsyncClient, outbox: Outbox, ada: Learner
) -> None:
    token = await request_link(services, page, outbox, ada.email)
    await services.administrators.promote(ada.email)
    refused = await page.post(PAGE, data={"token": token, "action": "export"})
    assert refused.status_code == 400 and ada.email not in refused.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://sub.parlance.test"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://parlance.test"}, 200),
        ({"Origin": "http://parlance.test"}, 200),
        ({"Origin": "http://localhost:5503"}, 200),
        ({}, 200),
    ],
)
async def test_form_of_another_site_is_refused(asgi: Any, headers: dict[str, str], status: int) -> None:
    async with client(asgi) as http:
        answer = await http.post(PAGE, data={"email": new_email()}, headers=headers)
    assert answer.status_code == status, headers


async def test_form_limits_requests_of_one_address_and_network(page: httpx.AsyncClient, asgi: Any) -> None:
    email = new_email()
    assert [(await page.post(PAGE, data={"email": email})).status_code for _ in range(4)] == [200, 200, 200, 429]
    async with client(asgi) as elsewhere:
        refused = await elsewhere.post(PAGE, data={"email": email.upper()})
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0 and "try again in" in refused.text


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"email=", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"email=no-address", "application/x-www-form-urlencoded", 400),
        (b"email=%00%40%00", "application/x-www-form-urlencoded", 400),
        (b"email=a%FF@example.com", "application/x-www-form-urlencoded", 400),
        (b"email=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 9), "application/x-www-form-urlencoded", 400),
        (b"email=%3Cscript%3E%40x", "application/x-www-form-urlencoded", 400),
        (b"email=" + b"a" * 5000, "application/x-www-form-urlencoded", 413),
        (b'{"email": "a@example.com"}', "application/json", 415),
    ],
)
async def test_malformed_form_is_refused_with_a_page(asgi: Any, body: bytes, media_type: str, status: int) -> None:
    async with client(asgi) as http:
        answer = await http.post(PAGE, content=body, headers={"Content-Type": media_type})
    assert answer.status_code == status and answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text


async def test_mail_is_written_as_it_is_sent(own: Settings, asgi: Any, ada: Learner, tmp_path: Any) -> None:
    """The real mailer of development: a file with both parts, and links to the pages."""
    settings = own.model_copy(update={"mail_directory": tmp_path})
    async with running_container(settings, mailer=Mailbox(settings)) as services:
        await services.deletion_links.request(ada.email)
        await run_jobs(services)
    (mail,) = tmp_path.glob("account-deletion-*.eml")
    text = mail.read_text()
    assert "/delete-account?token" in text and "nothing is deleted" in text
    assert "http://localhost:5503/privacy" in text and "text/html" in text
