"""Second factors of staff accounts: the secret of an authenticator app, and the recovery codes beside it."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant


class SecondFactor(SQLModel, table=True):
    """One of an account. A new secret is pending until a code of it was entered; the old one counts until then."""

    __tablename__ = "second_factors"
    __table_args__ = (
        sa.CheckConstraint("(secret IS NULL) = (enrolled_at IS NULL)", name="second_factors_enrolled_check"),
        sa.CheckConstraint("(pending_secret IS NULL) = (pending_until IS NULL)", name="second_factors_pending_check"),
        sa.CheckConstraint("secret IS NOT NULL OR pending_secret IS NOT NULL", name="second_factors_secret_check"),
    )

    user_id: uuid.UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    #: As `adapters/secret_box.py` stores it.
    secret: str | None = Field(default=None, sa_type=sa.Text)
    #: The time step (RFC 6238) of the last code that was accepted; no code of it or of an earlier one is accepted.
    last_step: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    enrolled_at: datetime | None = instant(nullable=True)
    pending_secret: str | None = Field(default=None, sa_type=sa.Text)
    pending_until: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)


class RecoveryCode(SQLModel, table=True):
    """A code that replaces one of the authenticator app, once."""

    __tablename__ = "recovery_codes"

    user_id: uuid.UUID = Field(primary_key=True, foreign_key="second_factors.user_id", ondelete="CASCADE")
    #: Hex of the SHA-256 of the code, which is returned once and never stored.
    code_hash: str = Field(primary_key=True, max_length=64)
    used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
