"""Requests of Stripe's and Razorpay's SDKs, and the handling of late, lost and refusing answers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

import adapters.payments.razorpay
import adapters.payments.stripe
import errors
from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.ports import DisputeFact, PaymentProvider, Purchase, RefundFact
from settings import Settings
from testing.payments import Webhook, razorpay_webhook, stripe_webhook, with_payment_accounts

#: Seconds that the providers of these tests have to answer.
TIMEOUT = 0.3
EXPIRES = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
PURCHASE = Purchase(
    str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4()), "Small talk that works", 49900, "inr", EXPIRES
)


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


@dataclass
class Script:
    """What the API says next, as (status, body); None breaks the connection, a number is seconds of silence."""

    answers: list[tuple[int, Any] | float | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def api() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.requests.append(Request(f"{self.command} {self.path}", headers, body))
            answer = script.answers.pop(0)
            if isinstance(answer, float):
                time.sleep(answer)
            if answer is None or isinstance(answer, float):
                self.connection.close()
                return
            text = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield script
        server.shutdown()


@pytest.fixture
async def stripe(settings: Settings, api: Script) -> AsyncIterator[StripeProvider]:
    provider = StripeProvider(with_payment_accounts(settings, stripe_api_url=api.url))
    yield provider
    await provider.close()


@pytest.fixture
def razorpay(settings: Settings, api: Script) -> RazorpayProvider:
    return RazorpayProvider(with_payment_accounts(settings, razorpay_api_url=api.url))


SESSION = {"id": "cs_1", "object": "checkout.session", "url": "https://pay/1", "expires_at": int(EXPIRES.timestamp())}
LINK = {
    "id": "plink_1",
    "short_url": "https://rzp/1",
    "expire_by": int(EXPIRES.timestamp()),
    "reference_id": PURCHASE.order_id,
}
OUR_REFUND = str(uuid.uuid4())
STRIPE_REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 100,
    "currency": "inr",
    "payment_intent": "pi_1",
    "metadata": {"internalRefundId": OUR_REFUND},
    "status": "pending",
}
RAZORPAY_REFUND = {
    "id": "rfnd_1",
    "amount": 100,
    "currency": "INR",
    "payment_id": "pay_1",
    "notes": {"internalRefundId": OUR_REFUND},
    "status": "processed",
}
BAD_REQUEST = (400, {"error": {"code": "BAD_REQUEST_ERROR", "description": "no"}})
STRIPE_REFUSAL = (400, {"error": {"type": "invalid_request_error", "code": "charge_already_refunded", "message": "no"}})


async def test_stripe_checkout_is_retried_with_the_same_request(stripe: StripeProvider, api: Script) -> None:
    api.answers = [None, (200, SESSION)]
    checkout = await stripe.create_checkout(PURCHASE)
    assert (checkout.session_id, checkout.url, checkout.expires_at) == ("cs_1", "https://pay/1", EXPIRES)
    first, second = api.requests
    assert first.form == second.form
    assert {each.headers["idempotency-key"] for each in api.requests} == {f"checkout-{PURCHASE.order_id}"}
    form = first.form
    assert first.line == "POST /v1/checkout/sessions"
    assert form["mode"] == "payment" and form["expires_at"] == str(int(EXPIRES.timestamp()))
    assert form["line_items[0][price_data][unit_amount]"] == "49900"
    assert form["line_items[0][price_data][currency]"] == "inr"
    assert form["metadata[internalOrderId]"] == form["client_reference_id"] == PURCHASE.order_id
    assert form["success_url"].endswith("/payment/success?session_id={CHECKOUT_SESSION_ID}")


def test_providers_have_five_seconds() -> None:
    assert adapters.payments.stripe.TIMEOUT_SECONDS == adapters.payments.razorpay.TIMEOUT_SECONDS == 5


async def test_stripe_timeout_ends_two_requests(settings: Settings, api: Script) -> None:
    stripe = StripeProvider(with_payment_accounts(settings, stripe_api_url=api.url), timeout=TIMEOUT)
    api.answers = [30.0, 30.0]
    began = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await stripe.refund(OUR_REFUND, "pi_1", 100)
    await stripe.close()
    assert 2 * TIMEOUT <= time.monotonic() - began < 10 and len(api.requests) == 2
    assert {each.headers["idempotency-key"] for each in api.requests} == {f"refund-{OUR_REFUND}"}


async def test_razorpay_timeout_ends_two_requests(
    settings: Settings, api: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    razorpay = RazorpayProvider(with_payment_accounts(settings, razorpay_api_url=api.url), timeout=TIMEOUT)
    api.answers = [30.0, 30.0]
    began = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await razorpay.look_up("plink_1")
    assert 2 * TIMEOUT <= time.monotonic() - began < 10 and len(api.requests) == 2
    assert capsys.readouterr().out == "", "the SDK printed what went wrong"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_temporary_provider_errors_are_unavailable(
    status: int, stripe: StripeProvider, razorpay: RazorpayProvider, api: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers = [(status, {"error": {"type": "api_error", "code": "SERVER_ERROR"}})] * 4
    for provider in (stripe, razorpay):
        with pytest.raises(errors.Unavailable):
            await provider.refund(OUR_REFUND, "pi_1", 100)
    api.answers = [(status, b"<html>nginx</html>")] * 4
    for provider in (stripe, razorpay):
        with pytest.raises(errors.Unavailable):
            await provider.look_up("cs_1")
    assert capsys.readouterr().out == ""


async def test_refusal_does_not_show_the_provider_message(
    stripe: StripeProvider, razorpay: RazorpayProvider, api: Script
) -> None:
    api.answers = [STRIPE_REFUSAL]
    with pytest.raises(errors.PaymentRefused, match="Stripe refused the request: charge_already_refunded"):
        await stripe.refund(OUR_REFUND, "pi_1", 100)
    api.answers = [BAD_REQUEST, (200, {"items": []})]
    with pytest.raises(errors.PaymentRefused, match=r"^Razorpay refused the request$"):
        await razorpay.refund(OUR_REFUND, "pay_1", 100)


async def test_razorpay_link_names_the_order(razorpay: RazorpayProvider, api: Script) -> None:
    api.answers = [(200, LINK)]
    checkout = await razorpay.create_checkout(PURCHASE)
    assert (checkout.session_id, checkout.url, checkout.expires_at) == ("plink_1", "https://rzp/1", EXPIRES)
    (request,) = api.requests
    asked = json.loads(request.body)
    assert request.line == "POST /v1/payment_links" and request.headers["authorization"].startswith("Basic ")
    assert (asked["amount"], asked["currency"], asked["accept_partial"]) == (49900, "INR", False)
    assert asked["reference_id"] == PURCHASE.order_id and asked["expire_by"] == int(EXPIRES.timestamp())
    assert asked["notify"] == {"sms": False, "email": False} and asked["callback_method"] == "get"


async def test_razorpay_link_is_found_after_a_lost_answer(razorpay: RazorpayProvider, api: Script) -> None:
    api.answers = [None, BAD_REQUEST, (200, {"payment_links": [{**LINK, "reference_id": "another"}, LINK]})]
    assert (await razorpay.create_checkout(PURCHASE)).session_id == "plink_1"
    assert urlsplit(api.requests[2].line.split()[1]).query == f"reference_id={PURCHASE.order_id}"
    api.answers = [BAD_REQUEST, (200, {"payment_links": []})]
    with pytest.raises(errors.PaymentRefused):
        await razorpay.create_checkout(PURCHASE)


async def test_refund_carries_the_idempotency_key_of_its_row(
    stripe: StripeProvider, razorpay: RazorpayProvider, api: Script
) -> None:
    api.answers = [(200, STRIPE_REFUND), (200, RAZORPAY_REFUND)]
    assert await stripe.refund(OUR_REFUND, "pi_1", 100) == RefundFact("re_1", "pi_1", OUR_REFUND, 100, "inr", "pending")
    assert await razorpay.refund(OUR_REFUND, "pay_1", 100) == RefundFact(
        "rfnd_1", "pay_1", OUR_REFUND, 100, "inr", "succeeded"
    )
    by_stripe, by_razorpay = api.requests
    keys = {by_stripe.headers["idempotency-key"], by_razorpay.headers["x-refund-idempotency"]}
    assert keys == {f"refund-{OUR_REFUND}"}
    assert by_razorpay.line == "POST /v1/payments/pay_1/refund" and json.loads(by_razorpay.body)["amount"] == 100


async def test_razorpay_refund_is_found_after_a_duplicate_refusal(razorpay: RazorpayProvider, api: Script) -> None:
    api.answers = [BAD_REQUEST, (200, {"items": [{**RAZORPAY_REFUND, "notes": []}, RAZORPAY_REFUND]})]
    assert (await razorpay.refund(OUR_REFUND, "pay_1", 100)).refund_id == "rfnd_1"


def read(provider: PaymentProvider, webhook: Webhook) -> Any:
    return provider.parse_webhook(webhook.body, {name.lower(): text for name, text in webhook.headers.items()}).fact


def test_dispute_statuses_are_mapped(stripe: StripeProvider, razorpay: RazorpayProvider) -> None:
    row = {"id": "du_1", "amount": 100, "currency": "inr", "payment_intent": "pi_1", "reason": "fraudulent"}
    for status, ours in (
        ("needs_response", "open"),
        ("warning_under_review", "open"),
        ("won", "won"),
        ("warning_closed", "won"),
        ("lost", "lost"),
    ):
        fact = read(stripe, stripe_webhook("charge.dispute.closed", {**row, "status": status}))
        assert isinstance(fact, DisputeFact) and fact.status == ours, status
    entity = {"id": "disp_1", "amount": 100, "currency": "INR", "payment_id": "pay_1", "reason_code": "fraud"}
    for status, deducted, ours in (
        ("open", 0, "open"),
        ("under_review", 0, "open"),
        ("won", 0, "won"),
        ("closed", 0, "won"),
        ("closed", 100, "lost"),
        ("lost", 100, "lost"),
    ):
        dispute = {**entity, "status": status, "amount_deducted": deducted}
        fact = read(razorpay, razorpay_webhook("payment.dispute.closed", {"dispute": dispute}))
        assert isinstance(fact, DisputeFact) and (fact.status, fact.currency) == (ours, "inr"), status


def test_events_without_an_order_yield_no_fact(stripe: StripeProvider, razorpay: RazorpayProvider) -> None:
    assert read(stripe, stripe_webhook("customer.created", {"id": "cus_1"})) is None
    assert read(stripe, stripe_webhook("refund.created", {**STRIPE_REFUND, "payment_intent": None})) is None
    assert read(razorpay, razorpay_webhook("payment.failed", {"payment": {"id": "pay_1", "status": "failed"}})) is None


def test_unsigned_event_id_does_not_identify_an_event(razorpay: RazorpayProvider) -> None:
    def event_id(webhook: Webhook) -> str:
        headers = {name.lower(): text for name, text in webhook.headers.items()}
        return razorpay.parse_webhook(webhook.body, headers).id

    one = razorpay_webhook("refund.processed", {"refund": RAZORPAY_REFUND}, event_id="same")
    other = razorpay_webhook("refund.failed", {"refund": {**RAZORPAY_REFUND, "status": "failed"}}, event_id="same")
    assert event_id(one) == event_id(one) != event_id(other)
