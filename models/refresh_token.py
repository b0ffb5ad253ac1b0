"""Refresh tokens: one family for each login; a rotated token is kept, so that its reuse is detected."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class Platform(enum.StrEnum):
    IOS = "ios"
    ANDROID = "android"
    WEB = "web"


class RefreshToken(SQLModel, table=True):
    __tablename__ = "refresh_tokens"
    __table_args__ = (
        # A family has one token that can still be used.
        sa.Index(
            "refresh_tokens_current_key",
            "family_id",
            unique=True,
            postgresql_where=sa.text("rotated_at IS NULL AND NOT revoked"),
        ),
        # A device has one login of an account.
        sa.Index(
            "refresh_tokens_device_key",
            "user_id",
            "device_id",
            unique=True,
            postgresql_where=sa.text("rotated_at IS NULL AND NOT revoked"),
        ),
        # For `LoginRevocations`: the families that were revoked lately.
        sa.Index("refresh_tokens_revoked_idx", "revoked_at", postgresql_where=sa.text("revoked")),
        sa.CheckConstraint("revoked = (revoked_at IS NOT NULL)", name="refresh_tokens_revoked_check"),
        sa.CheckConstraint("(rotated_at IS NULL) = (child_nonce IS NULL)", name="refresh_tokens_rotated_check"),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    #: The refresh-token family, one for each login; access tokens carry its id as `sid`.
    family_id: uuid.UUID = Field(index=True)
    #: Hex of the SHA-256 of the token, which is returned once and never stored.
    token_hash: str = Field(max_length=64, unique=True)
    device_id: str = Field(max_length=128)
    platform: Platform = Field(sa_type=native_enum(Platform, "platform"))
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    #: When it was exchanged for its child, and what, with the token itself, makes that child again.
    rotated_at: datetime | None = instant(nullable=True)
    child_nonce: str | None = Field(default=None, max_length=64)
    revoked: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    revoked_at: datetime | None = instant(nullable=True)
    #: When this login last proved the second factor of its account; a child has its parent's.
    factor_proven_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
