"""Device tokens: addresses of users' apps at Firebase Cloud Messaging."""

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
        # A token belongs to the account that registered it last.
        sa.UniqueConstraint("fcm_token", name="device_tokens_token_key"),
        sa.UniqueConstraint("user_id", "device_id", name="device_tokens_device_key"),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    #: The refresh-token family of the login that registered it; it is deleted with that login.
    family_id: uuid.UUID = Field(index=True)
    #: Never logged: with it and the project's key anyone can push to the device.
    fcm_token: str = Field(sa_type=sa.Text)
    device_id: str = Field(max_length=128)
    platform: Platform = Field(sa_type=native_enum(Platform, "platform"))
    updated_at: datetime = instant(default=True, onupdate=True)
