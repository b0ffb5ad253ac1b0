"""Reports of learners by learners."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class ReportReason(enum.StrEnum):
    HARASSMENT = "harassment"
    SPAM = "spam"
    INAPPROPRIATE = "inappropriate"
    HATE_SPEECH = "hate_speech"
    OTHER = "other"


class ReportStatus(enum.StrEnum):
    PENDING = "pending"
    REVIEWED = "reviewed"
    ACTIONED = "actioned"
    DISMISSED = "dismissed"


class Report(SQLModel, table=True):
    __tablename__ = "reports"
    __table_args__ = (
        sa.UniqueConstraint("session_id", "reporter_id", name="reports_session_key"),
        sa.Index(
            "reports_pending_key",
            "reporter_id",
            "reported_id",
            unique=True,
            postgresql_where=sa.text("session_id IS NULL AND status = 'pending'"),
        ),
        sa.CheckConstraint("reporter_id <> reported_id", name="reports_two_users_check"),
        # Decided reports with texts, the oldest first.
        sa.Index(
            "reports_texts_idx",
            "created_at",
            postgresql_where=sa.text(
                "status <> 'pending' AND (description IS NOT NULL OR admin_note IS NOT NULL OR session_id IS NOT NULL)"
            ),
        ),
        sa.Index("reports_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("reports_by_status_idx", "status", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("reports_mine_idx", "reporter_id", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("reports_of_idx", "reported_id", "status"),
        sa.Index("reports_about_idx", "reported_id", sa.text("created_at DESC"), sa.text("id DESC")),
    )

    id: uuid.UUID = primary_key()
    reporter_id: uuid.UUID = Field(foreign_key="users.id")
    reported_id: uuid.UUID = Field(foreign_key="users.id")
    session_id: uuid.UUID | None = Field(default=None, foreign_key="call_sessions.id")
    reason: ReportReason = Field(sa_type=native_enum(ReportReason, "report_reason"))
    description: str | None = Field(default=None, sa_type=sa.Text)
    status: ReportStatus = Field(
        default=ReportStatus.PENDING,
        sa_type=native_enum(ReportStatus, "report_status"),
        sa_column_kwargs={"server_default": "pending"},
    )
    admin_note: str | None = Field(default=None, sa_type=sa.Text)
    actioned_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
