"""Courses, fake payment providers in place of the vendors' APIs, and signed webhooks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr

import errors
from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.ports import (
    Checkout,
    CheckoutFact,
    DisputeFact,
    Fact,
    PaymentProvider,
    ProviderEvent,
    Purchase,
    RefundFact,
)
from container import Container
from models import Course, EnglishLevel, Order
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database, rows, value

#: What a course costs where a test does not say, in the smallest unit of its currency.
PRICE = 49900
STRIPE_SECRET, RAZORPAY_SECRET = "whsec_of_the_tests", "razorpay-secret-of-the-tests"
ACCOUNTS: dict[str, Any] = {
    "stripe_secret_key": SecretStr("sk_test_of_the_tests"),
    "stripe_webhook_secret": SecretStr(STRIPE_SECRET),
    "razorpay_key_id": "rzp_test_of_the_tests",
    "razorpay_key_secret": SecretStr("key-secret-of-the-tests"),
    "razorpay_webhook_secret": SecretStr(RAZORPAY_SECRET),
}


def with_payment_accounts(settings: Settings, **more: Any) -> Settings:
    """Settings with accounts at both providers."""
    return settings.model_copy(update={**ACCOUNTS, **more})


@dataclass
class FakeProvider:
    """A provider whose API is this object; webhooks are read by the real one.

    With `loses_answers` it does what it is asked, and then fails as if the answer were lost.
    """

    reader: PaymentProvider
    name: str
    live: bool = False
    failure: errors.ProductError | None = None
    loses_answers: bool = False
    delay_seconds: float = 0
    purchases: list[Purchase] = field(default_factory=list)
    pages: dict[str, Checkout] = field(default_factory=dict)
    refunds: dict[str, RefundFact] = field(default_factory=dict)
    refund_calls: int = 0
    #: What is known of a session beside its being open.
    known: dict[str, list[Fact]] = field(default_factory=dict)

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay_seconds)
        if self.loses_answers:
            raise errors.Unavailable()

    def _fail(self) -> None:
        if self.failure:
            raise self.failure

    async def create_checkout(self, purchase: Purchase) -> Checkout:
        self.purchases.append(purchase)
        self._fail()
        session = f"cs_test_{uuid.uuid4().hex}"
        page = Checkout(session, f"https://pay.example/{session}", purchase.expires_at)
        kept = self.pages.setdefault(purchase.order_id, page)
        await self._answer()
        return kept

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        return self.reader.parse_webhook(body, headers)

    def read_event(self, body: bytes) -> ProviderEvent:
        return self.reader.read_event(body)

    async def refund(self, refund_id: str, payment_id: str, amount: int) -> RefundFact:
        self.refund_calls += 1
        self._fail()
        fact = RefundFact(f"re_{uuid.uuid4().hex}", payment_id, refund_id, amount, "inr", "succeeded")
        kept = self.refunds.setdefault(refund_id, fact)
        await self._answer()
        return kept

    async def look_up(self, session_id: str) -> list[Fact]:
        self._fail()
        if session_id in self.known:
            return self.known[session_id]
        purchase = next((each for each in self.purchases if self.pages[each.order_id].session_id == session_id), None)
        if purchase is None:  # of an earlier test
            raise errors.PaymentRefused()
        opened = CheckoutFact(
            session_id, purchase.order_id, None, "open", purchase.amount, purchase.currency, True, self.live
        )
        return [opened]

    async def list_changes(self, since: datetime) -> list[RefundFact | DisputeFact]:
        self._fail()
        return []

    async def close(self) -> None:
        await self.reader.close()


def fake_providers(settings: Settings) -> dict[str, FakeProvider]:
    """A fake of each provider."""
    return {
        "stripe": FakeProvider(StripeProvider(settings), "stripe"),
        "razorpay": FakeProvider(RazorpayProvider(settings), "razorpay"),
    }


@asynccontextmanager
async def selling_container(settings: Settings, **changes: Any) -> AsyncIterator[Container]:
    """A running container with a database of its own, whose jobs run when a test runs them, and fake providers."""
    with own_database(settings) as own:
        own = with_payment_accounts(own, **changes)
        async with running_container(own, payment_providers=fake_providers(own)) as services:
            yield services


async def add_course(container: Container, *, price: int = PRICE, published: bool = True, **more: Any) -> str:
    """Make a course; answer its id."""
    course = Course(
        title="Small talk that works",
        slug=f"course-{uuid.uuid4().hex}",
        price=price,
        currency=more.pop("currency", "inr"),
        level=EnglishLevel.BEGINNER,
        is_published=published,
        **more,
    )
    async with container.database.transaction() as session:
        session.add(course)
    return str(course.id)


# --- Webhooks, as the providers write them ------------------------------------------------------------


@dataclass(frozen=True)
class Webhook:
    body: bytes
    headers: dict[str, str]


def stripe_webhook(
    kind: str,
    row: dict[str, Any],
    *,
    event_id: str | None = None,
    stamp: float | None = None,
    secret: str = STRIPE_SECRET,
    live: bool = False,
) -> Webhook:
    """A signed event of Stripe's about one of its objects."""
    event = {
        "id": event_id or f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "data": {"object": row},
        "livemode": live,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    body = json.dumps(event, indent=2).encode()
    signed = int(stamp if stamp is not None else time.time())
    digest = hmac.new(secret.encode(), f"{signed}.".encode() + body, hashlib.sha256).hexdigest()
    return Webhook(body, {"Stripe-Signature": f"t={signed},v1={digest}", "Content-Type": "application/json"})


def stripe_session(order: Order, **changes: Any) -> dict[str, Any]:
    """A Checkout Session of an order, paid."""
    return {
        "id": order.provider_session_id,
        "object": "checkout.session",
        "amount_total": order.amount,
        "currency": order.currency,
        "customer_details": {"email": "ada@example.com", "name": "Ada Lovelace"},
        "livemode": False,
        "metadata": {"internalOrderId": str(order.id)},
        "mode": "payment",
        "payment_intent": payment_of(order),
        "payment_status": "paid",
        "status": "complete",
        **changes,
    }


def payment_of(order: Order) -> str:
    return f"pi_{order.id.hex}"


def completed(order: Order, **changes: Any) -> Webhook:
    return stripe_webhook("checkout.session.completed", stripe_session(order, **changes))


def expired(order: Order, **changes: Any) -> Webhook:
    row = stripe_session(order, payment_status="unpaid", status="expired", payment_intent=None, **changes)
    return stripe_webhook("checkout.session.expired", row)


def refunded(
    order: Order, amount: int, *, status: str = "succeeded", kind: str = "refund.created", refund: str = "re_1"
) -> Webhook:
    row = {
        "id": f"{refund}_{order.id.hex}",
        "object": "refund",
        "amount": amount,
        "charge": f"ch_{order.id.hex}",
        "currency": order.currency,
        "metadata": {},
        "payment_intent": payment_of(order),
        "reason": None,
        "status": status,
    }
    return stripe_webhook(kind, row)


def disputed(order: Order, *, status: str = "needs_response", kind: str = "charge.dispute.created") -> Webhook:
    row = {
        "id": f"du_{order.id.hex}",
        "object": "dispute",
        "amount": order.amount,
        "charge": f"ch_{order.id.hex}",
        "currency": order.currency,
        "livemode": False,
        "metadata": {},
        "payment_intent": payment_of(order),
        "is_charge_refundable": status.startswith("warning_"),
        "reason": "fraudulent",
        "status": status,
    }
    return stripe_webhook(kind, row)


def razorpay_webhook(
    kind: str, payload: dict[str, Any], *, event_id: str | None = None, secret: str = RAZORPAY_SECRET
) -> Webhook:
    """A signed event of Razorpay's about some of its entities."""
    event = {
        "entity": "event",
        "account_id": "acc_of_the_tests",
        "event": kind,
        "contains": list(payload),
        "payload": {name: {"entity": entity} for name, entity in payload.items()},
        "created_at": int(time.time()),
    }
    body = json.dumps(event).encode()
    headers = {
        "X-Razorpay-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        "X-Razorpay-Event-Id": event_id or uuid.uuid4().hex,
        "Content-Type": "application/json",
    }
    return Webhook(body, headers)


def razorpay_link(order: Order, **changes: Any) -> dict[str, Any]:
    """A Payment Link of an order, paid."""
    return {
        "id": order.provider_session_id,
        "amount": order.amount,
        "amount_paid": order.amount,
        "currency": order.currency.upper(),
        "reference_id": str(order.id),
        "notes": {"internalOrderId": str(order.id)},
        "status": "paid",
        **changes,
    }


async def deliver(container: Container, *webhooks: Webhook) -> None:
    """Have webhooks received, each acted upon before the next."""
    for webhook in webhooks:
        await container.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
        await handle_all(container)


async def handle_all(container: Container) -> None:
    """Act upon all that is in the inbox, at once."""
    query = "SELECT id FROM webhook_events WHERE handled_at IS NULL AND set_aside_at IS NULL ORDER BY received_at"
    waiting = await rows(container, query)
    await asyncio.gather(*(container.webhooks.handle(str(each.id)) for each in waiting))


async def state_of(container: Container, order: Order) -> dict[str, Any]:
    """All that is known of an order, without the times at which it became known."""
    (row,) = await rows(
        container,
        "SELECT status::text, amount_refunded, disputed, inquiry, paid_at IS NOT NULL AS paid"
        " FROM orders WHERE id = :o",
        o=order.id,
    )
    refunds = await rows(
        container, "SELECT amount, status::text FROM refunds WHERE order_id = :o ORDER BY 1, 2", o=order.id
    )
    disputes = await rows(container, "SELECT status::text FROM disputes WHERE order_id = :o", o=order.id)
    alerts = await rows(container, "SELECT kind::text FROM payment_alerts WHERE order_id = :o ORDER BY 1", o=order.id)
    return {
        **row._asdict(),
        "refunds": [tuple(each) for each in refunds],
        "disputes": [each.status for each in disputes],
        "alerts": [each.kind for each in alerts],
        "enrolled": await is_enrolled(container, order),
    }


async def is_enrolled(container: Container, order: Order) -> bool:
    found = "SELECT count(*) FROM enrollments WHERE user_id = :u AND course_id = :c"
    return bool(await value(container, found, u=order.user_id, c=order.course_id))


async def expire_checkout(container: Container, order: Order, when: datetime) -> None:
    """Make the page of an order close at another time."""
    async with container.database.transaction() as session:
        (await session.get_one(Order, order.id)).checkout_expires_at = when
