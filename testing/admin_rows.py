"""Rows that administrators look up: accounts and orders with given columns."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import SQLModel

from container import Container
from models import Course, EnglishLevel, Order, OrderStatus, Profile, ProviderName, User
from testing.accounts import new_email

NOON = datetime(2026, 3, 14, 12, 0, 0, 123_456, tzinfo=UTC)


def minutes_ago(minutes: float) -> datetime:
    return NOON - timedelta(minutes=minutes)


async def add_rows(container: Container, *rows: SQLModel) -> None:
    """Write rows in their order."""
    async with container.database.transaction() as db:
        for row in rows:
            db.add(row)
            await db.flush()


async def add_account(container: Container, email: str, **columns: Any) -> str:
    """Make an account; columns that the profile has are the profile's. Answer its id."""
    theirs = Profile.model_fields.keys() - User.model_fields.keys()
    of_profile = {name: columns.pop(name) for name in list(columns) if name in theirs}
    user = User(email=email, password_hash="", **columns)
    await add_rows(container, user, Profile(user_id=user.id, **of_profile))
    return str(user.id)


async def add_learner(container: Container) -> str:
    """Make an account with a new address; return its id."""
    return await add_account(container, new_email())


async def add_order(container: Container, user_id: str, course_id: uuid.UUID, **columns: Any) -> str:
    """Make an order of 499.00 rupees, pending at Stripe in test mode; answer its id."""
    status = columns.get("status", OrderStatus.PENDING)
    if status in (OrderStatus.PAID, OrderStatus.REFUNDED):
        columns = {"paid_at": NOON, "provider_payment_id": f"pi_{uuid.uuid4().hex}", **columns}
    if status is OrderStatus.REFUNDED:
        columns.setdefault("amount_refunded", columns.get("amount", 49900))
    defaults = {
        "course_title": "Small talk",
        "amount": 49900,
        "currency": "inr",
        "provider": ProviderName.STRIPE,
        "live": False,
        "checkout_expires_at": NOON,
    }
    order = Order(user_id=uuid.UUID(user_id), course_id=course_id, **{**defaults, **columns})
    await add_rows(container, order)
    return str(order.id)


async def add_course(container: Container) -> uuid.UUID:
    course = Course(title="Small talk", slug=uuid.uuid4().hex, price=49900, level=EnglishLevel.BEGINNER)
    await add_rows(container, course)
    return course.id
