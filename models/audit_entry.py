"""Audit log: changes by administrators, each entry with the hash of the one before.

A trigger, in the migration, refuses to change or delete an entry, but for the erasure of an old entry's `detail`.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class AuditEntry(SQLModel, table=True):
    __tablename__ = "audit_log"
    __table_args__ = (
        sa.CheckConstraint("erased_by > number", name="audit_log_erased_later_check"),
        # Entries whose detail may be erased, the oldest first.
        sa.Index(
            "audit_log_detail_idx",
            "at",
            postgresql_where=sa.text("erased_by IS NULL AND detail <> '{}' AND action <> 'audit.erase'"),
        ),
        sa.Index("audit_log_by_actor_idx", "actor_id", sa.text("number DESC")),
        sa.Index("audit_log_by_action_idx", "action", sa.text("number DESC")),
        sa.Index("audit_log_by_subject_idx", "subject_id", sa.text("number DESC")),
    )

    #: Without gaps: 1 is the first.
    number: int = Field(primary_key=True, sa_type=sa.BigInteger, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    #: Null for an operator at the command line. No foreign key: an entry outlives the rows that it is about.
    actor_id: uuid.UUID | None = Field(default=None)
    action: str = Field(max_length=64)
    subject_id: uuid.UUID | None = Field(default=None)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"})
    #: Hex of SHA-256 over the entry and `previous_hash`.
    hash: str = Field(max_length=64, unique=True)
    previous_hash: str = Field(max_length=64, unique=True)
    #: Number of the entry that records the erasure of `detail`, which is empty then.
    erased_by: int | None = Field(default=None, foreign_key="audit_log.number", sa_type=sa.BigInteger)
