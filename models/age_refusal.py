"""Refusals of an age below the minimum, for a while, of devices and accounts."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class AgeRefusal(SQLModel, table=True):
    __tablename__ = "age_refusals"
    __table_args__ = (sa.Index("age_refusals_expires_idx", "expires_at"),)

    #: Hex of the SHA-256 of the device's or the account's id.
    id: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
