"""Wishes for partnership, one row for each learner who asks; two learners are partners if each has asked the other."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant


class PartnerWish(SQLModel, table=True):
    __tablename__ = "partner_wishes"
    __table_args__ = (
        sa.CheckConstraint("user_id <> wished_id", name="partner_wishes_two_users_check"),
        # For the deletion of unanswered ones.
        sa.Index("partner_wishes_created_idx", "created_at"),
    )

    #: Who asks.
    user_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    wished_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE", index=True)
    created_at: datetime = instant(default=True)
