"""Stripe's stand-in through Stripe's SDK: a payment end to end, refunds, disputes, repeated keys, errors, pages."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
import stripe

from devtools.stand_ins import StandIns
from devtools.stand_ins.receiver import Receiver
from testing.polling import eventually
from tests.devtools.conftest import make_stripe_client

#: Of no type: a TypedDict could not be spread.
ORDER: Any = {
    "mode": "payment",
    "payment_method_types": ["card"],
    "line_items": [
        {
            "price_data": {"currency": "inr", "unit_amount": 149_900, "product_data": {"name": "Fluent & confident"}},
            "quantity": 1,
        }
    ],
    "client_reference_id": "order-1",
    "metadata": {"internalOrderId": "order-1"},
    "payment_intent_data": {"metadata": {"internalOrderId": "order-1"}},
    "success_url": "https://app.example/paid?session_id={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://app.example/courses",
}


async def make_session(client: stripe.StripeClient, **changes: Any) -> stripe.checkout.Session:
    params: Any = {**ORDER, **changes}
    return await client.v1.checkout.sessions.create_async(params)


def read_events(receiver: Receiver, stand_ins: StandIns) -> list[stripe.Event]:
    """Every event so far, each verified by the SDK."""
    secret = stand_ins.keys.stripe_webhook_secret
    return [
        stripe.Webhook.construct_event(each.body, each.headers["stripe-signature"], secret)
        for each in receiver.received
    ]


async def test_session_is_paid_end_to_end(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, receiver: Receiver, browser: httpx.Client
) -> None:
    session = await make_session(stripe_client)
    assert session.status == "open" and session.payment_status == "unpaid" and session.payment_intent is None
    assert (session.amount_total, session.currency, session.livemode) == (149_900, "inr", False)
    assert session.url

    page = browser.get(session.url)
    assert "1,499.00 INR" in page.text and "Fluent &amp; confident" in page.text
    answer = browser.post(session.url, data={"action": "pay"})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"https://app.example/paid?session_id={session.id}",
    )

    await eventually(lambda: len(receiver.received) == 4, within=5, what="four webhooks")
    events = read_events(receiver, stand_ins)
    assert [event.type for event in events] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    completed = events[-1].data.object
    assert completed["id"] == session.id and completed["payment_status"] == "paid"
    assert completed["metadata"]["internalOrderId"] == "order-1"

    expand = ["payment_intent.latest_charge", "line_items"]
    paid = await stripe_client.v1.checkout.sessions.retrieve_async(session.id, {"expand": expand})
    assert isinstance(paid.payment_intent, stripe.PaymentIntent) and paid.line_items
    assert paid.payment_intent.status == "succeeded" and paid.payment_intent.metadata["internalOrderId"] == "order-1"
    assert isinstance(paid.payment_intent.latest_charge, stripe.Charge) and paid.payment_intent.latest_charge.paid
    assert paid.line_items.data[0].description == "Fluent & confident"

    standing = stand_ins.get_state(session.id)
    assert (standing.status, standing.paid, standing.reference) == ("paid", 149_900, "order-1")
    assert browser.post(session.url, data={"action": "pay"}).status_code == 409


async def test_other_ways_through_the_pay_page(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, browser: httpx.Client
) -> None:
    session = await make_session(stripe_client)
    assert session.url
    declined = browser.post(session.url, data={"action": "decline"})
    assert declined.status_code == 200 and "declined" in declined.text
    assert stand_ins.get_state(session.id).status == "open"
    assert browser.post(session.url, data={"action": "abandon"}).headers["location"] == ORDER["cancel_url"]
    assert browser.post(session.url, data={"action": "later"}).headers["location"].endswith(session.id)
    assert stand_ins.get_state(session.id).status == "processing"
    stand_ins.stripe.settle(session.id)
    assert stand_ins.get_state(session.id).status == "paid"

    left = await make_session(stripe_client)
    assert left.url
    assert "has expired" in browser.post(left.url, data={"action": "expire"}, follow_redirects=True).text
    assert (await stripe_client.v1.checkout.sessions.retrieve_async(left.id)).status == "expired"

    types = [event.type for event in (await stripe_client.v1.events.list_async({"limit": 100})).data]
    assert types[::-1] == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.pending",
        "payment_intent.processing",
        "checkout.session.completed",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.async_payment_succeeded",
        "checkout.session.expired",
    ]


async def test_delayed_payment_that_fails(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    stand_ins.pace.delayed_payment = None
    session = await make_session(stripe_client)
    stand_ins.stripe.pay_later(session.id)
    stand_ins.stripe.settle(session.id, succeeded=False)
    found = await stripe_client.v1.checkout.sessions.retrieve_async(session.id)
    assert (found.status, found.payment_status) == ("complete", "unpaid")
    assert stand_ins.get_state(session.id).status == "failed"


async def test_sessions_expire_by_the_clock_and_by_the_api(
    stand_ins: StandIns, stripe_client: stripe.StripeClient
) -> None:
    session = await make_session(stripe_client, expires_at=int(time.time()) + 1800)
    stand_ins.advance(1801)
    assert (await stripe_client.v1.checkout.sessions.retrieve_async(session.id)).status == "expired"

    other = await make_session(stripe_client)
    assert (await stripe_client.v1.checkout.sessions.expire_async(other.id)).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="status of `expired`"):
        await stripe_client.v1.checkout.sessions.expire_async(other.id)


async def test_refunds_are_partial_full_and_never_more(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    intent = stand_ins.get_state(session.id).payment
    assert intent
    refunds = stripe_client.v1.refunds
    first = await refunds.create_async({"payment_intent": intent, "amount": 50_000})
    assert (first.status, first.amount) == ("succeeded", 50_000)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount") as refused:
        await refunds.create_async({"payment_intent": intent, "amount": 99_901})
    assert refused.value.param == "amount" and refused.value.http_status == 400
    assert (await refunds.create_async({"payment_intent": intent})).amount == 99_900
    with pytest.raises(stripe.InvalidRequestError) as again:
        await refunds.create_async({"payment_intent": intent})
    assert again.value.code == "charge_already_refunded"

    listed = await refunds.list_async({"payment_intent": intent})
    assert [refund.amount for refund in listed.data] == [99_900, 50_000]
    charge = (await stripe_client.v1.charges.list_async({"payment_intent": intent})).data[0]
    assert charge.refunded and charge.amount_refunded == 149_900
    assert stand_ins.get_state(session.id).refunded == 149_900


async def test_pending_refund_succeeds_or_fails(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    stand_ins.pace.refund = None
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    intent = stand_ins.get_state(session.id).payment
    assert intent
    refund = await stripe_client.v1.refunds.create_async({"payment_intent": intent, "amount": 100})
    assert refund.status == "pending" and stand_ins.get_state(session.id).refunds_pending == 100
    stand_ins.stripe.settle_refund(refund.id)
    assert (await stripe_client.v1.refunds.retrieve_async(refund.id)).status == "succeeded"

    other = await stripe_client.v1.refunds.create_async({"payment_intent": intent, "amount": 149_800})
    stand_ins.stripe.settle_refund(other.id, succeeded=False)
    failed = await stripe_client.v1.refunds.retrieve_async(other.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert stand_ins.get_state(session.id).refunded == 100
    assert [each["type"] for each in stand_ins.webhooks.deliveries()][-3:] == [
        "refund.updated",
        "charge.refund.updated",
        "refund.failed",
    ]


async def test_disputes(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    dispute_id = stand_ins.stripe.dispute(session.id)
    intent = stand_ins.get_state(session.id).payment
    assert intent and stand_ins.get_state(session.id).dispute == "open"
    refund: Any = {"payment_intent": intent}
    with pytest.raises(stripe.InvalidRequestError) as disputed:
        await stripe_client.v1.refunds.create_async(refund, {"idempotency_key": "refund-1"})
    assert disputed.value.code == "charge_disputed"
    stand_ins.stripe.resolve_dispute(session.id, won=True)
    # A refusal that came of executing the call is kept for its key like any answer.
    with pytest.raises(stripe.InvalidRequestError) as replayed:
        await stripe_client.v1.refunds.create_async(refund, {"idempotency_key": "refund-1"})
    assert replayed.value.code == "charge_disputed"
    assert (await stripe_client.v1.disputes.retrieve_async(dispute_id)).status == "won"
    await stripe_client.v1.refunds.create_async({"payment_intent": intent})

    other = await make_session(stripe_client)
    stand_ins.stripe.pay(other.id)
    lost = await stripe_client.v1.disputes.close_async(stand_ins.stripe.dispute(other.id))
    assert lost.status == "lost" and stand_ins.get_state(other.id).dispute == "lost"
    assert len((await stripe_client.v1.disputes.list_async()).data) == 2


async def test_repeated_key_replays_and_another_body_is_refused(
    stand_ins: StandIns, stripe_client: stripe.StripeClient
) -> None:
    sessions = stripe_client.v1.checkout.sessions
    first = await sessions.create_async(ORDER, {"idempotency_key": "order-1"})
    again = await sessions.create_async(ORDER, {"idempotency_key": "order-1"})
    assert again.id == first.id and len(stand_ins.ledger()) == 1
    assert again.last_response and again.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError) as reused:
        other: Any = {**ORDER, "client_reference_id": "order-2"}
        await sessions.create_async(other, {"idempotency_key": "order-1"})
    assert reused.value.http_status == 400

    # What validation refused was never executed: the key is free for the corrected call.
    with pytest.raises(stripe.InvalidRequestError):
        broken: Any = {**ORDER, "mode": "barter"}
        await sessions.create_async(broken, {"idempotency_key": "order-3"})
    await sessions.create_async(ORDER, {"idempotency_key": "order-3"})

    stand_ins.advance(24 * 3600 + 1)
    late = await sessions.create_async(ORDER, {"idempotency_key": "order-1"})
    assert late.id != first.id


async def test_errors_have_the_form_of_stripe(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.AuthenticationError) as wrong_key:
        await make_session(make_stripe_client(stand_ins, key="sk_test_wrong"))
    assert wrong_key.value.http_status == 401 and wrong_key.value.request_id
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await stripe_client.v1.checkout.sessions.retrieve_async("cs_test_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    for changes, code in (
        ({"line_items": []}, "parameter_missing"),
        ({"colour": "red"}, "parameter_unknown"),
        ({"success_url": "nowhere"}, "url_invalid"),
        ({"line_items": [{**ORDER["line_items"][0], "quantity": "two"}]}, "parameter_invalid_integer"),
        ({"expires_at": int(time.time()) + 60}, None),
        ({"metadata": {"key": "x" * 501}}, None),
    ):
        with pytest.raises(stripe.InvalidRequestError) as invalid:
            await make_session(stripe_client, **changes)
        assert (invalid.value.http_status, invalid.value.code) == (400, code), changes


async def test_lists_have_pages(stripe_client: stripe.StripeClient) -> None:
    made = [(await make_session(stripe_client)).id for _ in range(5)]
    first = await stripe_client.v1.checkout.sessions.list_async({"limit": 2})
    assert first.has_more and [session.id for session in first.data] == made[:2:-1]
    last = await stripe_client.v1.checkout.sessions.list_async({"limit": 2, "starting_after": made[1]})
    assert not last.has_more and [session.id for session in last.data] == made[:1]
    assert [session.id async for session in first.auto_paging_iter()] == made[::-1]
