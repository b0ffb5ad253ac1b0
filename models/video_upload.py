"""Resumable uploads of videos (tus): what is stored of each, and where."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class VideoUpload(SQLModel, table=True):
    __tablename__ = "video_uploads"
    __table_args__ = (
        sa.CheckConstraint("received BETWEEN 0 AND length", name="video_uploads_received_check"),
        sa.Index("video_uploads_stale_idx", "updated_at"),
    )

    id: uuid.UUID = primary_key()
    lesson_id: uuid.UUID = Field(
        sa_column=sa.Column(sa.Uuid, sa.ForeignKey("lessons.id", ondelete="CASCADE"), index=True, nullable=False)
    )
    created_by: uuid.UUID = Field(foreign_key="users.id")
    #: Key of the final object, and the id of its S3 multipart upload.
    key: str = Field(max_length=512)
    attempt: str = Field(max_length=1024)
    #: Total bytes, and those that are stored.
    length: int = Field(sa_type=sa.BigInteger)
    received: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    #: ETags of the stored parts, in order. Bytes after them are in an object of their own, `tail`.
    tags: list[str] = Field(
        default_factory=list,
        sa_column=sa.Column(JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    )
    tail: str | None = Field(default=None, max_length=512)
    #: Upload-Metadata of the client, returned unchanged and not used.
    client_metadata: str | None = Field(default=None, max_length=4096)
    #: The request that writes now. A later one replaces it, and the bytes of the earlier one no longer count.
    writer: uuid.UUID | None = None
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
