"""Orders whose money is on its way, and inquiries of the bank."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

import errors
from adapters.ports import CheckoutFact
from container import Container
from models import Order
from testing.databases import rows
from testing.http_answers import read_all_pages
from testing.lessons import problem
from testing.payments import (
    PRICE,
    FakeProvider,
    add_course,
    completed,
    deliver,
    disputed,
    is_enrolled,
    payment_of,
    razorpay_link,
    razorpay_webhook,
    state_of,
    stripe_session,
    stripe_webhook,
)
from testing.purchases import buy, buy_and_pay, read_order
from testing.servers import Learner


async def test_delayed_payment_makes_the_order_processing(
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    """Lists show it, another checkout is refused by every way to one, and no other page is made."""
    course = await add_course(services)
    order = await read_order(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "processing"
    assert [each["status"] for each in (await ada.http.get("/payments/orders")).json()["items"]] == ["processing"]
    found = await read_all_pages(admin.http, "/admin/orders", limit=100, status="processing")
    assert str(order.id) in {each["id"] for each in found} and {each["status"] for each in found} == {"processing"}
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    assert problem(await buy(ada, course, str(uuid.uuid4()))) == (409, "payment_pending")
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (409, "payment_pending")
    # Nor during an outage of the provider: the money may be in transfer.
    provider.failure = errors.Unavailable()
    assert problem(await buy(ada, course)) == (409, "payment_pending")
    provider.failure = None
    assert len(provider.purchases) == 1 and (await state_of(services, order))["status"] == "processing"
    row = stripe_session(order)
    await deliver(services, stripe_webhook("checkout.session.async_payment_succeeded", row))
    assert (await state_of(services, order))["status"] == "paid" and await is_enrolled(services, order)


async def test_failed_payment_releases_the_course(services: Container, ada: Learner) -> None:
    """A new checkout is possible at once, and the learner is notified once."""
    course = await add_course(services)
    order = await read_order(services, await buy(ada, course))
    failed = stripe_webhook("checkout.session.async_payment_failed", stripe_session(order, payment_status="unpaid"))
    await deliver(services, completed(order, payment_status="unpaid"), failed, failed)
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "failed"
    second = await read_order(services, await buy(ada, course))
    assert second.id != order.id and second.checkout_url
    failures = [
        each for each in (await ada.http.get("/notifications")).json()["items"] if each["type"] == "payment_failed"
    ]
    assert [each["data"] for each in failures] == [{"orderId": str(order.id), "courseId": course}]


async def test_next_checkout_finds_a_lost_failure(services: Container, ada: Learner, provider: FakeProvider) -> None:
    course = await add_course(services)
    order = await read_order(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    session = order.provider_session_id or ""
    provider.known[session] = [CheckoutFact(session, str(order.id), "pi_1", "failed", PRICE, "inr", True, False)]
    second = await read_order(services, await buy(ada, course))
    assert second.id != order.id and (await state_of(services, order))["status"] == "failed"


async def test_processing_order_is_reconciled(services: Container, ada: Learner, provider: FakeProvider) -> None:
    """Both webhooks after the first are lost; the provider knows."""
    outcomes: tuple[Any, ...] = ("paid", "failed")
    for outcome in outcomes:
        order = await read_order(services, await buy(ada, await add_course(services)))
        await deliver(services, completed(order, payment_status="unpaid"))
        session = order.provider_session_id or ""
        provider.known[session] = [
            CheckoutFact(session, str(order.id), payment_of(order), outcome, PRICE, "inr", True, False)
        ]
        changed = {
            each.order_id: each for each in await services.reconciliation.reconcile() if each.order_id == order.id
        }
        assert (changed[order.id].before, changed[order.id].after) == ("processing", outcome)


async def test_one_order_is_open_while_a_payment_is_processing(services: Container, ada: Learner) -> None:
    """The constraint of the database holds against any code."""
    order = await read_order(services, await buy(ada, await add_course(services)))
    await deliver(services, completed(order, payment_status="unpaid"))
    twin = Order(**{**order.model_dump(), "id": uuid.uuid4(), "receipt_id": "PL-TWIN" + order.receipt_id[-5:]})
    twin.provider_session_id = None
    with pytest.raises(sa.exc.IntegrityError, match="orders_open_key"):
        async with services.database.transaction() as session:
            session.add(twin)


async def test_payment_for_an_enrolled_course_raises_an_alert(services: Container, ada: Learner) -> None:
    """The course became free, or was withdrawn, while the payment was processing."""
    course = await add_course(services)
    order = await read_order(services, await buy(ada, course))
    await deliver(services, completed(order, payment_status="unpaid"))
    await rows(services, "UPDATE courses SET price = 0 WHERE id = :c RETURNING id", c=course)
    assert (await ada.http.post(f"/courses/{course}/enroll")).json() == {"isEnrolled": True}
    await deliver(services, completed(order))
    assert (await state_of(services, order))["alerts"] == ["paid_twice"] and await is_enrolled(services, order)
    withdrawn = await add_course(services)
    order = await read_order(services, await buy(ada, withdrawn))
    await deliver(services, completed(order, payment_status="unpaid"))
    await rows(services, "UPDATE courses SET is_published = false WHERE id = :c RETURNING id", c=withdrawn)
    assert problem(await buy(ada, withdrawn)) == (404, "not_found")
    await deliver(services, completed(order))
    assert await is_enrolled(services, order)


async def test_payment_for_a_deleted_account_raises_an_alert(services: Container, ada: Learner, admin: Learner) -> None:
    order = await read_order(services, await buy(ada, await add_course(services)))
    await deliver(services, completed(order, payment_status="unpaid"))
    gone = await ada.http.post("/users/me/deletion", json={"password": "correct horse battery"})
    assert gone.status_code == 204
    await deliver(services, completed(order))
    state = await state_of(services, order)
    assert (state["status"], state["alerts"]) == ("paid", ["account_deleted"])
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201


async def test_held_razorpay_payment_is_processing(services: Container, ada: Learner) -> None:
    """`payment.authorized` names no link; the notes that the link gave it name the order."""
    course = await add_course(services)
    order = await read_order(services, await buy(ada, course))
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
    order = await buy_and_pay(services, ada)
    asked = json.loads(disputed(order, status="warning_needs_response").body)["data"]["object"]
    asked["is_charge_refundable"] = refundable
    await deliver(services, stripe_webhook("charge.dispute.created", asked))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}[str(order.id)]
    assert (shown["isUnderInquiry"], shown["isDisputed"], shown["alerts"]) == (True, False, ["inquiry"])
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": 100})
    if not refundable:
        assert problem(answer) == (409, "order_not_refundable")
        return
    assert answer.status_code == 201 and await is_enrolled(services, order)
    await deliver(services, disputed(order, kind="charge.dispute.updated"))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}[str(order.id)]
    assert (shown["isUnderInquiry"], shown["isDisputed"], shown["alerts"]) == (False, True, ["inquiry", "disputed"])
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "order_not_refundable")


async def test_closed_inquiry_leaves_the_order_paid(services: Container, ada: Learner, admin: Learner) -> None:
    order = await buy_and_pay(services, ada)
    await deliver(
        services,
        disputed(order, status="warning_under_review"),
        disputed(order, status="warning_closed", kind="charge.dispute.closed"),
    )
    state = await state_of(services, order)
    assert (state["status"], state["inquiry"], state["disputed"], state["enrolled"]) == ("paid", False, False, True)
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201
