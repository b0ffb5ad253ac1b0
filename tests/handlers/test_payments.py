"""Buying a course, as an app does it, and giving the money back, as an operator does."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

import app
import errors
from adapters.ports import CheckoutFact
from container import Container
from models import Order
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.containers import run_jobs
from testing.databases import rows, value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID, problem
from testing.payments import (
    STRIPE_SECRET,
    FakeProvider,
    Webhook,
    add_course,
    completed,
    deliver,
    disputed,
    expire_checkout,
    expired,
    is_enrolled,
    payment_of,
    razorpay_link,
    razorpay_webhook,
    refunded,
    selling_container,
    state_of,
    stripe_session,
    stripe_webhook,
)
from testing.polling import eventually
from testing.servers import Learner, client

PRICE = 49900


@pytest.fixture(scope="module")
async def services(settings: Settings) -> AsyncIterator[Container]:
    async with selling_container(settings) as services:
        yield services


@pytest.fixture
def till(services: Container) -> Any:
    """The fake of Stripe, without failures."""
    stripe = services._providers["stripe"]
    assert isinstance(stripe, FakeProvider)
    stripe.failure, stripe.loses_answers, stripe.delay_seconds, stripe.refund_calls = None, False, 0, 0
    stripe.purchases.clear()
    return stripe


@pytest.fixture(scope="module")
def asgi(services: Container) -> Any:
    return app.create(services)


@pytest.fixture
async def http(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(asgi) as anonymous:
        yield anonymous


@pytest.fixture
async def ada(make_learner: MakeLearner, till: FakeProvider) -> Learner:
    return await make_learner(ready=False)


@pytest.fixture
async def admin(services: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(services, (await make_learner(ready=False)).http)


async def buy(who: Learner, course: str, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await who.http.post("/payments/create-checkout-session", json={"courseId": course}, headers=headers)


async def order_of(services: Container, answer: httpx.Response) -> Order:
    assert answer.status_code == 201, answer.text
    async with services.database.transaction() as session:
        return await session.get_one(Order, uuid.UUID(answer.json()["orderId"]))


async def paid(services: Container, who: Learner, course: str | None = None) -> Order:
    order = await order_of(services, await buy(who, course or await add_course(services)))
    await deliver(services, completed(order))
    return order


async def send(http: httpx.AsyncClient, webhook: Webhook) -> httpx.Response:
    return await http.post(
        "/payments/webhook", content=webhook.body, headers=httpx.Headers(webhook.headers, encoding="latin-1")
    )


# --- Buying ---------------------------------------------------------------------------------------------


async def test_course_is_bought_by_the_webhook_alone(
    services: Container, ada: Learner, http: httpx.AsyncClient, till: FakeProvider
) -> None:
    course = await add_course(services)
    answer = await buy(ada, course)
    assert answer.status_code == 201 and answer.json().keys() == {"orderId", "url"}
    (purchase,) = till.purchases
    assert (purchase.amount, purchase.currency, purchase.user_id) == (PRICE, "inr", ada.id)
    order = await order_of(services, answer)
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
        "disputed": False,
        "paidAt": None,
        "createdAt": row["createdAt"],
    }
    assert (await ada.http.get(f"/courses/{course}")).json()["enrolled"] is False
    assert (await send(http, completed(order))).json() == {"received": True}
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "pending"
    await run_jobs(services)
    row = (await ada.http.get(f"/payments/orders/{order.id}")).json()
    assert row["status"] == "paid" and row["paidAt"]
    assert (await ada.http.get(f"/courses/{course}")).json()["enrolled"] is True
    assert problem(await buy(ada, course)) == (409, "already_enrolled")
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (409, "already_enrolled")


async def test_open_order_is_returned_with_its_page(services: Container, ada: Learner, till: FakeProvider) -> None:
    course = await add_course(services)
    first = await buy(ada, course)
    assert (await buy(ada, course)).json() == first.json()
    assert (await ada.http.post(f"/courses/{course}/enroll")).json() == {"enrolled": False, **first.json()}
    assert len(till.purchases) == 1


async def test_only_published_priced_courses_are_sold(
    services: Container, ada: Learner, admin: Learner, make_learner: MakeLearner
) -> None:
    free, draft = await add_course(services, price=0), await add_course(services, published=False)
    assert (await ada.http.post(f"/courses/{free}/enroll")).json() == {"enrolled": True}
    assert problem(await ada.http.post(f"/courses/{free}/enroll")) == (409, "already_enrolled")
    assert (await ada.http.get(f"/courses/{free}")).json()["enrolled"] is True
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
    order, bob = await paid(services, ada), await make_learner(ready=False)
    theirs = await bob.http.get(f"/payments/orders/{order.id}")
    nowhere = await bob.http.get(f"/payments/orders/{MISSING_ID}")
    assert problem(theirs) == (404, "not_found") and theirs.content == nowhere.content
    assert (await bob.http.get("/payments/orders")).json()["items"] == []


async def test_fifty_concurrent_checkouts_are_one_open_order(
    services: Container, ada: Learner, till: FakeProvider
) -> None:
    till.delay_seconds = 0.2
    for keys in ([None] * 50, [uuid.uuid4().hex for _ in range(50)], ["the-same"] * 50):
        course = await add_course(services)
        till.purchases.clear()
        answers = await asyncio.gather(*(buy(ada, course, key) for key in keys))
        good = [each for each in answers if each.status_code == 201]
        assert len({each.text for each in good}) == 1
        assert len(till.purchases) == 1, "one page was asked for"
        count = "SELECT count(*) FROM orders WHERE course_id = :c"
        assert await value(services, count, c=course) == 1
        if keys[0] == "the-same":
            rest = {problem(each) for each in answers if each.status_code != 201}
            assert rest <= {(409, "idempotency_in_flight")}
        else:
            assert count_statuses(answers) == {201: 50}


# --- Idempotency-Key ------------------------------------------------------------------------------------


async def test_idempotency_key_replays_the_first_answer(
    services: Container, ada: Learner, make_learner: MakeLearner
) -> None:
    course, other, key = await add_course(services), await add_course(services), str(uuid.uuid4())
    first = await buy(ada, course, key)
    order = await order_of(services, first)
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


async def test_idempotency_key_is_free_after_a_failure(services: Container, ada: Learner, till: FakeProvider) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    till.failure = errors.Unavailable()
    assert problem(await buy(ada, course, key)) == (503, "unavailable")
    till.failure = None
    assert (await buy(ada, course, key)).status_code == 201


async def test_repeat_of_a_running_request_is_refused(services: Container, ada: Learner, till: FakeProvider) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    till.delay_seconds = 1
    first = asyncio.create_task(buy(ada, course, key))
    await eventually(lambda: till.purchases, within=10, what="the provider has been asked")
    busy = await buy(ada, course, key)
    assert problem(busy) == (409, "idempotency_in_flight") and busy.headers["Retry-After"] == "1"
    assert not first.done() and (await first).status_code == 201


async def test_checkout_is_idempotent_without_redis_keys(services: Container, ada: Learner) -> None:
    course, key = await add_course(services), str(uuid.uuid4())
    first = await buy(ada, course, key)
    forgotten = [each async for each in services.redis.scan_iter(f"idempotency:*:{ada.id}:*")]
    assert await services.redis.delete(*forgotten) == 1
    assert (await buy(ada, course, key)).json() == first.json()


# --- A provider that fails ------------------------------------------------------------------------------


async def test_provider_timeout_after_success_makes_one_page(
    services: Container, ada: Learner, till: FakeProvider
) -> None:
    course = await add_course(services)
    till.loses_answers = True
    assert problem(await buy(ada, course)) == (503, "unavailable")
    till.loses_answers = False
    order = await order_of(services, await buy(ada, course))
    assert {each.order_id for each in till.purchases} == {str(order.id)}
    assert till.pages[str(order.id)].session_id == order.provider_session_id
    assert len({(each.title, each.amount, each.expires_at) for each in till.purchases}) == 1, "the same request"
    assert await value(services, "SELECT count(*) FROM orders WHERE course_id = :c", c=course) == 1


async def test_refused_checkout_does_not_stay_open(services: Container, ada: Learner, till: FakeProvider) -> None:
    course = await add_course(services)
    till.failure = errors.PaymentRefused()
    assert problem(await buy(ada, course)) == (502, "payment_refused")
    till.failure = None
    assert (await buy(ada, course)).status_code == 201
    statuses = await rows(
        services, "SELECT status::text FROM orders WHERE course_id = :c ORDER BY created_at", c=course
    )
    assert [each.status for each in statuses] == ["failed", "pending"]


async def test_closed_page_is_looked_up_before_a_new_one(services: Container, ada: Learner, till: FakeProvider) -> None:
    course = await add_course(services)
    first = await order_of(services, await buy(ada, course))
    session = first.provider_session_id or ""

    def is_now(outcome: Any, payment: str | None = None) -> None:
        fact = CheckoutFact(session, str(first.id), payment, outcome, PRICE, "inr", True, False)
        till.known[session] = [fact]

    await expire_checkout(services, first, datetime.now(UTC) - timedelta(seconds=1))
    is_now("processing")
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    is_now("expired")
    second = await order_of(services, await buy(ada, course))
    assert second.id != first.id and (await state_of(services, first))["status"] == "expired"
    # Paid in its last minute after all: nobody has to pay again.
    session = second.provider_session_id or ""
    fact = CheckoutFact(session, str(second.id), "pi_late", "paid", PRICE, "inr", True, False)
    till.known[session] = [fact]
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


# --- Money on its way -----------------------------------------------------------------------------------


async def test_delayed_payment_makes_the_order_processing(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    """Lists show it, another checkout is refused by every way to one, and no other page is made."""
    course = await add_course(services)
    order = await order_of(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "processing"
    assert [each["status"] for each in (await ada.http.get("/payments/orders")).json()["items"]] == ["processing"]
    found = await read_all_pages(admin.http, "/admin/orders", limit=100, status="processing")
    assert str(order.id) in {each["id"] for each in found} and {each["status"] for each in found} == {"processing"}
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    assert problem(await buy(ada, course, str(uuid.uuid4()))) == (409, "payment_pending")
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (409, "payment_pending")
    # Nor where the provider is away: as far as anybody knows the money is on its way.
    till.failure = errors.Unavailable()
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    till.failure = None
    assert len(till.purchases) == 1 and (await state_of(services, order))["status"] == "processing"
    row = stripe_session(order)
    await deliver(services, stripe_webhook("checkout.session.async_payment_succeeded", row))
    assert (await state_of(services, order))["status"] == "paid" and await is_enrolled(services, order)


async def test_failed_payment_releases_the_course(services: Container, ada: Learner) -> None:
    """A new checkout is possible at once, and the learner is notified once."""
    course = await add_course(services)
    order = await order_of(services, await buy(ada, course))
    failed = stripe_webhook("checkout.session.async_payment_failed", stripe_session(order, payment_status="unpaid"))
    await deliver(services, completed(order, payment_status="unpaid"), failed, failed)
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "failed"
    second = await order_of(services, await buy(ada, course))
    assert second.id != order.id and second.checkout_url
    failures = [
        each for each in (await ada.http.get("/notifications")).json()["items"] if each["type"] == "payment_failed"
    ]
    assert [each["data"] for each in failures] == [{"orderId": str(order.id), "courseId": course}]


async def test_next_checkout_finds_a_lost_failure(services: Container, ada: Learner, till: FakeProvider) -> None:
    course = await add_course(services)
    order = await order_of(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    session = order.provider_session_id or ""
    till.known[session] = [CheckoutFact(session, str(order.id), "pi_1", "failed", PRICE, "inr", True, False)]
    second = await order_of(services, await buy(ada, course))
    assert second.id != order.id and (await state_of(services, order))["status"] == "failed"


async def test_processing_order_is_reconciled(services: Container, ada: Learner, till: FakeProvider) -> None:
    """Both webhooks after the first are lost; the provider knows."""
    outcomes: tuple[Any, ...] = ("paid", "failed")
    for outcome in outcomes:
        order = await order_of(services, await buy(ada, await add_course(services)))
        await deliver(services, completed(order, payment_status="unpaid"))
        session = order.provider_session_id or ""
        till.known[session] = [
            CheckoutFact(session, str(order.id), payment_of(order), outcome, PRICE, "inr", True, False)
        ]
        changed = {
            each.order_id: each for each in await services.reconciliation.reconcile() if each.order_id == order.id
        }
        assert (changed[order.id].before, changed[order.id].after) == ("processing", outcome)


async def test_one_order_is_open_while_a_payment_is_processing(services: Container, ada: Learner) -> None:
    """The constraint of the database holds, whatever the code does."""
    order = await order_of(services, await buy(ada, await add_course(services)))
    await deliver(services, completed(order, payment_status="unpaid"))
    twin = Order(**{**order.model_dump(), "id": uuid.uuid4(), "receipt_id": "PL-TWIN" + order.receipt_id[-5:]})
    twin.provider_session_id = None
    with pytest.raises(sa.exc.IntegrityError, match="orders_open_key"):
        async with services.database.transaction() as session:
            session.add(twin)


async def test_payment_for_an_enrolled_course_raises_an_alert(services: Container, ada: Learner) -> None:
    """The course became free, or was withdrawn, while the payment was processing."""
    course = await add_course(services)
    order = await order_of(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    await rows(services, "UPDATE courses SET price = 0 WHERE id = :c RETURNING id", c=course)
    assert (await ada.http.post(f"/courses/{course}/enroll")).json() == {"enrolled": True}
    await deliver(services, completed(order))
    assert (await state_of(services, order))["alerts"] == ["paid_twice"] and await is_enrolled(services, order)
    withdrawn = await add_course(services)
    order = await order_of(services, await buy(ada, withdrawn))
    await deliver(services, completed(order, payment_status="unpaid"))
    await rows(services, "UPDATE courses SET is_published = false WHERE id = :c RETURNING id", c=withdrawn)
    assert problem(await buy(ada, withdrawn)) == (404, "not_found")
    await deliver(services, completed(order))
    assert await is_enrolled(services, order)


async def test_payment_for_a_deleted_account_raises_an_alert(services: Container, ada: Learner, admin: Learner) -> None:
    order = await order_of(services, await buy(ada, await add_course(services)))
    await deliver(services, completed(order, payment_status="unpaid"))
    gone = await ada.http.request("DELETE", "/users/me", json={"password": "correct horse battery"})
    assert gone.status_code == 204
    await deliver(services, completed(order))
    state = await state_of(services, order)
    assert (state["status"], state["alerts"]) == ("paid", ["account_deleted"])
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201


async def test_held_razorpay_payment_is_processing(services: Container, ada: Learner) -> None:
    """`payment.authorized` names no link; the notes that the link gave it name the order."""
    course = await add_course(services)
    order = await order_of(services, await buy(ada, course))
    await rows(services, "UPDATE orders SET provider = 'razorpay' WHERE id = :o RETURNING id", o=order.id)
    payment = {"id": "pay_held", "status": "authorized", "amount": PRICE, "currency": "INR"}
    noted = {**payment, "notes": {"internalOrderId": str(order.id)}}
    await deliver(services, razorpay_webhook("payment.authorized", {"payment": {**payment, "notes": []}}))
    assert (await state_of(services, order))["status"] == "pending"
    await deliver(services, razorpay_webhook("payment.authorized", {"payment": noted}))
    assert (await state_of(services, order))["status"] == "processing"
    expired_link = razorpay_link(order, status="expired", amount_paid=0)
    await deliver(services, razorpay_webhook("payment_link.expired", {"payment_link": expired_link}))
    assert (await state_of(services, order))["status"] == "expired"
    assert (await buy(ada, course)).status_code == 201


@pytest.mark.parametrize("refundable", [True, False])
async def test_inquiry_can_be_refunded(services: Container, ada: Learner, admin: Learner, refundable: bool) -> None:
    """As long as the provider says so, and not once it is a dispute."""
    order = await paid(services, ada)
    asked = json.loads(disputed(order, status="warning_needs_response").body)["data"]["object"]
    asked["is_charge_refundable"] = refundable
    await deliver(services, stripe_webhook("charge.dispute.created", asked))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}[str(order.id)]
    assert (shown["inquiry"], shown["disputed"], shown["alerts"]) == (True, False, ["inquiry"])
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": 100})
    if not refundable:
        assert problem(answer) == (409, "order_not_refundable")
        return
    assert answer.status_code == 201 and await is_enrolled(services, order)
    await deliver(services, disputed(order, kind="charge.dispute.updated"))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}[str(order.id)]
    assert (shown["inquiry"], shown["disputed"], shown["alerts"]) == (False, True, ["inquiry", "disputed"])
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "order_not_refundable")


async def test_closed_inquiry_leaves_the_order_paid(services: Container, ada: Learner, admin: Learner) -> None:
    order = await paid(services, ada)
    await deliver(
        services,
        disputed(order, status="warning_under_review"),
        disputed(order, status="warning_closed", kind="charge.dispute.closed"),
    )
    state = await state_of(services, order)
    assert (state["status"], state["inquiry"], state["disputed"], state["enrolled"]) == ("paid", False, False, True)
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201


# --- Webhooks -------------------------------------------------------------------------------------------


@pytest.mark.rest_paths
async def test_webhook_without_a_fresh_signature_is_refused(
    services: Container, ada: Learner, http: httpx.AsyncClient
) -> None:
    order = await order_of(services, await buy(ada, await add_course(services)))
    good = completed(order)
    row = stripe_session(order)
    kind = "checkout.session.completed"
    signature = good.headers["Stripe-Signature"]
    stamp, digest = signature.split(",")
    paid_link = {"payment_link": razorpay_link(order), "payment": {"id": "pay_1"}}
    razorpays = razorpay_webhook("payment_link.paid", paid_link)
    bad = {
        "no signature": Webhook(good.body, {}),
        "another secret": stripe_webhook(kind, row, secret="whsec_of_somebody"),
        "an old one": stripe_webhook(kind, row, stamp=time.time() - 301),
        "one from the future": stripe_webhook(kind, row, stamp=time.time() + 120),
        "one for next year": stripe_webhook(kind, row, stamp=time.time() + 31_536_000),
        "written again": Webhook(json.dumps(json.loads(good.body)).encode(), good.headers),
        "a space more": Webhook(good.body + b" ", good.headers),
        "another time": Webhook(good.body, {"Stripe-Signature": f"t={int(time.time()) + 1},{digest}"}),
        "two times": Webhook(good.body, {"Stripe-Signature": f"t={int(time.time()) + 2},{stamp},{digest}"}),
        "no digest": Webhook(good.body, {"Stripe-Signature": stamp}),
        "an old scheme": Webhook(good.body, {"Stripe-Signature": f"{stamp},{digest.replace('v1', 'v0')}"}),
        "nonsense": Webhook(good.body, {"Stripe-Signature": "nonsense"}),
        "not UTF-8": Webhook(b"\xff" + good.body, good.headers),
        "nothing": Webhook(b"", good.headers),
        "both providers": Webhook(good.body, {**good.headers, **razorpays.headers}),
        "Razorpay by Stripe's": Webhook(razorpays.body, good.headers),
        "Razorpay by another": razorpay_webhook("payment_link.paid", paid_link, secret=STRIPE_SECRET),
        "Razorpay, changed": Webhook(razorpays.body.replace(b"49900", b"49901"), razorpays.headers),
        "Razorpay, not ASCII": Webhook(razorpays.body, {"X-Razorpay-Signature": "\xff"}),
    }
    for what, webhook in bad.items():
        answer = await send(http, webhook)
        assert problem(answer) == (400, "signature_invalid"), what
    assert (
        await value(services, "SELECT count(*) FROM webhook_events WHERE fact->>'order_id' = :o", o=str(order.id)) == 0
    )
    assert (await send(http, Webhook(b"x" * (1024 * 1024 + 1), good.headers))).status_code == 413
    assert (await send(http, good)).status_code == 200
    # A clock may be a little ahead of ours.
    assert (await send(http, stripe_webhook(kind, row, stamp=time.time() + 30))).status_code == 200
    await run_jobs(services)
    assert await is_enrolled(services, order)


async def test_repeated_webhook_needs_no_postgresql(services: Container, ada: Learner, http: httpx.AsyncClient) -> None:
    order = await order_of(services, await buy(ada, await add_course(services)))
    webhook = completed(order)
    key = f"webhook:stripe:{json.loads(webhook.body)['id']}"
    assert not await services.redis.exists(key)
    assert (await send(http, webhook)).status_code == 200
    assert await services.redis.get(key) == "1" and 259_000 < await services.redis.ttl(key) <= 259_200
    away = Container(services.settings.model_copy(update={"db_port": 1}), payment_providers=services._providers)
    try:
        async with client(app.create(away)) as elsewhere:
            assert (await send(elsewhere, webhook)).status_code == 200
            # What is new cannot be kept: the provider has to send it again.
            answer = await send(elsewhere, disputed(order))
            assert problem(answer) == (503, "unavailable") and answer.headers["Retry-After"]
    finally:
        await away.redis.aclose()
    assert (
        await value(services, "SELECT count(*) FROM disputes WHERE provider_payment_id = :p", p=payment_of(order)) == 0
    )


async def test_webhooks_and_checkouts_work_without_redis(services: Container, ada: Learner) -> None:
    bare = services.settings.model_copy(update={"redis_port": 1})
    away = Container(bare, payment_providers=services._providers)
    try:
        order = await away.checkout.start(ada.id, await add_course(services))
        webhook = completed(order)
        headers = {name.lower(): text for name, text in webhook.headers.items()}
        for _ in range(2):
            await away.webhooks.receive(webhook.body, headers)
        attempt = await away.idempotency.begin(ada.id, "handlers.payments.create_checkout_session", "k", {})
        assert attempt.answer is None
        await away.idempotency.finish(attempt, "{}")
    finally:
        await away.database.close()
    await run_jobs(services)
    assert await is_enrolled(services, order)


# --- Giving back ----------------------------------------------------------------------------------------


async def test_administrator_refunds_in_parts(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    path = f"/admin/orders/{order.id}/refund"
    answer = await admin.http.post(path, json={"amount": 10000, "reason": "Half of it was missing"})
    assert answer.status_code == 201, answer.text
    refund = answer.json()
    assert (refund["orderId"], refund["amount"], refund["currency"]) == (str(order.id), 10000, "inr")
    assert (refund["status"], refund["reason"]) == ("succeeded", "Half of it was missing")
    shown = (await ada.http.get(f"/payments/orders/{order.id}")).json()
    assert (shown["status"], shown["amountRefunded"]) == ("paid", 10000) and await is_enrolled(services, order)
    assert problem(await admin.http.post(path, json={"amount": PRICE - 9999})) == (409, "refund_too_large")
    assert (await admin.http.post(path, json={})).json()["amount"] == PRICE - 10000
    shown = (await ada.http.get(f"/payments/orders/{order.id}")).json()
    assert (shown["status"], shown["amountRefunded"]) == ("refunded", PRICE) and not await is_enrolled(services, order)
    assert problem(await admin.http.post(path, json={})) == (409, "order_not_refundable")
    entries = await rows(
        services, "SELECT actor_id, action, detail FROM audit_log WHERE subject_id = :o ORDER BY number", o=order.id
    )
    assert [(str(each.actor_id), each.action, each.detail["amount"]) for each in entries] == [
        (admin.id, "order.refund", 10000),
        (admin.id, "order.refund", PRICE - 10000),
    ]
    # A later webhook of the provider changes nothing.
    (first, second) = [each for each in till.refunds.values() if each.payment_id == payment_of(order)]
    for fact in (first, second, first):
        row = {
            "id": fact.refund_id,
            "object": "refund",
            "amount": fact.amount,
            "currency": "inr",
            "payment_intent": fact.payment_id,
            "metadata": {"internalRefundId": fact.our_id},
            "status": "succeeded",
        }
        await deliver(services, stripe_webhook("refund.created", row))
    assert (await state_of(services, order))["refunds"] == [(10000, "succeeded"), (PRICE - 10000, "succeeded")]


async def test_fifty_concurrent_refunds_are_one(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    till.delay_seconds = 0.2
    answers = await asyncio.gather(*(admin.http.post(f"/admin/orders/{order.id}/refund", json={}) for _ in range(50)))
    assert count_statuses(answers) == {201: 1, 409: 49}
    assert {problem(each)[1] for each in answers if each.status_code == 409} <= {
        "refund_pending",
        "order_not_refundable",
    }
    await run_jobs(services)
    assert till.refund_calls == 1
    assert (await state_of(services, order))["refunds"] == [(PRICE, "succeeded")]


async def test_refund_with_an_idempotency_key_is_one(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [
        await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": 100}, headers=key) for _ in range(5)
    ]
    assert {each.text for each in answers} == {answers[0].text} and till.refund_calls == 1
    assert (await state_of(services, order))["amount_refunded"] == 100


async def test_timed_out_refund_is_retried_once(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    till.loses_answers = True
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    assert await is_enrolled(services, order)
    again = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert problem(again) == (409, "refund_pending")
    till.loses_answers = False
    await rows(
        services,
        "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'payments.send_refund'"
        " AND status = 'todo' RETURNING id",
    )
    await run_jobs(services)
    assert till.refund_calls == 2
    assert len([each for each in till.refunds.values() if each.payment_id == payment_of(order)]) == 1
    state = await state_of(services, order)
    assert (state["status"], state["refunds"], state["enrolled"]) == ("refunded", [(PRICE, "succeeded")], False)


async def test_refused_refund_leaves_the_order_paid(
    services: Container, ada: Learner, admin: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    till.failure = errors.PaymentRefused()
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert problem(answer) == (502, "payment_refused")
    assert (await state_of(services, order))["refunds"] == [(PRICE, "failed")]
    till.failure = None
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).json()["status"] == "succeeded"


async def test_impossible_refund_is_refused(services: Container, ada: Learner, admin: Learner) -> None:
    pending = await order_of(services, await buy(ada, await add_course(services)))
    refused = await admin.http.post(f"/admin/orders/{pending.id}/refund", json={})
    assert problem(refused) == (409, "order_not_refundable")
    order = await paid(services, ada)
    await deliver(services, disputed(order))
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "order_not_refundable")
    await deliver(services, disputed(order, status="won", kind="charge.dispute.closed"))
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201
    assert problem(await admin.http.post(f"/admin/orders/{MISSING_ID}/refund", json={})) == (404, "not_found")
    for body in ({"amount": 0}, {"amount": -5}, {"amount": 1.5}, {"amount": 2**31}, {"all": True}):
        assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json=body)).status_code == 400


async def test_refund_uses_the_provider_of_the_order(
    settings: Settings, services: Container, ada: Learner, till: FakeProvider
) -> None:
    order = await paid(services, ada)
    switched = Container(
        services.settings.model_copy(update={"payment_provider": "razorpay"}), payment_providers=services._providers
    )
    try:
        refund = await switched.refunds.create(None, str(order.id), 100, None)
        assert refund.provider == "stripe" and till.refund_calls == 1
        other = await switched.checkout.start(ada.id, await add_course(services))
        assert other.provider == "razorpay"
    finally:
        await switched.redis.aclose()
        await switched.database.close()


async def test_operators_see_orders_and_alerts(
    services: Container, ada: Learner, admin: Learner, make_learner: MakeLearner
) -> None:
    order, other = (
        await paid(services, ada),
        await order_of(services, await buy(await make_learner(ready=False), await add_course(services))),
    )
    await deliver(services, disputed(order), completed(other, amount_total=1))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}
    mine = shown[str(order.id)]
    assert (mine["userId"], mine["alerts"], mine["disputed"]) == (ada.id, ["disputed"], True)
    assert mine["providerPaymentId"] == payment_of(order)
    assert (shown[str(other.id)]["status"], shown[str(other.id)]["alerts"]) == ("pending", ["amount_differs"])
    pending = await read_all_pages(admin.http, "/admin/orders", limit=100, status="pending")
    assert str(other.id) in {each["id"] for each in pending} and {each["status"] for each in pending} == {"pending"}
    assert problem(await ada.http.get("/admin/orders")) == (403, "forbidden")


async def test_export_has_refunds_and_disputes(services: Container, ada: Learner, make_learner: MakeLearner) -> None:
    """Those of one's own orders, and of nobody else's."""
    order, other = await paid(services, ada), await paid(services, await make_learner(ready=False))
    await deliver(services, refunded(order, 100), disputed(order), refunded(other, 200), disputed(other))
    copy = (await ada.http.get("/users/me/export")).json()
    (refund,), (dispute,) = copy["refunds"], copy["disputes"]
    assert (refund["orderId"], refund["amount"], refund["status"]) == (str(order.id), 100, "succeeded")
    assert (dispute["orderId"], dispute["currency"]) == (str(order.id), order.currency)
    assert dispute["status"] == "open" and dispute["createdAt"].endswith("Z")


async def test_export_has_orders_and_deletion_keeps_them(services: Container, ada: Learner) -> None:
    order = await paid(services, ada)
    copy = (await ada.http.get("/users/me/export")).json()
    assert [each["id"] for each in copy["orders"]] == [str(order.id)]
    assert [each["courseId"] for each in copy["enrollments"]] == [str(order.course_id)]
    gone = await ada.http.request("DELETE", "/users/me", json={"password": "correct horse battery"})
    assert gone.status_code == 204
    await deliver(services, refunded(order, PRICE))
    assert (await state_of(services, order))["status"] == "refunded"
