"""One-time tokens: in mails to set a new password, to verify an address and to delete an account; and spent ones."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class OneTimeToken(SQLModel):
    """Columns of each kind of token."""

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    #: Hex of the SHA-256 of the token, which only the mail contains.
    token_hash: str = Field(max_length=64, unique=True)
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)
    used: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = instant(default=True)


class PasswordResetToken(OneTimeToken, table=True):
    """Valid for an hour."""

    __tablename__ = "password_reset_tokens"


class EmailVerificationToken(OneTimeToken, table=True):
    """Valid for a day."""

    __tablename__ = "email_verification_tokens"


class AccountDeletionToken(OneTimeToken, table=True):
    """Valid for an hour."""

    __tablename__ = "account_deletion_tokens"


class SpentToken(SQLModel, table=True):
    """A token of another issuer, or a challenge without a row of its own, that was used: it works once."""

    __tablename__ = "spent_tokens"

    #: Hex of the SHA-256 of the token.
    id: str = Field(primary_key=True, max_length=64)
    #: When the token expires by itself, with the accepted difference of clocks.
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)
