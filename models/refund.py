"""Refunds, issued here or in the provider's dashboard."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.order import ProviderName


class RefundStatus(enum.StrEnum):
    """In the order in which one may follow another: a bank may return a refund that succeeded."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Refund(SQLModel, table=True):
    __tablename__ = "refunds"
    __table_args__ = (
        # One that was issued here at a time for each order.
        sa.Index(
            "refunds_pending_key",
            "order_id",
            unique=True,
            postgresql_where=sa.text("status = 'pending' AND issued_here"),
        ),
        sa.UniqueConstraint("provider", "provider_refund_id", name="refunds_provider_key"),
        sa.CheckConstraint("amount > 0", name="refunds_amount_check"),
        sa.CheckConstraint("NOT issued_here OR order_id IS NOT NULL", name="refunds_order_check"),
        sa.CheckConstraint("issued_here OR provider_refund_id IS NOT NULL", name="refunds_origin_check"),
        sa.Index("refunds_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("refunds_by_payment_idx", "provider", "provider_payment_id"),
    )

    id: uuid.UUID = primary_key()
    #: Null while no order is known to have that payment: events come in any order.
    order_id: uuid.UUID | None = Field(default=None, foreign_key="orders.id", index=True)
    provider: ProviderName = Field(sa_type=native_enum(ProviderName, "payment_provider"))
    provider_payment_id: str = Field(max_length=255)
    #: Null until the provider has accepted it.
    provider_refund_id: str | None = Field(default=None, max_length=255)
    #: In the smallest unit of the currency.
    amount: int
    currency: str = Field(max_length=3)
    status: RefundStatus = Field(
        default=RefundStatus.PENDING,
        sa_type=native_enum(RefundStatus, "refund_status"),
        sa_column_kwargs={"server_default": "pending"},
    )
    issued_here: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    reason: str | None = Field(default=None, sa_type=sa.Text)
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
