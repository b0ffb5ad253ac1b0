"""Device tokens: where Firebase Cloud Messaging finds a user's app."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.refresh_token import Platform


class DeviceToken(SQLModel, table=True):
    __tablename__ = "device_tokens"
    __table_args__ = (
        # Whose the app on a device is, is known to the last who registered it.
        sa.UniqueConstraint("fcm_token", name="device_tokens_token_key"),
        sa.UniqueConstraint("user_id", "device_id", name="device_tokens_device_key"),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    #: The sign-in that registered it, with which it goes.
    family_id: uuid.UUID = Field(index=True)
    #: Never logged: whoever has it and the project's key can wake the device.
    fcm_token: str = Field(sa_type=sa.Text)
    device_id: str = Field(max_length=128)
    platform: Platform = Field(sa_type=native_enum(Platform, "platform"))
    updated_at: datetime = instant(default=True, onupdate=True)
