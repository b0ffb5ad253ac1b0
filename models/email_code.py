"""Codes in e-mails: six digits that log in, verify the address, or confirm a change of it."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum


class EmailCodePurpose(enum.StrEnum):
    #: Logs in, and shows that the account's owner sends a request.
    LOGIN = "login"
    #: Shows that a new address receives mail.
    CHANGE = "change"


class EmailCode(SQLModel, table=True):
    """A code, which only the mail contains; who has requested it alone can try it, and a few times."""

    __tablename__ = "email_codes"

    #: Returned to who requested the code.
    id: uuid.UUID = Field(primary_key=True)
    purpose: EmailCodePurpose = Field(sa_type=native_enum(EmailCodePurpose, "email_code_purpose"))
    #: Whose address is to be changed; null for a login.
    user_id: uuid.UUID | None = Field(default=None, foreign_key="users.id", ondelete="CASCADE", index=True)
    #: As mail is sent to it.
    email: str = Field(max_length=254)
    email_canonical: str = Field(sa_type=sa.Text)
    #: Hex of an HMAC-SHA-256, whose key is not in the database: six digits are soon guessed.
    code_hash: str = Field(max_length=64)
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)
    used: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = instant(default=True)
