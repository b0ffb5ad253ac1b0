"""Checkout of a course, as an app does it: one open order, Idempotency-Key, a provider that fails."""

from __future__ import annotations

import asyncio
import functools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import errors
from adapters.ports import CheckoutFact
from container import Container
from settings import Settings
from testing.call_history import MakeLearner
from testing.containers import run_jobs
from testing.databases import rows, value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID, problem
from testing.payments import PRICE, FakeProvider, add_course, completed, deliver, expire_checkout, expired, state_of
from testing.polling import eventually
from testing.purchases import buy, buy_and_pay, post_webhook, read_order
from testing.servers import Learner, send_at_once


async def test_course_is_bought_by_the_webhook_alone(
    services: Container, ada: Learner, api: httpx.AsyncClient, provider: FakeProvider
) -> None:
    course = await add_course(services)
    answer = await buy(ada, course)
    assert answer.status_code == 201 and answer.json().keys() == {"orderId", "url"}
    (purchase,) = provider.purchases
    assert (purchase.amount, purchase.currency, purchase.user_id) == (PRICE, "inr", ada.id)
    order = await read_order(services, answer)
    listed = (await ada.http.get("/payments/orders")).json()
    (row,) = listed["items"]
    assert row == {
        "id": str(order.id),
        "receiptId": order.receipt_id,
        "courseId": course,
        "courseTitle": "Small talk that works",
        "amount": PRICE,
        "amountRefunded": 0,
        "currency": "inr",
        "status": "pending",
        "provider": "stripe",
        "isDisputed": False,
        "paidAt": None,
        "createdAt": row["createdAt"],
    }
    assert (await ada.http.get(f"/courses/{course}")).json()["isEnrolled"] is False
    assert (await post_webhook(api, completed(order))).json() == {"isReceived": True}
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "pending"
    await run_jobs(services)
    row = (await ada.http.get(f"/payments/orders/{order.id}")).json()
    assert row["status"] == "paid" and row["paidAt"]
    assert (await ada.http.get(f"/courses/{course}")).json()["isEnrolled"] is True
    assert problem(await buy(ada, course)) == (409, "already_enrolled")
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (409, "already_enrolled")


async def test_open_order_is_returned_with_its_page(services: Container, ada: Learner, provider: FakeProvider) -> None:
    course = await add_course(services)
    first = await buy(ada, course)
    assert (await buy(ada, course)).json() == first.json()
    assert (await ada.http.post(f"/courses/{course}/enroll")).json() == {"isEnrolled": False, **first.json()}
    assert len(provider.purchases) == 1


async def test_only_published_priced_courses_are_sold(
    services: Container, ada: Learner, admin: Learner, make_learner: MakeLearner
) -> None:
    free, draft = await add_course(services, price=0), await add_course(services, published=False)
    assert (await ada.http.post(f"/courses/{free}/enroll")).json() == {"isEnrolled": True}
    assert problem(await ada.http.post(f"/courses/{free}/enroll")) == (409, "already_enrolled")
    assert (await ada.http.get(f"/courses/{free}")).json()["isEnrolled"] is True
    bob = await make_learner(ready=False)
    assert problem(await buy(bob, free)) == (409, "course_is_free")
    for course in (draft, MISSING_ID):
        assert problem(await ada.http.get(f"/courses/{course}")) == (404, "not_found")
        assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (404, "not_found")
        assert problem(await buy(ada, course)) == (404, "not_found")
    listed = {each["id"]: each for each in await read_all_pages(ada.http, "/courses", limit=100)}
    assert free in listed and draft not in listed
    assert draft in {each["id"] for each in await read_all_pages(admin.http, "/courses", limit=100)}
    assert (await admin.http.get(f"/courses/{draft}")).json()["isPublished"] is False


async def test_price_from_the_client_is_refused(services: Container, ada: Learner) -> None:
    body = {"courseId": await add_course(services), "amount": 1}
    answer = await ada.http.post("/payments/create-checkout-session", json=body)
    assert problem(answer) == (400, "request_invalid")


async def test_order_of_another_learner_is_not_found(
    services: Container, ada: Learner, make_learner: MakeLearner
) -> None:
    order, bob = await buy_and_pay(services, ada), await make_learner(ready=False)
    theirs = await bob.http.get(f"/payments/orders/{order.id}")
    nowhere = await bob.http.get(f"/payments/orders/{MISSING_ID}")
    assert problem(theirs) == (404, "not_found") and theirs.content == nowhere.content
    assert (await bob.http.get("/payments/orders")).json()["items"] == []


async def test_fifty_concurrent_checkouts_are_one_open_order(
    services: Container, ada: Learner, provider: FakeProvider
) -> None:
    provider.delay_seconds = 0.2
    for keys in ([None] * 50, [uuid.uuid4().hex for _ in range(50)], ["the-same"] * 50):
        course = await add_course(services)
        provider.purchases.clear()
        answers = await send_at_once(functools.partial(buy, ada, course, key) for key in keys)
        good = [each for each in answers if each.status_code == 201]
        assert len({each.text for each in good}) == 1
        assert len(provider.purchases) == 1, "one page was asked for"
        count = "SELECT count(*) FROM orders WHERE course_id = :c"
        assert await value(services, count, c=course) == 1
        if keys[0] == "the-same":
            rest = {problem(each) for each in answers if each.status_code != 201}
            assert rest <= {(409, "idempotency_in_flight")}
        else:
            assert count_statuses(answers) == {201: 50}


# --- Idempotency-Key -----------------------------------------------------------------------------------


async def test_idempotency_key_replays_the_first_answer(
    services: Container, ada: Learner, make_learner: MakeLearner
) -> None:
    course, other, key = await add_course(services), await add_course(services), str(uuid.uuid4())
    first = await buy(ada, course, key)
    order = await read_order(services, first)
    await deliver(services, expired(order))
    again = await buy(ada, course, key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    assert problem(await buy(ada, other, key)) == (422, "idempotency_key_reused")
    # Another learner's key, and another operation's, are others.
    bob = await make_learner(ready=False)
    theirs = await buy(bob, course, key)
    assert theirs.status_code == 201 and theirs.json()["orderId"] != first.json()["orderId"]
    enrolled = await ada.http.post(f"/courses/{course}/enroll", headers={"Idempotency-Key": key})
    assert enrolled.json()["orderId"] != first.json()["orderId"]
    for bad in ("", "a b", "schlüssel", "x" * 256):
        headers = httpx.Headers({"Idempotency-Key": bad}, encoding="latin-1")
        answer = await ada.http.post("/payments/create-checkout-session", json={"courseId": course}, headers=headers)
        assert answer.status_code == 400, bad


async def test_idempotency_key_is_free_after_a_failure(
    services: Container, ada: Learner, provider: FakeProvider
) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    provider.failure = errors.Unavailable()
    assert problem(await buy(ada, course, key)) == (503, "unavailable")
    provider.failure = None
    assert (await buy(ada, course, key)).status_code == 201


async def test_repeat_of_a_running_request_is_refused(
    services: Container, ada: Learner, provider: FakeProvider
) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    provider.delay_seconds = 1
    first = asyncio.create_task(buy(ada, course, key))
    await eventually(lambda: provider.purchases, within=10, what="the provider has been asked")
    busy = await buy(ada, course, key)
    assert problem(busy) == (409, "idempotency_in_flight") and busy.headers["Retry-After"] == "1"
    assert not first.done() and (await first).status_code == 201


async def test_checkout_is_idempotent_without_redis_keys(services: Container, ada: Learner) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    first = await buy(ada, course, key)
    forgotten = [each async for each in services.redis.scan_iter(f"idempotency:*:{ada.id}:*")]
    assert await services.redis.delete(*forgotten) == 1
    assert (await buy(ada, course, key)).json() == first.json()


# --- A provider that fails -----------------------------------------------------------------------------


async def test_provider_timeout_after_success_makes_one_page(
    services: Container, ada: Learner, provider: FakeProvider
) -> None:
    course = await add_course(services)
    provider.loses_answers = True
    assert problem(await buy(ada, course)) == (503, "unavailable")
    provider.loses_answers = False
    order = await read_order(services, await buy(ada, course))
    assert {each.order_id for each in provider.purchases} == {str(order.id)}
    assert provider.pages[str(order.id)].session_id == order.provider_session_id
    assert len({(each.title, each.amount, each.expires_at) for each in provider.purchases}) == 1, "the same request"
    assert await value(services, "SELECT count(*) FROM orders WHERE course_id = :c", c=course) == 1


async def test_refused_checkout_does_not_stay_open(services: Container, ada: Learner, provider: FakeProvider) -> None:
    course = await add_course(services)
    provider.failure = errors.PaymentRefused()
    assert problem(await buy(ada, course)) == (502, "payment_refused")
    provider.failure = None
    assert (await buy(ada, course)).status_code == 201
    statuses = await rows(
        services, "SELECT status::text FROM orders WHERE course_id = :c ORDER BY created_at", c=course
    )
    assert [each.status for each in statuses] == ["failed", "pending"]


async def test_closed_page_is_looked_up_before_a_new_one(
    services: Container, ada: Learner, provider: FakeProvider
) -> None:
    course = await add_course(services)
    first = await read_order(services, await buy(ada, course))
    session = first.provider_session_id or ""

    def is_now(outcome: Any, payment: str | None = None) -> None:
        fact = CheckoutFact(session, str(first.id), payment, outcome, PRICE, "inr", True, False)
        provider.known[session] = [fact]

    await expire_checkout(services, first, datetime.now(UTC) - timedelta(seconds=1))
    is_now("processing")
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    is_now("expired")
    second = await read_order(services, await buy(ada, course))
    assert second.id != first.id and (await state_of(services, first))["status"] == "expired"
    # Paid in its last minute after all: nobody has to pay again.
    session = second.provider_session_id or ""
    fact = CheckoutFact(session, str(second.id), "pi_late", "paid", PRICE, "inr", True, False)
    provider.known[session] = [fact]
    await expire_checkout(services, second, datetime.now(UTC) - timedelta(seconds=1))
    assert problem(await buy(ada, course)) == (409, "already_enrolled")
    assert (await state_of(services, second))["status"] == "paid"


async def test_checkout_without_a_provider_is_unavailable(
    settings: Settings, services: Container, ada: Learner
) -> None:
    bare = Container(services.settings, payment_providers={})
    try:
        with pytest.raises(errors.Unavailable, match="not configured"):
            await bare.checkout.start(ada.id, await add_course(services))
    finally:
        await bare.close()
