"""Demo orders in each final status, and their refunds."""

from __future__ import annotations

import random
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from devtools.demo_data.people import Person, make_id, sort_by_calls
from instants import utc_now
from models import (
    Course,
    Order,
    OrderStatus,
    ProviderName,
    Refund,
    RefundStatus,
    User,
)
from services.operations.audit import AuditService

#: Statuses of one order after the other.
_ORDER_STATUSES = (
    [OrderStatus.PAID, OrderStatus.EXPIRED, OrderStatus.REFUNDED, OrderStatus.PAID, OrderStatus.FAILED]
    + [OrderStatus.PAID] * 5
)  # fmt: skip


def make_orders(rng: random.Random, people: list[Person], courses: list[Course]) -> list[Order]:
    """Make orders in each final status."""
    priced = [course for course in courses if course.is_published and course.price]
    today = utc_now()
    orders: list[Order] = []
    for rank, person in enumerate(sort_by_calls(people)):
        if rank and rng.random() > 0.4:
            continue
        for course in rng.sample(priced, k=3 if rank == 0 else 1):
            at = max(person.user.created_at, course.created_at)
            at += (today - at) * rng.uniform(0.1, 0.9)
            order = Order(
                id=make_id(rng),
                user_id=person.user.id,
                course_id=course.id,
                course_title=course.title,
                amount=course.price,
                currency=course.currency,
                provider=rng.choice([ProviderName.STRIPE, ProviderName.STRIPE, ProviderName.RAZORPAY]),
                live=False,
                checkout_expires_at=at + timedelta(hours=2),
                created_at=at,
            )
            order.provider_session_id = f"demo_session_{order.id.hex}"
            # The most active person has three, all paid.
            order.status = _ORDER_STATUSES[(len(orders) - 3) % len(_ORDER_STATUSES)] if rank else OrderStatus.PAID
            if order.status in (OrderStatus.PAID, OrderStatus.REFUNDED):
                order.paid_at = at + timedelta(minutes=3)
                order.provider_payment_id = f"demo_payment_{order.id.hex}"
            if order.status is OrderStatus.REFUNDED:
                order.amount_refunded = order.amount
            orders.append(order)
    return orders


async def add_refunds(
    db: AsyncSession, rng: random.Random, orders: list[Order], audit: AuditService, admin: User
) -> None:
    """Add the refunds of refunded orders, with the entries of the audit log."""
    for order in orders:
        if order.status is OrderStatus.REFUNDED and order.provider_payment_id:
            refund = Refund(
                id=make_id(rng),
                order_id=order.id,
                provider=order.provider,
                provider_payment_id=order.provider_payment_id,
                provider_refund_id=f"demo_refund_{order.id.hex}",
                amount=order.amount,
                currency=order.currency,
                status=RefundStatus.SUCCEEDED,
                issued_here=True,
                reason="Asked within a week",
                created_at=(order.paid_at or order.created_at) + timedelta(days=1),
            )
            db.add(refund)
            entry = {"refund": str(refund.id), "amount": refund.amount, "currency": refund.currency}
            await audit.write(db, admin.id, "order.refund", order.id, **entry)
