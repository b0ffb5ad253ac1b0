"""Ratings of partners, after a call."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class FeedbackPace(enum.StrEnum):
    """How a partner's English compares with that of the learner who gives the feedback."""

    EASIER = "easier"
    SAME = "same"
    HARDER = "harder"


class SessionRating(SQLModel, table=True):
    __tablename__ = "session_ratings"
    __table_args__ = (
        sa.UniqueConstraint("session_id", "rater_id", name="session_ratings_once_key"),
        sa.CheckConstraint("stars BETWEEN 1 AND 5", name="session_ratings_stars_check"),
        sa.CheckConstraint("rater_id <> rated_id", name="session_ratings_two_users_check"),
    )

    id: uuid.UUID = primary_key()
    session_id: uuid.UUID = Field(foreign_key="call_sessions.id")
    rater_id: uuid.UUID = Field(foreign_key="users.id", index=True)
    rated_id: uuid.UUID = Field(foreign_key="users.id", index=True)
    stars: int = Field(sa_type=sa.SmallInteger)
    pace: FeedbackPace | None = Field(default=None, sa_type=native_enum(FeedbackPace, "feedback_pace"))
    #: Whether the pace has moved the skills of both.
    is_pace_counted: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = instant(default=True)
