"""Refunds by an operator, and what operators and learners see of an order."""

from __future__ import annotations

import uuid

import errors
from container import Container
from settings import Settings
from testing.call_history import MakeLearner
from testing.containers import run_jobs
from testing.databases import rows
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID, problem
from testing.payments import (
    PRICE,
    FakeProvider,
    add_course,
    completed,
    deliver,
    disputed,
    is_enrolled,
    payment_of,
    refunded,
    state_of,
    stripe_webhook,
)
from testing.purchases import buy, buy_and_pay, read_order
from testing.servers import Learner, send_at_once


async def test_administrator_refunds_in_parts(
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
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
    (first, second) = [each for each in provider.refunds.values() if each.payment_id == payment_of(order)]
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
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
    provider.delay_seconds = 0.2
    answers = await send_at_once([lambda: admin.http.post(f"/admin/orders/{order.id}/refund", json={})] * 50)
    assert count_statuses(answers) == {201: 1, 409: 49}
    assert {problem(each)[1] for each in answers if each.status_code == 409} <= {
        "refund_pending",
        "order_not_refundable",
    }
    await run_jobs(services)
    assert provider.refund_calls == 1
    assert (await state_of(services, order))["refunds"] == [(PRICE, "succeeded")]


async def test_refund_with_an_idempotency_key_is_one(
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [
        await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": 100}, headers=key) for _ in range(5)
    ]
    assert {each.text for each in answers} == {answers[0].text} and provider.refund_calls == 1
    assert (await state_of(services, order))["amount_refunded"] == 100


async def test_timed_out_refund_is_retried_once(
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
    provider.loses_answers = True
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    assert await is_enrolled(services, order)
    again = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert problem(again) == (409, "refund_pending")
    provider.loses_answers = False
    await rows(
        services,
        "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'payments.send_refund'"
        " AND status = 'todo' RETURNING id",
    )
    await run_jobs(services)
    assert provider.refund_calls == 2
    assert len([each for each in provider.refunds.values() if each.payment_id == payment_of(order)]) == 1
    state = await state_of(services, order)
    assert (state["status"], state["refunds"], state["enrolled"]) == ("refunded", [(PRICE, "succeeded")], False)


async def test_refused_refund_leaves_the_order_paid(
    services: Container, ada: Learner, admin: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
    provider.failure = errors.PaymentRefused()
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert problem(answer) == (502, "payment_refused")
    assert (await state_of(services, order))["refunds"] == [(PRICE, "failed")]
    provider.failure = None
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).json()["status"] == "succeeded"


async def test_impossible_refund_is_refused(services: Container, ada: Learner, admin: Learner) -> None:
    pending = await read_order(services, await buy(ada, await add_course(services)))
    refused = await admin.http.post(f"/admin/orders/{pending.id}/refund", json={})
    assert problem(refused) == (409, "order_not_refundable")
    order = await buy_and_pay(services, ada)
    await deliver(services, disputed(order))
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "order_not_refundable")
    await deliver(services, disputed(order, status="won", kind="charge.dispute.closed"))
    assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json={})).status_code == 201
    assert problem(await admin.http.post(f"/admin/orders/{MISSING_ID}/refund", json={})) == (404, "not_found")
    for body in ({"amount": 0}, {"amount": -5}, {"amount": 1.5}, {"amount": 2**31}, {"all": True}):
        assert (await admin.http.post(f"/admin/orders/{order.id}/refund", json=body)).status_code == 400


async def test_refund_uses_the_provider_of_the_order(
    settings: Settings, services: Container, ada: Learner, provider: FakeProvider
) -> None:
    order = await buy_and_pay(services, ada)
    switched = Container(
        services.settings.model_copy(update={"payment_provider": "razorpay"}), payment_providers=services._providers
    )
    try:
        refund = await switched.refunds.create(None, str(order.id), 100, None)
        assert refund.provider == "stripe" and provider.refund_calls == 1
        other = await switched.checkout.start(ada.id, await add_course(services))
        assert other.provider == "razorpay"
    finally:
        await switched.redis.aclose()
        await switched.database.close()


async def test_operators_see_orders_and_alerts(
    services: Container, ada: Learner, admin: Learner, make_learner: MakeLearner
) -> None:
    order, other = (
        await buy_and_pay(services, ada),
        await read_order(services, await buy(await make_learner(ready=False), await add_course(services))),
    )
    await deliver(services, disputed(order), completed(other, amount_total=1))
    shown = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/orders", limit=100)}
    mine = shown[str(order.id)]
    assert (mine["userId"], mine["alerts"], mine["isDisputed"]) == (ada.id, ["disputed"], True)
    assert mine["providerPaymentId"] == payment_of(order)
    assert (shown[str(other.id)]["status"], shown[str(other.id)]["alerts"]) == ("pending", ["amount_differs"])
    pending = await read_all_pages(admin.http, "/admin/orders", limit=100, status="pending")
    assert str(other.id) in {each["id"] for each in pending} and {each["status"] for each in pending} == {"pending"}
    assert problem(await ada.http.get("/admin/orders")) == (403, "forbidden")


async def test_export_has_refunds_and_disputes(services: Container, ada: Learner, make_learner: MakeLearner) -> None:
    """Those of the learner's own orders, and no others."""
    order, other = await buy_and_pay(services, ada), await buy_and_pay(services, await make_learner(ready=False))
    await deliver(services, refunded(order, 100), disputed(order), refunded(other, 200), disputed(other))
    copy = (await ada.http.get("/users/me/export")).json()
    (refund,), (dispute,) = copy["refunds"], copy["disputes"]
    assert (refund["orderId"], refund["amount"], refund["status"]) == (str(order.id), 100, "succeeded")
    assert (dispute["orderId"], dispute["currency"]) == (str(order.id), order.currency)
    assert dispute["status"] == "open" and dispute["createdAt"].endswith("Z")


async def test_export_has_orders_and_deletion_keeps_them(services: Container, ada: Learner) -> None:
    order = await buy_and_pay(services, ada)
    copy = (await ada.http.get("/users/me/export")).json()
    assert [each["id"] for each in copy["orders"]] == [str(order.id)]
    assert [each["courseId"] for each in copy["enrollments"]] == [str(order.course_id)]
    gone = await ada.http.post("/users/me/deletion", json={"password": "correct horse battery"})
    assert gone.status_code == 204
    await deliver(services, refunded(order, PRICE))
    assert (await state_of(services, order))["status"] == "refunded"
