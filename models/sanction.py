"""Sanctions of accounts: warnings, suspensions and bans, each with its statement of reasons."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class SanctionKind(enum.StrEnum):
    WARNING = "warning"
    SUSPENSION = "suspension"
    BAN = "ban"


class SanctionGround(enum.StrEnum):
    """What a sanction is for: the reasons of reports, and what administrators find themselves."""

    HARASSMENT = "harassment"
    SPAM = "spam"
    INAPPROPRIATE = "inappropriate"
    HATE_SPEECH = "hate_speech"
    MINOR_SAFETY = "minor_safety"
    THREAT = "threat"
    UNDERAGE = "underage"
    FRAUD = "fraud"
    OTHER = "other"


class Sanction(SQLModel, table=True):
    __tablename__ = "sanctions"
    __table_args__ = (
        sa.CheckConstraint("(kind = 'suspension') = (ends_at IS NOT NULL)", name="sanctions_end_check"),
        sa.CheckConstraint("ends_at > starts_at", name="sanctions_duration_check"),
        sa.CheckConstraint(
            "lifted_at IS NOT NULL OR (lifted_by IS NULL AND lift_reason IS NULL)", name="sanctions_lift_check"
        ),
        sa.CheckConstraint("acknowledged_at IS NULL OR kind = 'warning'", name="sanctions_acknowledged_check"),
        # An account has one ban in force.
        sa.Index(
            "sanctions_ban_key",
            "user_id",
            unique=True,
            postgresql_where=sa.text("kind = 'ban' AND lifted_at IS NULL"),
        ),
        # For the erasure of texts.
        sa.Index(
            "sanctions_texts_idx",
            "starts_at",
            postgresql_where=sa.text("facts IS NOT NULL OR lift_reason IS NOT NULL"),
        ),
        sa.Index("sanctions_by_user_idx", "user_id", sa.text("starts_at DESC"), sa.text("id DESC")),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id")
    kind: SanctionKind = Field(sa_type=native_enum(SanctionKind, "sanction_kind"))
    ground: SanctionGround = Field(sa_type=native_enum(SanctionGround, "sanction_ground"))
    #: What the account did; null after the account was deleted, or the time for which texts are kept.
    facts: str | None = Field(default=None, sa_type=sa.Text)
    #: Whether `facts` were written for the learner, who then reads them; false for the internal note of a ban.
    shows_facts: bool = Field(default=True, sa_column_kwargs={"server_default": sa.true()})
    starts_at: datetime = instant(default=True)
    #: Of a suspension, which ends then by PostgreSQL's clock.
    ends_at: datetime | None = instant(nullable=True)
    #: Six months after the start (DSA, article 20(1)).
    appeal_until: datetime = Field(sa_type=sa.DateTime(timezone=True))
    #: Null for a sanction from the command line.
    issued_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    #: The report that led to it; null for one that administrators found themselves.
    report_id: uuid.UUID | None = Field(default=None, foreign_key="reports.id", index=True)
    lifted_at: datetime | None = instant(nullable=True)
    #: Null for one that was lifted from the command line.
    lifted_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    lift_reason: str | None = Field(default=None, sa_type=sa.Text)
    #: When the learner confirmed that they have read a warning.
    acknowledged_at: datetime | None = instant(nullable=True)
