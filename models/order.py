"""Orders: the purchase of a course by a learner, and its state."""

from __future__ import annotations

import enum
import secrets
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key

#: Without letters and digits that look alike.
_RECEIPT_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class ProviderName(enum.StrEnum):
    STRIPE = "stripe"
    RAZORPAY = "razorpay"


class OrderStatus(enum.StrEnum):
    """In the order in which one may follow another; a payment may follow an expiry."""

    PENDING = "pending"
    #: Paid by a method whose money takes days; it may still fail.
    PROCESSING = "processing"
    EXPIRED = "expired"
    FAILED = "failed"
    PAID = "paid"
    REFUNDED = "refunded"


#: Such an order may become paid, so no other order of the course is opened.
OPEN_STATUSES = (OrderStatus.PENDING, OrderStatus.PROCESSING)


def new_receipt() -> str:
    """Make a receipt number that is easy to read aloud."""
    return "PL-" + "".join(secrets.choice(_RECEIPT_ALPHABET) for _ in range(12))


class Order(SQLModel, table=True):
    __tablename__ = "orders"
    __table_args__ = (
        # One open order for each learner and course, even after Redis has lost the key: pending or processing, compared
        # by their place in the enum because the migration that adds a value cannot name it.
        sa.Index(
            "orders_open_key",
            "user_id",
            "course_id",
            unique=True,
            postgresql_where=sa.text("status < 'expired'"),
        ),
        sa.UniqueConstraint("provider", "provider_session_id", name="orders_session_key"),
        sa.UniqueConstraint("provider", "provider_payment_id", name="orders_payment_key"),
        sa.CheckConstraint("amount > 0", name="orders_amount_check"),
        sa.CheckConstraint("amount_refunded BETWEEN 0 AND amount", name="orders_amount_refunded_check"),
        sa.CheckConstraint(
            "(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)"
            " AND (paid_at IS NULL) = (provider_payment_id IS NULL)",
            name="orders_paid_check",
        ),
        sa.CheckConstraint("(status = 'refunded') = (amount_refunded = amount)", name="orders_refunded_check"),
        sa.CheckConstraint("paid_at IS NOT NULL OR amount_refunded = 0", name="orders_refund_of_payment_check"),
        sa.Index("orders_mine_idx", "user_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("orders_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("orders_by_status_idx", "status", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("orders_by_provider_idx", "provider", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index(
            "orders_disputed_idx", sa.text("created_at DESC"), sa.text("id DESC"), postgresql_where=sa.text("disputed")
        ),
        sa.Index(
            "orders_paid_idx",
            "paid_at",
            postgresql_include=["currency", "live", "amount"],
            postgresql_where=sa.text("paid_at IS NOT NULL"),
        ),
    )

    id: uuid.UUID = primary_key()
    receipt_id: str = Field(default_factory=new_receipt, max_length=40, unique=True)
    user_id: uuid.UUID = Field(foreign_key="users.id")
    course_id: uuid.UUID = Field(foreign_key="courses.id", index=True)
    #: The title at that time. Repeated requests to the provider send the same one, or they would be different requests.
    course_title: str = Field(max_length=200)
    #: In the smallest unit of the currency.
    amount: int
    amount_refunded: int = Field(default=0, sa_column_kwargs={"server_default": sa.text("0")})
    currency: str = Field(max_length=3)
    status: OrderStatus = Field(
        default=OrderStatus.PENDING,
        sa_type=native_enum(OrderStatus, "order_status"),
        sa_column_kwargs={"server_default": "pending"},
    )
    #: Whether a dispute is open or lost.
    disputed: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    #: Whether a bank inquires about the payment: no money has moved, and it can be refunded.
    inquiry: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    provider: ProviderName = Field(sa_type=native_enum(ProviderName, "payment_provider"))
    #: Whether it is for real money; false for orders made with test keys.
    live: bool
    #: The provider's checkout page: Stripe's Checkout Session, Razorpay's Payment Link.
    provider_session_id: str | None = Field(default=None, max_length=255)
    checkout_url: str | None = Field(default=None, sa_type=sa.Text)
    checkout_expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    #: When a process last requested the page; null where that failed.
    checkout_asked_at: datetime | None = instant(nullable=True)
    provider_payment_id: str | None = Field(default=None, max_length=255)
    paid_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
