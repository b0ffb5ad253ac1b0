"""Progress of a learner in a lesson."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class LessonProgress(SQLModel, table=True):
    __tablename__ = "lesson_progress"
    __table_args__ = (
        sa.UniqueConstraint("user_id", "lesson_id", name="lesson_progress_once_key"),
        sa.CheckConstraint("watch_seconds >= 0", name="lesson_progress_seconds_check"),
        sa.CheckConstraint("completed = (completed_at IS NOT NULL)", name="lesson_progress_completed_check"),
    )

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id")
    lesson_id: uuid.UUID = Field(
        sa_column=sa.Column(sa.Uuid, sa.ForeignKey("lessons.id", ondelete="CASCADE"), index=True, nullable=False)
    )
    completed: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    #: The furthest second that was watched, from which the player resumes.
    watch_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    completed_at: datetime | None = instant(nullable=True)
    updated_at: datetime = instant(default=True, onupdate=True)
