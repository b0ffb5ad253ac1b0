"""The inbox: what providers told us, kept before they are thanked. Facts about money, nothing about a person."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.order import ProviderName


class WebhookEvent(SQLModel, table=True):
    __tablename__ = "webhook_events"
    __table_args__ = (
        sa.UniqueConstraint("provider", "event_id", name="webhook_events_once_key"),
        sa.Index("webhook_events_waiting_idx", "received_at", postgresql_where=sa.text("handled_at IS NULL")),
        sa.Index("webhook_events_handled_idx", "handled_at", postgresql_where=sa.text("handled_at IS NOT NULL")),
    )

    id: uuid.UUID = primary_key()
    provider: ProviderName = Field(sa_type=native_enum(ProviderName, "payment_provider"))
    event_id: str = Field(max_length=255)
    #: The provider's own name for it, such as `checkout.session.completed`.
    type: str = Field(max_length=100)
    fact: dict[str, Any] = Field(sa_type=JSONB)
    received_at: datetime = instant(default=True)
    handled_at: datetime | None = instant(nullable=True)
