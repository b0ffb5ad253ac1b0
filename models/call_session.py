"""Calls: one row for each match, from `match_found` to the end of the call."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key

#: Level of a conversation; `all` matches any.
Level = Literal["all", "beginner", "intermediate", "advanced"]


class EndedBy(enum.StrEnum):
    USER_A = "user_a"
    USER_B = "user_b"
    TIMEOUT = "timeout"
    ERROR = "error"


class CallOrigin(enum.StrEnum):
    """How two learners came to a room."""

    SEARCH = "search"
    INVITATION = "invitation"


class MatchOutcome(enum.StrEnum):
    """How one learner kept a match: `left_early` is within a minute, `forgiven` the same of an unpleasant partner."""

    GOOD = "good"
    DECLINED = "declined"
    NOT_JOINED = "not_joined"
    LEFT_EARLY = "left_early"
    FORGIVEN = "forgiven"


class CallSession(SQLModel, table=True):
    __tablename__ = "call_sessions"
    __table_args__ = (
        sa.CheckConstraint("user_a_id <> user_b_id", name="call_sessions_two_users_check"),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="call_sessions_end_check"),
        sa.CheckConstraint("duration_seconds >= 0", name="call_sessions_duration_check"),
        sa.CheckConstraint("waited_ms >= 0", name="call_sessions_waited_check"),
        # Each side's history, newest first: the keyset of GET /sessions.
        sa.Index("call_sessions_user_a_idx", "user_a_id", sa.text("started_at DESC"), sa.text("id DESC")),
        sa.Index("call_sessions_user_b_idx", "user_b_id", sa.text("started_at DESC"), sa.text("id DESC")),
        # Counts by hour and day, by an index-only scan.
        sa.Index(
            "call_sessions_started_idx",
            "started_at",
            postgresql_include=["connected_at", "duration_seconds", "waited_ms"],
        ),
        # The few that have not ended: live calls, those to restore in Redis, and stale ones.
        sa.Index("call_sessions_open_idx", "started_at", postgresql_where=sa.text("ended_at IS NULL")),
    )

    id: uuid.UUID = primary_key()
    room_id: str = Field(max_length=36, unique=True)
    user_a_id: uuid.UUID = Field(foreign_key="users.id")
    user_b_id: uuid.UUID = Field(foreign_key="users.id")
    topic: str | None = Field(default=None, max_length=60)
    level: Level = Field(sa_type=sa.String(16))
    #: How long `user_a`, who was matched from the queue, had searched, by Redis's clock. Null where that is unknown:
    #: for a search that was put back at the head of the queue after a match, and for rows older than this column.
    waited_ms: int | None = Field(default=None)
    started_at: datetime = instant(default=True)
    #: When both had joined the room; null for a match that never became a call.
    connected_at: datetime | None = instant(nullable=True)
    ended_at: datetime | None = instant(nullable=True)
    duration_seconds: int | None = Field(default=None)
    ended_by: EndedBy | None = Field(default=None, sa_type=native_enum(EndedBy, "ended_by"))
    origin: CallOrigin = Field(
        default=CallOrigin.SEARCH,
        sa_type=native_enum(CallOrigin, "call_origin"),
        sa_column_kwargs={"server_default": CallOrigin.SEARCH.value},
    )
    #: Null where there is nothing to count: a drop, a poor line, an invitation, or a point that was taken back.
    user_a_outcome: MatchOutcome | None = Field(default=None, sa_type=native_enum(MatchOutcome, "match_outcome"))
    user_b_outcome: MatchOutcome | None = Field(default=None, sa_type=native_enum(MatchOutcome, "match_outcome"))
    created_at: datetime = instant(default=True)
