"""Consents of users to documents: each is a row, and so is its withdrawal.

Triggers, in the migration, refuse to change or delete a row, and derive `users.accepted_versions` from each new one.
"""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class ConsentAction(enum.StrEnum):
    GIVEN = "given"
    WITHDRAWN = "withdrawn"


class Consent(SQLModel, table=True):
    __tablename__ = "consents"
    __table_args__ = (sa.Index("consents_of_user_idx", "user_id", "at"),)

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id")
    document: str = Field(max_length=32)
    version: str = Field(max_length=32)
    action: ConsentAction = Field(sa_type=native_enum(ConsentAction, "consent_action"))
    at: datetime = instant(default=True)
