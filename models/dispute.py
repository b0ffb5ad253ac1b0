"""Disputes: chargebacks, and the inquiries of banks that come before them."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.order import ProviderName


class DisputeStatus(enum.StrEnum):
    """In the order in which one may follow another. `won` is any end without loss."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Dispute(SQLModel, table=True):
    __tablename__ = "disputes"
    __table_args__ = (
        sa.UniqueConstraint("provider", "provider_dispute_id", name="disputes_provider_key"),
        sa.Index("disputes_by_payment_idx", "provider", "provider_payment_id"),
        sa.Index("disputes_open_idx", "created_at", postgresql_where=sa.text("status = 'open'")),
    )

    id: uuid.UUID = primary_key()
    #: Null while no order is known to have that payment: events come in any order.
    order_id: uuid.UUID | None = Field(default=None, foreign_key="orders.id", index=True)
    provider: ProviderName = Field(sa_type=native_enum(ProviderName, "payment_provider"))
    provider_payment_id: str = Field(max_length=255)
    provider_dispute_id: str = Field(max_length=255)
    #: In the smallest unit of the currency.
    amount: int
    currency: str = Field(max_length=3)
    status: DisputeStatus = Field(sa_type=native_enum(DisputeStatus, "dispute_status"))
    #: Whether it was ever an inquiry (Stripe's `warning_*`, Razorpay's phase `retrieval`), which moves no money.
    inquired: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    #: Whether it was ever a chargeback. Both only become true, so that events may come in any order.
    charged_back: bool = Field(default=True, sa_column_kwargs={"server_default": sa.true()})
    #: Whether the provider still refunds the payment; once false, it never becomes true again.
    refundable: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    reason: str | None = Field(default=None, max_length=255)
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
