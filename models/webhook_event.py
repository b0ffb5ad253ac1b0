"""Inbox of payment webhooks, stored before they are acknowledged: facts about money, no personal data.

An event that could not be read, or failed too often, is set aside: it is not handled until an operator retries it.
"""

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
        sa.CheckConstraint("handled_at IS NULL OR set_aside_at IS NULL", name="webhook_events_handled_check"),
        sa.CheckConstraint("fact IS NOT NULL OR body IS NOT NULL", name="webhook_events_content_check"),
        sa.Index(
            "webhook_events_waiting_idx",
            "received_at",
            postgresql_where=sa.text("handled_at IS NULL AND set_aside_at IS NULL"),
        ),
        sa.Index("webhook_events_set_aside_idx", "set_aside_at", postgresql_where=sa.text("set_aside_at IS NOT NULL")),
        sa.Index("webhook_events_handled_idx", "handled_at", postgresql_where=sa.text("handled_at IS NOT NULL")),
    )

    id: uuid.UUID = primary_key()
    provider: ProviderName = Field(sa_type=native_enum(ProviderName, "payment_provider"))
    event_id: str = Field(max_length=255)
    #: The provider's own name for it, such as `checkout.session.completed`.
    type: str = Field(max_length=100)
    #: Null where the event could not be read.
    fact: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    #: The bytes of an event that could not be read; JSONB stores neither NUL nor lone surrogates.
    body: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    received_at: datetime = instant(default=True)
    handled_at: datetime | None = instant(nullable=True)
    #: How often handling it has failed, and the class of the last error.
    failures: int = Field(default=0, sa_column_kwargs={"server_default": sa.text("0")})
    last_error: str | None = Field(default=None, max_length=200)
    set_aside_at: datetime | None = instant(nullable=True)
