"""Payments by Razorpay: Payment Links, refunds, disputes, signed events; through its SDK, in threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import razorpay
import requests
from razorpay.errors import BadRequestError, SignatureVerificationError

import errors
import spans
from adapters.payments import reading
from adapters.payments.reading import Unreadable
from adapters.ports import Checkout, CheckoutFact, DisputeFact, Fact, ProviderEvent, Purchase, RefundFact
from digests import compute_digest
from settings import Settings

log = logging.getLogger("parlance.payments")

#: Timeout of a request in seconds.
TIMEOUT_SECONDS = 5
#: Attempts of a request without an answer.
_MAX_ATTEMPTS = 2

#: Statuses after which a retry may succeed: the same request still running, too many requests.
_TRANSIENT_STATUSES = (409, 429)

_LINKS = {"payment_link.paid", "payment_link.expired", "payment_link.cancelled"}
#: The money is held; with automatic capture, `payment_link.paid` follows at once.
_AUTHORIZED = "payment.authorized"
_REFUNDS = {"refund.created", "refund.processed", "refund.failed"}
_DISPUTES = {
    "payment.dispute.created",
    "payment.dispute.under_review",
    "payment.dispute.action_required",
    "payment.dispute.won",
    "payment.dispute.lost",
    "payment.dispute.closed",
}


class _Unavailable(Exception):
    """Razorpay did not answer, or not with JSON of its API."""


class _KeyRefused(_Unavailable):
    """Razorpay does not know the key; a request can be repeated once the key is corrected."""


#: What a call raises where another may succeed.
_UNAVAILABLE = (_Unavailable, razorpay.errors.GatewayError, razorpay.errors.ServerError)


class _Session(requests.Session):
    """HTTP session that raises network failures, which the SDK would print to standard output."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            answer = super().request(*args, **{**options, "timeout": self._timeout})
            answer.json()
        except requests.RequestException as error:
            raise _Unavailable(type(error).__name__) from None
        # The SDK distinguishes errors by the body's code alone, and for these Razorpay sends the code of a bad request.
        # If it counted as a refusal, a refund in progress would be recorded as failed, and could be made twice.
        if answer.status_code == 401:
            raise _KeyRefused("HTTP 401")
        if answer.status_code in _TRANSIENT_STATUSES:
            raise _Unavailable(f"HTTP {answer.status_code}")
        return answer


class RazorpayProvider:
    def __init__(self, settings: Settings, *, timeout: float = TIMEOUT_SECONDS) -> None:
        assert settings.razorpay_key_id is not None and settings.razorpay_key_secret is not None
        self._timeout = timeout
        self._auth = (settings.razorpay_key_id, settings.razorpay_key_secret.get_secret_value())
        self.live = settings.razorpay_key_id.startswith("rzp_live_")
        self._base_url = settings.razorpay_api_url
        self._webhook_secret = settings.razorpay_webhook_secret
        self._callback_url = settings.razorpay_callback_url

    async def create_checkout(self, purchase: Purchase) -> Checkout:
        request = {
            "amount": purchase.amount,
            "currency": purchase.currency.upper(),
            "accept_partial": False,
            "reference_id": purchase.order_id,
            "description": purchase.title,
            "expire_by": int(purchase.expires_at.timestamp()),
            "notes": {
                "internalOrderId": purchase.order_id,
                "userId": purchase.user_id,
                "courseId": purchase.course_id,
            },
            "notify": {"sms": False, "email": False},
            "reminder_enable": False,
            "callback_url": self._callback_url,
            "callback_method": "get",
        }

        def create(client: Any) -> Any:
            try:
                return client.payment_link.create(request)
            except BadRequestError:
                # A second link of one reference is refused: the answer to an earlier request was lost.
                found = client.payment_link.all({"reference_id": purchase.order_id})
                links = [each for each in found["payment_links"] if each["reference_id"] == purchase.order_id]
                if not links:
                    raise
                return links[0]

        link = await self._ask("create_checkout", create)
        return Checkout(link["id"], link["short_url"], datetime.fromtimestamp(link["expire_by"], UTC))

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        secret = self._webhook_secret.get_secret_value() if self._webhook_secret else ""
        try:
            if not secret:
                raise SignatureVerificationError("no webhook secret")
            razorpay.Utility().verify_webhook_signature(body.decode(), headers.get("x-razorpay-signature", ""), secret)
        except (SignatureVerificationError, UnicodeDecodeError, TypeError):  # TypeError: not ASCII
            raise errors.SignatureInvalid() from None
        # The id is in a header that is not signed: alone it could make one event appear as another.
        event_id = f"{reading.printable(headers.get('x-razorpay-event-id'), 128)}:{compute_digest(body)[:32]}"
        return replace(self.read_event(body), id=event_id)

    def read_event(self, body: bytes) -> ProviderEvent:
        kind = "unknown"
        try:
            event = reading.event(body, ("entity", "event", "payload"))
            kind = reading.event_type(event.get("event"))
            return ProviderEvent(reading.derive_event_id(body), kind, _read_fact(event))
        except Unreadable as why:
            return ProviderEvent(reading.derive_event_id(body), kind, None, str(why))

    async def refund(self, refund_id: str, payment_id: str, amount: int) -> RefundFact:
        request = {"amount": amount, "notes": {"internalRefundId": refund_id}, "receipt": refund_id}

        def create(client: Any) -> Any:
            try:
                return client.payment.refund(
                    payment_id,
                    request,
                    headers={"X-Refund-Idempotency": f"refund-{refund_id}"},
                )
            except BadRequestError:
                # Also answered for a payment that this refund has used up, once its idempotency key has expired.
                for each in self._list_refunds(client, payment_id):
                    if _get_notes(each).get("internalRefundId") == refund_id:
                        return each
                raise

        return _read_refund(await self._ask("refund", create))

    async def look_up(self, session_id: str) -> list[Fact]:
        def fetch(client: Any) -> list[Fact]:
            checkout = _read_checkout(client.payment_link.fetch(session_id), None)
            facts: list[Fact] = [checkout]
            if checkout.payment_id:
                facts += [_read_refund(each) for each in self._list_refunds(client, checkout.payment_id)]
                facts += [_read_dispute(each) for each in self._list_disputes(client, checkout.payment_id)]
            return facts

        facts: list[Fact] = await self._ask("look_up", fetch)
        return facts

    async def list_changes(self, since: datetime) -> list[RefundFact | DisputeFact]:
        def fetch(client: Any) -> list[RefundFact | DisputeFact]:
            made = {"from": int(since.timestamp())}
            facts: list[RefundFact | DisputeFact] = []
            for each in _read_pages(client.refund.all, made):
                facts += reading.readable(_read_refund, each)
            for each in _read_pages(client.dispute.all, made):
                facts += reading.readable(_read_dispute, each)
            return facts

        facts: list[RefundFact | DisputeFact] = await self._ask("list_changes", fetch)
        return facts

    async def accepts_key(self) -> bool:
        """Send a small request; return False if the key is refused, raise Unavailable without an answer."""
        try:
            await asyncio.to_thread(self._call, lambda client: client.refund.all({"count": 1}))
        except _KeyRefused:
            return False
        except (*_UNAVAILABLE, BadRequestError) as error:
            raise errors.Unavailable(f"Razorpay is unavailable ({type(error).__name__})") from None
        return True

    async def close(self) -> None:
        pass

    @staticmethod
    def _list_refunds(client: Any, payment_id: str) -> list[dict[str, Any]]:
        found = client.payment.fetch_multiple_refund(payment_id, {"count": 100})
        return list(found["items"])

    @staticmethod
    def _list_disputes(client: Any, payment_id: str) -> list[dict[str, Any]]:
        # Disputes cannot be queried by payment; there are few.
        return [each for each in _read_pages(client.dispute.all, {}) if each["payment_id"] == payment_id]

    async def _ask(self, operation: str, call: Callable[[Any], Any]) -> Any:
        """Call Razorpay in a thread; raise Unavailable or PaymentRefused."""
        try:
            with spans.vendor("razorpay", operation):
                return await asyncio.to_thread(self._call, call)
        except BadRequestError as error:
            log.error("provider_refused provider=razorpay error=%s", error)
            raise errors.PaymentRefused("Razorpay refused the request") from None
        except _UNAVAILABLE as error:
            log.warning("provider_unavailable provider=razorpay error=%s", error)
            raise errors.Unavailable("Razorpay is unavailable; try again shortly.") from None
        except Unreadable as why:
            log.error("provider_answer_unreadable provider=razorpay reason=%r", str(why))
            raise errors.Unavailable("Razorpay's answer cannot be read.") from None

    def _call(self, call: Callable[[Any], Any]) -> Any:
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            # Session and client are not thread-safe.
            with _Session(self._timeout) as session:
                client = razorpay.Client(session, self._auth, base_url=self._base_url)
                try:
                    return call(client)
                except _UNAVAILABLE:
                    if attempt == _MAX_ATTEMPTS:
                        raise
        raise AssertionError


def _read_pages(read: Callable[..., Any], query: dict[str, int]) -> list[dict[str, Any]]:
    """Read a whole collection, a hundred rows a page."""
    found: list[dict[str, Any]] = []
    while True:
        page = read({**query, "count": 100, "skip": len(found)})["items"]
        found += page
        if len(page) < 100:
            return found


def _get_notes(row: dict[str, Any]) -> dict[str, Any]:
    notes = row.get("notes")
    return notes if isinstance(notes, dict) else {}  # no notes are an empty list


def _read_fact(event: dict[str, Any]) -> Fact | None:
    kind = reading.word(event, "event")
    if kind not in _LINKS | _REFUNDS | _DISPUTES | {_AUTHORIZED}:
        # `payment.failed` is one of them: the link stays open, and the learner may try another card.
        return None
    payload = reading.row(event, "payload")

    def entity(name: str) -> dict[str, Any]:
        return reading.row(reading.row(payload, name), "entity")

    if kind in _LINKS:
        return _read_checkout(entity("payment_link"), None if payload.get("payment") is None else entity("payment"))
    if kind == _AUTHORIZED:
        return _read_authorized(entity("payment"))
    return _read_refund(entity("refund")) if kind in _REFUNDS else _read_dispute(entity("dispute"))


def _read_checkout(link: dict[str, Any], payment: dict[str, Any] | None) -> CheckoutFact:
    outcomes: dict[str, Literal["paid", "expired"]] = {"paid": "paid", "expired": "expired", "cancelled": "expired"}
    found = link.get("payments")
    attempts = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    captured = [each for each in attempts if each.get("status") == "captured"]
    payment_id = reading.identifier(payment, "id") if payment else None
    if payment_id is None and captured:
        payment_id = reading.identifier(captured[0], "payment_id")
    outcome: Literal["open", "processing", "paid", "expired"] = outcomes.get(reading.word(link, "status"), "open")
    if outcome == "open" and any(each.get("status") == "authorized" for each in attempts):
        outcome = "processing"
    return CheckoutFact(
        session_id=reading.identifier(link, "id"),
        order_id=reading.our_id(link, "reference_id"),
        payment_id=payment_id,
        outcome=outcome,
        amount=reading.amount(link, "amount_paid" if outcome == "paid" else "amount"),
        currency=reading.currency(link),
        once=True,
        live=None,
    )


def _read_authorized(payment: dict[str, Any]) -> CheckoutFact | None:
    """Read a payment that is authorized but not captured yet. It has the notes of its link, not its id."""
    order_id = reading.our_id(_get_notes(payment), "internalOrderId")
    if order_id is None:
        return None
    return CheckoutFact(
        session_id=None,
        order_id=order_id,
        payment_id=None,  # an order's payment is the one that is captured
        outcome="processing",
        amount=reading.amount(payment, "amount"),
        currency=reading.currency(payment),
        once=True,
        live=None,
    )


def _read_refund(refund: dict[str, Any]) -> RefundFact:
    statuses: dict[str, Literal["succeeded", "failed"]] = {"processed": "succeeded", "failed": "failed"}
    return RefundFact(
        refund_id=reading.identifier(refund, "id"),
        payment_id=reading.identifier(refund, "payment_id"),
        our_id=reading.our_id(_get_notes(refund), "internalRefundId"),
        amount=reading.amount(refund, "amount", least=1),
        currency=reading.currency(refund),
        status=statuses.get(reading.word(refund, "status"), "pending"),
    )


def _read_dispute(dispute: dict[str, Any]) -> DisputeFact:
    status: Literal["open", "won", "lost"] = "open"
    named = reading.word(dispute, "status")
    if named == "lost" or (named == "closed" and dispute.get("amount_deducted")):
        status = "lost"
    elif named in ("won", "closed"):
        status = "won"
    inquiry = dispute.get("phase") == "retrieval"
    return DisputeFact(
        dispute_id=reading.identifier(dispute, "id"),
        payment_id=reading.identifier(dispute, "payment_id"),
        amount=reading.amount(dispute, "amount"),
        currency=reading.currency(dispute),
        status=status,
        reason=reading.reason(dispute, "reason_code"),
        inquiry=inquiry,
        refundable=inquiry,
    )
