"""Reports of learners by learners."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class ReportReason(enum.StrEnum):
    HARASSMENT = "harassment"
    SPAM = "spam"
    INAPPROPRIATE = "inappropriate"
    HATE_SPEECH = "hate_speech"
    OTHER = "other"
    MINOR_SAFETY = "minor_safety"
    THREAT = "threat"


#: Reasons that are reviewed first, and whose report may hold the reported learner's pairing.
URGENT_REASONS = frozenset({ReportReason.MINOR_SAFETY, ReportReason.THREAT})


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
        # The review queue, and the reports whose reporter's traits are still stored, for their pruning.
        sa.Index(
            "reports_queue_idx",
            sa.text("rank DESC"),
            sa.text("created_at DESC"),
            sa.text("id DESC"),
            postgresql_where=sa.text("status = 'pending'"),
        ),
        sa.Index(
            "reports_traits_idx",
            "created_at",
            postgresql_where=sa.text("reporter_device IS NOT NULL OR reporter_network IS NOT NULL"),
        ),
        sa.CheckConstraint("weight BETWEEN 0 AND 1 AND rank >= 0", name="reports_weight_check"),
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
    is_urgent: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    #: What `services/safety/report_weights.py` computes of the report alone, and of all pending ones of the learner.
    weight: float = Field(default=0.8, sa_type=sa.Double, sa_column_kwargs={"server_default": "0.8"})
    rank: float = Field(default=0.8, sa_type=sa.Double, sa_column_kwargs={"server_default": "0.8"})
    #: What the report adds to the weight that hides a picture; null in rows of earlier releases: the whole weight.
    picture_weight: float | None = Field(default=None, sa_type=sa.Double)
    #: What the weight depends on: whether the reporter blocked the learner too, how long the call had been connected
    #: at the report (null: never), and how many days before it had begun.
    has_block: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    call_seconds: int | None = Field(default=None)
    call_days: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: Keyed hashes of the reporter's device and network, by which reporters are counted once; pruned.
    reporter_device: str | None = Field(default=None, max_length=32)
    reporter_network: str | None = Field(default=None, max_length=32)
    #: Until when it should be reviewed, and when administrators were notified that it was not.
    due_at: datetime = Field(
        default=None,
        sa_type=sa.DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": sa.text("(now() + '72:00:00'::interval)")},
    )
    overdue_at: datetime | None = instant(nullable=True)
    #: Null also for reports that were reviewed before this column existed.
    decided_at: datetime | None = instant(nullable=True)

    @property
    def outcome(self) -> Literal["acted", "no_action"] | None:
        """What the reporter may know of the decision; None while the report is pending."""
        if self.status is ReportStatus.PENDING:
            return None
        return "acted" if self.status is ReportStatus.ACTIONED else "no_action"
