"""Records of how reliably learners keep their matches."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant


class PairingRecord(SQLModel, table=True):
    """A learner without a row has no points. The rules are in services/calls/pairing_records.py."""

    __tablename__ = "pairing_records"
    __table_args__ = (
        sa.CheckConstraint("points >= 0", name="pairing_records_points_check"),
        sa.CheckConstraint("rests >= 0", name="pairing_records_rests_check"),
    )

    user_id: uuid.UUID = Field(foreign_key="users.id", primary_key=True, ondelete="CASCADE")
    #: Points at `points_at`; they halve with time.
    points: float = Field(default=0.0, sa_type=sa.Double)
    points_at: datetime = instant(default=True)
    warned_at: datetime | None = instant(nullable=True)
    #: The end of the last rest, also where that is over.
    resting_until: datetime | None = instant(nullable=True)
    #: Rests that are not forgiven yet: each is longer than the one before.
    rests: int = Field(default=0, sa_type=sa.SmallInteger)
