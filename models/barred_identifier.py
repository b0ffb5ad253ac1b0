"""Identifiers of sanctioned accounts that were deleted, so that a sanction does not end by a deletion."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class BarredIdentifier(SQLModel, table=True):
    """An identifier, such as a verified address, with which no account can be opened for a time."""

    __tablename__ = "barred_identifiers"

    id: uuid.UUID = primary_key()
    #: Hex of an HMAC-SHA-256, whose key is not in the database.
    identifier_hash: str = Field(max_length=64, unique=True)
    sanction_id: uuid.UUID = Field(foreign_key="sanctions.id", ondelete="CASCADE", index=True)
    #: The end of a suspension, or of the time for which addresses of banned accounts are kept.
    until: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)
    created_at: datetime = instant(default=True)
