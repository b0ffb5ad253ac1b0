"""Appeals against sanctions, and the tokens by which accounts that cannot log in submit them."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.one_time_token import OneTimeToken


class AppealStatus(enum.StrEnum):
    OPEN = "open"
    UPHELD = "upheld"
    OVERTURNED = "overturned"
    #: Without a decision: the sanction was lifted, or the account deleted.
    CLOSED = "closed"


class AppealTokenSource(enum.StrEnum):
    MAIL = "mail"
    LOGIN = "login"


class Appeal(SQLModel, table=True):
    __tablename__ = "appeals"
    __table_args__ = (
        sa.CheckConstraint("(status = 'open') = (decided_at IS NULL)", name="appeals_status_check"),
        sa.CheckConstraint(
            "status <> 'open' OR (decided_by IS NULL AND decision_reason IS NULL)", name="appeals_decision_check"
        ),
        sa.CheckConstraint("decided_by <> issued_by", name="appeals_other_decider_check"),
        sa.Index("appeals_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("appeals_by_status_idx", "status", sa.text("created_at DESC"), sa.text("id DESC")),
        sa.Index("appeals_decided_idx", "decided_at", postgresql_where=sa.text("decided_at IS NOT NULL")),
    )

    id: uuid.UUID = primary_key()
    #: A sanction has one appeal.
    sanction_id: uuid.UUID = Field(foreign_key="sanctions.id", unique=True)
    #: Who issued the sanction, and so may not decide; null for one from the command line.
    issued_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    #: In the learner's words; null after the account was deleted, or the time for which texts are kept.
    text: str | None = Field(default=None, sa_type=sa.Text)
    status: AppealStatus = Field(
        default=AppealStatus.OPEN,
        sa_type=native_enum(AppealStatus, "appeal_status"),
        sa_column_kwargs={"server_default": "open"},
    )
    decided_at: datetime | None = instant(nullable=True)
    #: Null for a decision from the command line, and for an appeal that was closed.
    decided_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    decision_reason: str | None = Field(default=None, sa_type=sa.Text)
    created_at: datetime = instant(default=True)


class AppealToken(OneTimeToken, table=True):
    """Valid for as long as an appeal is possible; used up by it, and still shows its state then."""

    __tablename__ = "appeal_tokens"
    __table_args__ = (
        # The next login replaces the token of the one before; a mail may be sent twice, and both links work.
        sa.Index("appeal_tokens_login_key", "sanction_id", unique=True, postgresql_where=sa.text("source = 'login'")),
    )

    sanction_id: uuid.UUID = Field(foreign_key="sanctions.id", ondelete="CASCADE", index=True)
    source: AppealTokenSource = Field(sa_type=native_enum(AppealTokenSource, "appeal_token_source"))
