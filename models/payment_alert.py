"""Payment alerts: orders that an administrator must review, and why."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class AlertKind(enum.StrEnum):
    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    MODE_DIFFERS = "mode_differs"
    SESSION_DIFFERS = "session_differs"
    PAID_TWICE = "paid_twice"
    INQUIRY = "inquiry"
    DISPUTED = "disputed"
    REFUND_FAILED = "refund_failed"
    ACCOUNT_DELETED = "account_deleted"


class PaymentAlert(SQLModel, table=True):
    __tablename__ = "payment_alerts"
    __table_args__ = (sa.UniqueConstraint("order_id", "kind", "reference", name="payment_alerts_once_key"),)

    id: uuid.UUID = primary_key()
    order_id: uuid.UUID = Field(foreign_key="orders.id")
    kind: AlertKind = Field(sa_type=native_enum(AlertKind, "alert_kind"))
    #: Id of the provider's object that it is about: a session, a payment, a refund, a dispute.
    reference: str = Field(max_length=255)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"})
    created_at: datetime = instant(default=True)
