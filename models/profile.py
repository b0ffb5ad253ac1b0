"""Profiles: personal details of learners, and statistics of their practice."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum


class EnglishLevel(enum.StrEnum):
    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class LearningGoal(enum.StrEnum):
    FLUENCY = "fluency"
    BUSINESS = "business"
    TRAVEL = "travel"
    EXAM = "exam"


_ZERO = {"server_default": sa.text("0")}


class Profile(SQLModel, table=True):
    __tablename__ = "profiles"
    __table_args__ = (
        sa.Index("profiles_username_key", sa.text("lower(username)"), unique=True),
        sa.CheckConstraint(
            "total_practice_mins >= 0 AND total_sessions >= 0 AND streak_days >= 0", name="profiles_statistics_check"
        ),
        sa.CheckConstraint("avatar_held_at IS NULL OR avatar_url IS NOT NULL", name="profiles_held_avatar_check"),
        sa.Index(
            "profiles_held_avatars_idx",
            "avatar_held_at",
            "user_id",
            postgresql_where=sa.text("avatar_held_at IS NOT NULL"),
        ),
        sa.Index("profiles_username_prefix_idx", sa.text("lower(username) text_pattern_ops")),
        sa.Index("profiles_active_idx", "last_active_at"),
    )

    user_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    #: Null until chosen, before the first call.
    username: str | None = Field(default=None, max_length=30)
    display_name: str | None = Field(default=None, max_length=60)
    avatar_url: str | None = Field(default=None, max_length=512)
    #: Since when the picture waits for review, because the screen did not decide.
    avatar_held_at: datetime | None = instant(nullable=True)
    #: When staff last reviewed a picture of this learner, and their note. Reports from before hide no picture any more.
    avatar_reviewed_at: datetime | None = instant(nullable=True)
    avatar_review_note: str | None = Field(default=None, sa_type=sa.Text)
    bio: str | None = Field(default=None, sa_type=sa.Text)
    native_language: str | None = Field(default=None, max_length=35)
    english_level: EnglishLevel | None = Field(default=None, sa_type=native_enum(EnglishLevel, "english_level"))
    learning_goal: LearningGoal | None = Field(default=None, sa_type=native_enum(LearningGoal, "learning_goal"))
    country: str | None = Field(default=None, max_length=2)
    timezone: str | None = Field(default=None, max_length=64)
    #: Whether partners see if the learner is online or in a call.
    shares_presence: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    total_practice_mins: int = Field(default=0, sa_column_kwargs=_ZERO)
    total_sessions: int = Field(default=0, sa_column_kwargs=_ZERO)
    streak_days: int = Field(default=0, sa_column_kwargs=_ZERO)
    last_session_at: datetime | None = instant(nullable=True)
    last_active_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
