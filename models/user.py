"""Accounts."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models import email_addresses
from models.columns import instant, native_enum, primary_key


class Role(enum.StrEnum):
    STUDENT = "student"
    ADMIN = "admin"
    MODERATOR = "moderator"

    @property
    def is_staff(self) -> bool:
        return self is not Role.STUDENT


class AgeBand(enum.StrEnum):
    """Ages of learners who may meet each other; the order is from young to old."""

    UNDER_13 = "under_13"
    FROM_13 = "13_15"
    FROM_16 = "16_17"
    ADULT = "18_plus"


class AgeSource(enum.StrEnum):
    """Where an age band comes from; the order is from the least trusted to the most."""

    DECLARED = "declared"
    APPLE = "apple"
    GOOGLE = "google"
    OPERATOR = "operator"


def _canonical_email(context: Any) -> str:
    return email_addresses.to_canonical(context.get_current_parameters()["email"])


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (
        sa.Index("users_email_key", "email_canonical", unique=True),
        sa.CheckConstraint(
            "is_banned = (banned_at IS NOT NULL) AND is_banned = (ban_reason IS NOT NULL)", name="users_ban_check"
        ),
        sa.CheckConstraint(
            "(age_band IS NULL) = (age_source IS NULL) AND (age_band IS NULL) = (age_declared_at IS NULL)",
            name="users_age_check",
        ),
        # The administrators' list, newest first: all, by each selective filter, and by the beginning of an address.
        sa.Index("users_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("users_by_verified_idx", "is_verified", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index(
            "users_banned_idx", sa.text("created_at DESC"), sa.text("id DESC"), postgresql_where=sa.text("is_banned")
        ),
        sa.Index(
            "users_flagged_idx",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("flagged_at IS NOT NULL"),
        ),
        sa.Index(
            "users_admins_idx",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("role = 'admin'"),
        ),
        sa.Index(
            "users_staff_idx",
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("role <> 'student'"),
        ),
        # Holds by a record, which are limited.
        sa.Index("users_held_by_idx", "pairing_held_until", postgresql_where=sa.text("pairing_held_by IS NOT NULL")),
        sa.Index("users_email_prefix_idx", sa.text("email_canonical text_pattern_ops")),
    )

    id: uuid.UUID = primary_key()
    #: As mail is sent to it.
    email: str = Field(max_length=254)
    #: By which accounts are found and unique; derived from `email` for a new row.
    email_canonical: str = Field(default=None, sa_type=sa.Text, sa_column_kwargs={"default": _canonical_email})
    #: Empty where the account has no password: it was opened with a code, or at an identity provider.
    password_hash: str = Field(max_length=60)
    role: Role = Field(
        default=Role.STUDENT, sa_type=native_enum(Role, "user_role"), sa_column_kwargs={"server_default": "student"}
    )
    is_verified: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    is_banned: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    ban_reason: str | None = Field(default=None, sa_type=sa.Text)
    banned_at: datetime | None = instant(nullable=True)
    #: Null for a ban from the command line.
    banned_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    #: End of the suspension in force or of the last one; null after it was lifted. PostgreSQL's clock decides.
    suspended_until: datetime | None = instant(nullable=True)
    #: When the pending reports of this user weighed enough for a flag; null again after their review.
    flagged_at: datetime | None = instant(nullable=True)
    #: Until when the user is not paired, because of an urgent report. A past time is that of the last hold, which
    #: delays the next; null after a review.
    pairing_held_until: datetime | None = instant(nullable=True)
    #: The reporter whose record alone holds the pairing, or did; null where evidence or the reason does.
    pairing_held_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    #: The birth date is not stored.
    age_band: AgeBand | None = Field(default=None, sa_type=native_enum(AgeBand, "age_band"))
    age_source: AgeSource | None = Field(default=None, sa_type=native_enum(AgeSource, "age_source"))
    age_declared_at: datetime | None = instant(nullable=True)
    #: The version of each document that the user accepts. A trigger derives it from `consents`; nothing else writes it.
    accepted_versions: dict[str, str] = Field(
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"}
    )
    #: A deleted account keeps its row, without identity, for the calls and orders that refer to it.
    deleted_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
