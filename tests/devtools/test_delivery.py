"""Webhooks that are repeated, shuffled, late or lost, and API calls that break before or after their effect."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import razorpay
import stripe

from devtools.stand_ins import StandIns, running
from devtools.stand_ins.receiver import Receiver, run_receiver
from testing.polling import eventually
from tests.devtools.conftest import make_razorpay_client, make_stripe_client
from tests.devtools.test_razorpay import LINK
from tests.devtools.test_stripe import ORDER, make_session, read_events


async def test_webhook_is_retried_until_a_2xx(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    stand_ins.webhooks.configure(enabled=["checkout.session.*"], backoff=0.05)
    receiver.answers = [500, 302, 503]
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    await eventually(lambda: stand_ins.webhooks.deliveries(state="delivered"), within=5, what="delivered")
    assert stand_ins.webhooks.deliveries()[0]["answers"] == [500, 302, 503, 200]
    assert len({each.body for each in receiver.received}) == 1
    assert len({event.id for event in read_events(receiver, stand_ins)}) == 1


async def test_unavailable_receiver_gets_the_webhook_later(
    stand_ins: StandIns, stripe_client: stripe.StripeClient
) -> None:
    stand_ins.webhooks.configure(enabled=["checkout.session.*"], backoff=0.05)
    stand_ins.webhooks.url = "http://127.0.0.1:9/payments/webhook"
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    await eventually(lambda: stand_ins.webhooks.deliveries()[0]["answers"], within=5, what="an attempt")
    with run_receiver() as receiver:
        stand_ins.webhooks.url = receiver.url
        await eventually(lambda: receiver.received, within=5, what="a webhook")


async def test_duplicate_and_reordered_deliveries(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    stand_ins.webhooks.configure(enabled=["checkout.*", "refund.*"], hold=True, copies=2, reverse=True)
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    stand_ins.stripe.refund(session.id)
    assert receiver.received == []
    stand_ins.webhooks.configure(hold=False)
    await eventually(lambda: len(receiver.received) == 6, within=5, what="three events, twice each")
    events = read_events(receiver, stand_ins)
    assert [event.type for event in events[::2]] == ["refund.updated", "refund.created", "checkout.session.completed"]
    assert [event.id for event in events[::2]] == [event.id for event in events[1::2]]


async def test_lost_webhook_can_be_listed_and_sent_again(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    stand_ins.webhooks.configure(drop=["checkout.session.completed"])
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    await eventually(lambda: len(receiver.received) == 3, within=5, what="the others")
    lost = (await stripe_client.v1.events.list_async({"type": "checkout.session.completed"})).data[0]
    assert (await stripe_client.v1.events.retrieve_async(lost.id)).type == lost.type
    stand_ins.webhooks.resend(lost.id)
    await eventually(lambda: len(receiver.received) == 4, within=5, what="the lost one")
    assert read_events(receiver, stand_ins)[-1].id == lost.id


async def test_delayed_and_immediate_deliveries(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    stand_ins.webhooks.configure(delay=0.3, parallel=True)
    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    assert not receiver.received
    await eventually(lambda: len(receiver.received) == 4, within=5, what="all of them")


async def test_receiver_in_this_process(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["body"].decode())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    session = await make_session(stripe_client)
    stand_ins.stripe.pay(session.id)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        assert await stand_ins.webhooks.deliver(http, "http://parlance.test/payments/webhook") == 4
        assert await stand_ins.webhooks.deliver(http, "http://parlance.test/payments/webhook") == 0
    assert len(received) == 4


async def test_cut_answer_keeps_the_effect(stand_ins: StandIns) -> None:
    client = make_stripe_client(stand_ins, timeout=0.5)
    kinds: tuple[Literal["hang"], Literal["cut"]] = ("hang", "cut")
    for kind in kinds:
        stand_ins.faults.add(kind, "POST /v1/checkout/sessions")
        with pytest.raises(stripe.APIConnectionError):
            await client.v1.checkout.sessions.create_async(ORDER, {"idempotency_key": kind})
        made = stand_ins.ledger()[-1].id
        again = await client.v1.checkout.sessions.create_async(ORDER, {"idempotency_key": kind})
        assert again.id == made
    assert len(stand_ins.ledger()) == 2

    # The SDK's own retry, with the key that it makes by itself.
    stand_ins.faults.add("cut", "POST /v1/checkout/sessions")
    await make_session(make_stripe_client(stand_ins, retries=1))
    assert len(stand_ins.ledger()) == 3

    stand_ins.faults.add("cut", "POST /v1/payment_links")
    shop = make_razorpay_client(stand_ins)
    with pytest.raises(Exception, match=r"Connection|broken|Incomplete"):
        shop.payment_link.create(LINK)
    found = shop.payment_link.all({"reference_id": "order-1"})["payment_links"]
    assert [link["id"] for link in found] == [stand_ins.ledger()[-1].id]


async def test_refusals_have_no_effect(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, razorpay_client: razorpay.Client
) -> None:
    stand_ins.faults.add("refuse")
    with pytest.raises(stripe.APIError) as failed:
        await make_session(stripe_client)
    assert failed.value.http_status == 500
    stand_ins.faults.add("refuse", status=429, seconds=3)
    with pytest.raises(stripe.RateLimitError) as limited:
        await make_session(stripe_client)
    assert limited.value.headers and limited.value.headers["retry-after"] == "3"
    stand_ins.faults.add("refuse")
    with pytest.raises(razorpay.errors.ServerError):
        razorpay_client.payment_link.create(LINK)
    stand_ins.faults.add("refuse", status=429)
    with pytest.raises(razorpay.errors.BadRequestError, match="after sometime"):
        razorpay_client.payment_link.create(LINK)
    assert stand_ins.ledger() == []

    stand_ins.faults.add("lie", status=500)
    with pytest.raises(stripe.APIError):
        await make_session(stripe_client)
    assert len(stand_ins.ledger()) == 1
    stand_ins.faults.add("slow", seconds=0.3)
    began = time.monotonic()
    await make_session(stripe_client)
    assert time.monotonic() - began >= 0.3


async def test_delayed_payment_settles_by_itself(stand_ins: StandIns, stripe_client: stripe.StripeClient) -> None:
    stand_ins.pace.delayed_payment = 1
    session = await make_session(stripe_client)
    stand_ins.stripe.pay_later(session.id)
    link = make_razorpay_client(stand_ins).payment_link.create(LINK)
    stand_ins.razorpay.pay_later(link["id"])
    await eventually(
        lambda: {standing.status for standing in stand_ins.ledger()} == {"paid"}, within=5, what="both paid"
    )


async def test_payments_outlive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "payments.json"
    with running(path=state) as stand_ins:
        session = await make_session(make_stripe_client(stand_ins))
        stand_ins.stripe.pay(session.id)
    with running(path=state) as stand_ins, run_receiver() as receiver:
        assert stand_ins.get_state(session.id).status == "paid"
        stand_ins.webhooks.url = receiver.url
        stand_ins.webhooks.wake()
        await eventually(lambda: len(receiver.received) == 4, within=5, what="the webhooks still owed")
        assert read_events(receiver, stand_ins)


async def test_dashboard_and_the_control_api(
    stand_ins: StandIns, stripe_client: stripe.StripeClient, browser: httpx.Client
) -> None:
    session = await make_session(stripe_client)
    act = f"/control/checkouts/{session.id}"
    assert browser.post(f"{act}/refund").status_code == 409
    assert browser.post(f"{act}/pay").json()["status"] == "paid"
    assert browser.post(f"{act}/refund", json={"amount": 100}).json()["refunded"] == 100
    assert browser.post(f"{act}/alter", json={"amount_total": 1}).json()["amount"] == 1
    assert browser.get(f"/control/ledger/{session.id}").json()["payment"].startswith("pi_")
    assert browser.get("/control/ledger/none").status_code == 404
    assert browser.post("/control/webhooks", json={"hold": True, "copies": 2}).status_code == 204
    assert browser.post("/control/webhooks", json={"colour": "red"}).status_code == 400
    assert browser.post("/control/faults", json={"kind": "refuse", "times": 2}).status_code == 204
    assert browser.delete("/control/faults").status_code == 204
    assert browser.post("/control/pace", json={"refund": None}).status_code == 204
    assert browser.post("/control/advance", json={"seconds": 5}).status_code == 204

    dashboard = browser.get("/", follow_redirects=True)
    assert session.id in dashboard.text and "Fluent &amp; confident" in dashboard.text
    press = f"/dashboard/{session.id}"
    assert browser.post(press, data={"action": "refund"}, follow_redirects=True).status_code == 200
    assert stand_ins.get_state(session.id).refunds_pending == 149_800
    for action in ("settle-refunds", "dispute", "lose"):
        assert browser.post(press, data={"action": action}).status_code == 303
    standing = stand_ins.get_state(session.id)
    assert (standing.refunded, standing.dispute) == (149_900, "lost")
    assert browser.post(press, data={"action": "win"}).status_code == 409
