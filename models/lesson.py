"""Lessons of a course, in order, with the state of their videos."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class VideoStatus(enum.StrEnum):
    NONE = "none"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Lesson(SQLModel, table=True):
    __tablename__ = "lessons"
    __table_args__ = (
        # Deferrable, so that one statement can reorder all lessons.
        sa.UniqueConstraint(
            "course_id", "order_index", name="lessons_order_key", deferrable=True, initially="IMMEDIATE"
        ),
        sa.CheckConstraint("order_index >= 0", name="lessons_order_check"),
        sa.CheckConstraint("video_progress BETWEEN 0 AND 100", name="lessons_progress_check"),
        sa.CheckConstraint("(video_status = 'processing') = (video_source IS NOT NULL)", name="lessons_source_check"),
    )

    id: uuid.UUID = primary_key()
    course_id: uuid.UUID = Field(foreign_key="courses.id")
    title: str = Field(max_length=200)
    description: str = Field(default="", sa_type=sa.Text)
    #: The key of the master playlist that learners play; that of the earlier video while another is processed.
    video_url: str | None = Field(default=None, max_length=512)
    video_status: VideoStatus = Field(
        default=VideoStatus.NONE,
        sa_type=native_enum(VideoStatus, "video_status"),
        sa_column_kwargs={"server_default": "none"},
    )
    #: Percent of the processing of `video_source`, the key of the last upload.
    video_progress: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    video_source: str | None = Field(default=None, max_length=512)
    #: The key of the newest upload that was processed, with or without success; `videos remake` reads it.
    #: None where there was none, or a version that deleted originals made the video.
    video_original: str | None = Field(default=None, max_length=512)
    #: Why the processing of the last video failed.
    video_error: str | None = Field(default=None, max_length=200)
    duration_secs: int | None = None
    order_index: int
    is_free: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = instant(default=True)
