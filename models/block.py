"""Blocks: pairs of users who are never matched, in either direction."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant


class Block(SQLModel, table=True):
    __tablename__ = "blocks"
    __table_args__ = (
        sa.CheckConstraint("blocker_id <> blocked_id", name="blocks_two_users_check"),
        sa.Index("blocks_newest_idx", "blocker_id", sa.text("created_at DESC"), sa.text("blocked_id DESC")),
    )

    blocker_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    blocked_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE", index=True)
    created_at: datetime = instant(default=True)
