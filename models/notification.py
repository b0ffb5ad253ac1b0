"""Notifications, in the app and by push."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class NotificationType(enum.StrEnum):
    MATCH_FOUND = "match_found"
    PAYMENT_SUCCESS = "payment_success"
    PAYMENT_FAILED = "payment_failed"
    SYSTEM = "system"
    ACHIEVEMENT = "achievement"
    ADMIN_ALERT = "admin_alert"


class Notification(SQLModel, table=True):
    __tablename__ = "notifications"
    __table_args__ = (
        sa.UniqueConstraint("user_id", "occasion", name="notifications_once_key"),
        sa.CheckConstraint("read = (read_at IS NOT NULL)", name="notifications_read_check"),
        sa.Index("notifications_newest_idx", "user_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("notifications_unread_idx", "user_id", postgresql_where=sa.text("NOT read")),
        # For pruning; achievements stay.
        sa.Index("notifications_read_idx", "read_at", postgresql_where=sa.text("read AND type <> 'achievement'")),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    type: NotificationType = Field(sa_type=native_enum(NotificationType, "notification_type"))
    title: str = Field(max_length=200)
    body: str = Field(sa_type=sa.Text)
    #: What the app opens, as strings by name: the data of a push.
    data: dict[str, str] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    #: Its cause, for which a user is notified once, such as `streak:7` or `order:{id}`; null: every time.
    occasion: str | None = Field(default=None, max_length=255)
    read: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    #: When FCM first accepted a push of it.
    sent_at: datetime | None = instant(nullable=True)
    read_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
