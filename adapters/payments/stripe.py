"""Payments by Stripe: Checkout Sessions, refunds, disputes, signed events; through its SDK, asynchronously."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import stripe

import errors
import spans
from adapters.payments import reading
from adapters.payments.reading import Unreadable
from adapters.ports import Checkout, CheckoutFact, DisputeFact, Fact, ProviderEvent, Purchase, RefundFact
from settings import Settings

log = logging.getLogger("parlance.payments")
# At `debug` the SDK logs all answers of Stripe, with data of customers.
logging.getLogger("stripe").setLevel(logging.WARNING)

#: Timeout of a request in seconds; repeated once, with the same idempotency key.
TIMEOUT_SECONDS = 5
#: Seconds by which an event may be older than now, and, for clocks that differ, younger.
MAX_EVENT_AGE_SECONDS, MAX_EVENT_LEAD_SECONDS = 300, 60

_CHECKOUTS = {
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
}
_REFUNDS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
_DISPUTES = {"charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"}

#: Inquiries of banks, which move no money.
_INQUIRIES = ("warning_needs_response", "warning_under_review", "warning_closed")

#: A payment that failed although its session is complete.
_PAYMENT_FAILED = ("requires_payment_method", "canceled")


class StripeProvider:
    def __init__(self, settings: Settings, *, timeout: float = TIMEOUT_SECONDS) -> None:
        assert settings.stripe_secret_key is not None
        key = settings.stripe_secret_key.get_secret_value()
        self.live = key.startswith(("sk_live_", "rk_live_"))
        self._http = stripe.HTTPXClient(timeout=timeout)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": settings.stripe_api_url},
            http_client=self._http,
            max_network_retries=1,
        )
        self._webhook_secret = settings.stripe_webhook_secret
        separator = "&" if "?" in settings.stripe_success_url else "?"
        self._success_url = f"{settings.stripe_success_url}{separator}session_id={{CHECKOUT_SESSION_ID}}"
        self._cancel_url = settings.stripe_cancel_url

    async def create_checkout(self, purchase: Purchase) -> Checkout:
        metadata = {
            "internalOrderId": purchase.order_id,
            "userId": purchase.user_id,
            "courseId": purchase.course_id,
        }
        request: Any = {
            "mode": "payment",
            "payment_method_types": ["card"],
            "line_items": [
                {
                    "price_data": {
                        "currency": purchase.currency,
                        "product_data": {"name": purchase.title},
                        "unit_amount": purchase.amount,
                    },
                    "quantity": 1,
                }
            ],
            "success_url": self._success_url,
            "cancel_url": self._cancel_url,
            "client_reference_id": purchase.order_id,
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            "expires_at": int(purchase.expires_at.timestamp()),
        }
        async with _calling("create_checkout"):
            session = await self._client.v1.checkout.sessions.create_async(
                request, {"idempotency_key": f"checkout-{purchase.order_id}"}
            )
        if not session.url:
            raise errors.Unavailable("Stripe made a checkout without a page")
        return Checkout(session.id, session.url, datetime.fromtimestamp(session.expires_at, UTC))

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        secret = self._webhook_secret.get_secret_value() if self._webhook_secret else None
        header = headers.get("stripe-signature")
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, MAX_EVENT_AGE_SECONDS)
            # The SDK accepts a signature dated next year; a stolen one would be valid until then.
            stamp = int(next(part[2:] for part in (header or "").split(",") if part.startswith("t=")))
        except (stripe.SignatureVerificationError, ValueError, TypeError):  # not UTF-8; not ASCII
            raise errors.SignatureInvalid() from None
        if stamp > time.time() + MAX_EVENT_LEAD_SECONDS:
            raise errors.SignatureInvalid()
        return self.read_event(body)

    def read_event(self, body: bytes) -> ProviderEvent:
        kind = "unknown"
        try:
            event = reading.event(body, ("id", "object", "type"))
            kind = reading.event_type(event.get("type"))
            return ProviderEvent(_read_event_id(event, body), kind, _read_fact(event))
        except Unreadable as why:
            return ProviderEvent(reading.derive_event_id(body), kind, None, str(why))

    async def refund(self, refund_id: str, payment_id: str, amount: int) -> RefundFact:
        async with _calling("refund"):
            refund = await self._client.v1.refunds.create_async(
                {"payment_intent": payment_id, "amount": amount, "metadata": {"internalRefundId": refund_id}},
                {"idempotency_key": f"refund-{refund_id}"},
            )
        fact = _read_refund(refund.to_dict(), None)
        assert fact is not None
        return fact

    async def look_up(self, session_id: str) -> list[Fact]:
        async with _calling("look_up"):
            session = (
                await self._client.v1.checkout.sessions.retrieve_async(session_id, {"expand": ["payment_intent"]})
            ).to_dict()
            checkout = _read_checkout(session)
            facts: list[Fact] = [checkout]
            if checkout.payment_id:
                of_payment: Any = {"payment_intent": checkout.payment_id, "limit": 100}
                refunds = await self._client.v1.refunds.list_async(of_payment)
                facts += [fact for each in refunds.data if (fact := _read_refund(each.to_dict(), None)) is not None]
                disputes = await self._client.v1.disputes.list_async(of_payment)
                facts += [
                    dispute for each in disputes.data if (dispute := _read_dispute(each.to_dict(), None)) is not None
                ]
        return facts

    async def list_changes(self, since: datetime) -> list[RefundFact | DisputeFact]:
        made: Any = {"created": {"gte": int(since.timestamp())}, "limit": 100}
        facts: list[RefundFact | DisputeFact] = []
        async with _calling("list_changes"):
            async for refund in (await self._client.v1.refunds.list_async(made)).auto_paging_iter():
                facts += reading.readable(lambda row: _read_refund(row, None), refund.to_dict())
            async for dispute in (await self._client.v1.disputes.list_async(made)).auto_paging_iter():
                facts += reading.readable(lambda row: _read_dispute(row, None), dispute.to_dict())
        return facts

    async def accepts_key(self) -> bool:
        """Send a small request; return False if the key is refused, raise Unavailable without an answer."""
        try:
            await self._client.v1.refunds.list_async({"limit": 1})
        except (stripe.AuthenticationError, stripe.PermissionError):
            return False
        except stripe.StripeError as error:
            raise errors.Unavailable(f"Stripe is unavailable ({type(error).__name__})") from None
        return True

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _calling(operation: str) -> AsyncIterator[None]:
    """Record a call; raise its errors as those of errors.py, with the code alone: a message may name a customer."""
    try:
        with spans.vendor("stripe", operation):
            yield
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        log.error("provider_refused provider=stripe code=%s stripe_request_id=%s", error.code, error.request_id)
        raise errors.PaymentRefused(f"Stripe refused the request: {error.code or 'it is invalid'}") from None
    except stripe.StripeError as error:
        log.warning("provider_unavailable provider=stripe error=%s status=%s", type(error).__name__, error.http_status)
        raise errors.Unavailable("Stripe is unavailable; try again shortly.") from None
    except Unreadable as why:
        log.error("provider_answer_unreadable provider=stripe reason=%r", str(why))
        raise errors.Unavailable("Stripe's answer cannot be read.") from None


def _read_event_id(event: dict[str, Any], body: bytes) -> str:
    """Return the id of an event, or a digest instead of an id that is longer than its column."""
    found = event.get("id")
    if isinstance(found, str) and len(found) > 255:
        return reading.derive_event_id(body)
    return reading.identifier(event, "id")


def _read_fact(event: dict[str, Any]) -> Fact | None:
    if event.get("object") != "event":
        raise Unreadable("object is not event")  # a thin event, for example, which has no data
    kind = reading.word(event, "type")
    if kind not in _CHECKOUTS | _REFUNDS | _DISPUTES:
        return None
    row, live = reading.row(reading.row(event, "data"), "object"), reading.flag(event, "livemode")
    if kind in _CHECKOUTS:
        return _read_checkout(row, failed=kind == "checkout.session.async_payment_failed")
    return _read_refund(row, live) if kind in _REFUNDS else _read_dispute(row, live)


def _read_checkout(session: dict[str, Any], *, failed: bool = False) -> CheckoutFact:
    payment = session.get("payment_intent")
    payment_status = reading.word(session, "payment_status", ("paid", "unpaid", "no_payment_required"))
    status = reading.word(session, "status", ("open", "complete", "expired"))
    if isinstance(payment, dict):
        failed = failed or (status == "complete" and payment.get("status") in _PAYMENT_FAILED)
    outcome: Literal["open", "processing", "paid", "failed", "expired"]
    if payment_status == "paid":
        outcome = "paid"
    elif failed:
        outcome = "failed"
    elif status == "expired":
        outcome = "expired"
    else:
        outcome = "processing" if status == "complete" else "open"
    if isinstance(payment, dict):
        payment_id: str | None = reading.identifier(payment, "id")
    else:
        payment_id = reading.optional_identifier(session, "payment_intent")
    return CheckoutFact(
        session_id=reading.identifier(session, "id"),
        order_id=reading.our_id(_get_metadata(session), "internalOrderId"),
        payment_id=payment_id,
        outcome=outcome,
        amount=reading.amount(session, "amount_total"),
        currency=reading.currency(session),
        once=reading.word(session, "mode") == "payment",
        live=reading.flag(session, "livemode"),
    )


def _read_refund(refund: dict[str, Any], live: bool | None) -> RefundFact | None:
    if refund.get("object") != "refund" or refund.get("payment_intent") is None:
        return None  # of a charge without a checkout
    status: Literal["pending", "succeeded", "failed"] = "pending"
    named = reading.word(refund, "status")
    if named == "succeeded":
        status = "succeeded"
    elif named in ("failed", "canceled"):
        status = "failed"
    return RefundFact(
        refund_id=reading.identifier(refund, "id"),
        payment_id=reading.identifier(refund, "payment_intent"),
        our_id=reading.our_id(_get_metadata(refund), "internalRefundId"),
        amount=reading.amount(refund, "amount", least=1),
        currency=reading.currency(refund),
        status=status,
        live=live,
    )


def _read_dispute(dispute: dict[str, Any], live: bool | None) -> DisputeFact | None:
    if dispute.get("payment_intent") is None:
        return None
    status: Literal["open", "won", "lost"] = "open"
    named = reading.word(dispute, "status")
    if named == "lost":
        status = "lost"
    elif named in ("won", "warning_closed", "prevented"):
        status = "won"
    inquiry = named in _INQUIRIES
    return DisputeFact(
        dispute_id=reading.identifier(dispute, "id"),
        payment_id=reading.identifier(dispute, "payment_intent"),
        amount=reading.amount(dispute, "amount"),
        currency=reading.currency(dispute),
        status=status,
        reason=reading.reason(dispute, "reason"),
        live=live,
        inquiry=inquiry,
        refundable=dispute.get("is_charge_refundable", inquiry) is True,
    )


def _get_metadata(row: dict[str, Any]) -> dict[str, Any]:
    found = row.get("metadata")
    return found if isinstance(found, dict) else {}
