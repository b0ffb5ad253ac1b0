"""Files that belong to a lesson: worksheets, slides, transcripts."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class LessonAttachment(SQLModel, table=True):
    __tablename__ = "lesson_attachments"

    id: uuid.UUID = primary_key()
    lesson_id: uuid.UUID = Field(
        sa_column=sa.Column(sa.Uuid, sa.ForeignKey("lessons.id", ondelete="CASCADE"), index=True, nullable=False)
    )
    name: str = Field(max_length=255)
    content_type: str = Field(max_length=100)
    size: int
    #: Where its bytes are in the bucket.
    key: str = Field(max_length=512)
    created_at: datetime = instant(default=True)
