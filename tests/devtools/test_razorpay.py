"""Razorpay's stand-in through Razorpay's SDK: a link end to end, refunds, disputes, errors, collections."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import razorpay
from razorpay.errors import BadRequestError, SignatureVerificationError

from devtools.stand_ins import StandIns
from devtools.stand_ins.receiver import Receiver
from testing.polling import eventually
from tests.devtools.conftest import make_razorpay_client

LINK: dict[str, Any] = {
    "amount": 149_900,
    "currency": "INR",
    "description": "Fluent & confident",
    "reference_id": "order-1",
    "notes": {"internalOrderId": "order-1"},
    "callback_url": "https://app.example/paid",
    "callback_method": "get",
}


async def test_link_is_paid_end_to_end(
    stand_ins: StandIns, razorpay_client: razorpay.Client, receiver: Receiver, browser: httpx.Client
) -> None:
    link = razorpay_client.payment_link.create(LINK)
    assert (link["status"], link["amount"], link["payments"]) == ("created", 149_900, None)
    assert "1,499.00 INR" in browser.get(link["short_url"]).text
    answer = browser.post(link["short_url"], data={"action": "pay"})
    assert answer.status_code == 303
    returned = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert returned["razorpay_payment_link_id"] == link["id"]
    signed = {name.removeprefix("razorpay_"): value for name, value in returned.items()}
    assert razorpay_client.utility.verify_payment_link_signature(
        signed | {name: returned[name] for name in ("razorpay_payment_id", "razorpay_signature")}
    )

    await eventually(lambda: len(receiver.received) == 4, within=5, what="four webhooks")
    for delivery in receiver.received:
        secret, signature = stand_ins.keys.razorpay_webhook_secret, delivery.headers["x-razorpay-signature"]
        assert razorpay_client.utility.verify_webhook_signature(delivery.body.decode(), signature, secret)
        with pytest.raises(SignatureVerificationError):
            razorpay_client.utility.verify_webhook_signature(delivery.body.decode() + " ", signature, secret)
    assert len({delivery.headers["x-razorpay-event-id"] for delivery in receiver.received}) == 4
    events = [json.loads(delivery.body) for delivery in receiver.received]
    assert [event["event"] for event in events] == [
        "payment.authorized",
        "payment.captured",
        "order.paid",
        "payment_link.paid",
    ]
    paid = events[-1]["payload"]
    assert paid["payment_link"]["entity"]["reference_id"] == "order-1"
    assert paid["payment"]["entity"]["id"] == returned["razorpay_payment_id"]

    fetched = razorpay_client.payment_link.fetch(link["id"])
    assert (fetched["status"], fetched["amount_paid"]) == ("paid", 149_900)
    assert razorpay_client.payment.fetch(returned["razorpay_payment_id"])["status"] == "captured"
    assert stand_ins.get_state(link["id"]).paid == 149_900


def test_other_ways_through_the_pay_page(
    stand_ins: StandIns, razorpay_client: razorpay.Client, browser: httpx.Client
) -> None:
    link = razorpay_client.payment_link.create(LINK)
    url = link["short_url"]
    assert "declined" in browser.post(url, data={"action": "decline"}).text
    assert "close this page" in browser.post(url, data={"action": "abandon"}).text
    browser.post(url, data={"action": "later"})
    assert stand_ins.get_state(link["id"]).status == "processing"
    stand_ins.razorpay.settle(link["id"], succeeded=False)
    assert stand_ins.get_state(link["id"]).status == "open"
    assert "has expired" in browser.post(url, data={"action": "expire"}, follow_redirects=True).text
    kinds = [each["type"] for each in stand_ins.webhooks.deliveries()]
    assert kinds == ["payment.failed", "payment.failed", "payment_link.expired"]


def test_reference_is_unique_while_its_link_is_open(stand_ins: StandIns, razorpay_client: razorpay.Client) -> None:
    link = razorpay_client.payment_link.create({**LINK, "expire_by": int(time.time()) + 900})
    with pytest.raises(BadRequestError, match="already exists"):
        razorpay_client.payment_link.create(LINK)
    found = razorpay_client.payment_link.all({"reference_id": "order-1"})
    assert [each["id"] for each in found["payment_links"]] == [link["id"]]
    stand_ins.advance(901)
    assert razorpay_client.payment_link.fetch(link["id"])["status"] == "expired"

    other = razorpay_client.payment_link.create(LINK)
    assert razorpay_client.payment_link.cancel(other["id"])["status"] == "cancelled"
    with pytest.raises(BadRequestError, match="already cancelled"):
        razorpay_client.payment_link.cancel(other["id"])


def test_refunds(stand_ins: StandIns, razorpay_client: razorpay.Client) -> None:
    link = razorpay_client.payment_link.create(LINK)
    stand_ins.razorpay.pay(link["id"])
    payment = stand_ins.get_state(link["id"]).payment
    key = {"X-Refund-Idempotency": "refund-order-1"}
    first = razorpay_client.payment.refund(payment, {"amount": 50_000}, headers=dict(key))
    again = razorpay_client.payment.refund(payment, {"amount": 50_000}, headers=dict(key))
    assert again["id"] == first["id"] and first["status"] == "processed"
    with pytest.raises(BadRequestError, match="same idempotency key"):
        razorpay_client.payment.refund(payment, {"amount": 50_001}, headers=dict(key))
    with pytest.raises(BadRequestError, match="greater than"):
        razorpay_client.payment.refund(payment, {"amount": 99_901})
    assert razorpay_client.payment.fetch(payment)["refund_status"] == "partial"
    assert razorpay_client.refund.fetch(first["id"])["notes"] == []

    stand_ins.pace.refund = None
    waiting = razorpay_client.payment.refund(payment, {"amount": 99_900})
    assert waiting["status"] == "pending"
    stand_ins.razorpay.settle_refund(waiting["id"], succeeded=False)
    assert razorpay_client.refund.fetch(waiting["id"])["status"] == "failed"
    assert stand_ins.get_state(link["id"]).refunded == 50_000
    stand_ins.pace.refund = 0
    razorpay_client.payment.refund(payment, {})
    assert razorpay_client.payment.fetch(payment)["status"] == "refunded"
    with pytest.raises(BadRequestError, match="fully refunded already"):
        razorpay_client.payment.refund(payment, {})
    assert razorpay_client.payment.fetch_multiple_refund(payment)["count"] == 3


def test_disputes(stand_ins: StandIns, razorpay_client: razorpay.Client) -> None:
    link = razorpay_client.payment_link.create(LINK)
    stand_ins.razorpay.pay(link["id"])
    dispute = stand_ins.razorpay.dispute(link["id"])
    assert razorpay_client.dispute.fetch(dispute)["status"] == "open"
    stand_ins.razorpay.resolve_dispute(link["id"], won=True)
    accepted = razorpay_client.dispute.accept(stand_ins.razorpay.dispute(link["id"]))
    assert (accepted["status"], accepted["amount_deducted"]) == ("lost", 149_900)
    assert [each["status"] for each in razorpay_client.dispute.all()["items"]] == ["lost", "won"]
    kinds = [each["type"] for each in stand_ins.webhooks.deliveries()]
    assert kinds[4:] == [
        "payment.dispute.created",
        "payment.dispute.won",
        "payment.dispute.closed",
        "payment.dispute.created",
        "payment.dispute.lost",
        "payment.dispute.closed",
    ]


def test_invalid_requests_are_refused(stand_ins: StandIns, razorpay_client: razorpay.Client) -> None:
    with pytest.raises(BadRequestError, match="Authentication failed"):
        make_razorpay_client(stand_ins, secret="wrong").payment_link.create(LINK)
    with pytest.raises(BadRequestError, match="does not exist"):
        razorpay_client.payment_link.fetch("plink_none")
    for changes, said in (
        ({"amount": 99}, "atleast INR 1.00"),
        ({"amount": "a lot"}, "must be an integer"),
        ({"reference_id": "x" * 41}, "40 characters"),
        ({"expire_by": int(time.time()) + 60}, "15 minutes"),
        ({"notes": {str(number): "" for number in range(16)}}, "15 items"),
        ({"callback_method": "post"}, "callback_method"),
    ):
        with pytest.raises(BadRequestError, match=said):
            razorpay_client.payment_link.create({**LINK, **changes})
    assert stand_ins.ledger() == []


def test_collections_have_pages(stand_ins: StandIns, razorpay_client: razorpay.Client) -> None:
    for number in range(3):
        link = razorpay_client.payment_link.create({**LINK, "reference_id": f"order-{number}"})
        stand_ins.razorpay.pay(link["id"])
    first = razorpay_client.payment.all({"count": 2})
    assert (first["entity"], first["count"], len(first["items"])) == ("collection", 2, 2)
    assert razorpay_client.payment.all({"count": 2, "skip": 2})["count"] == 1
