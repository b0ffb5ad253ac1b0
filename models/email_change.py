"""Changes of accounts' addresses, each of which the old address can undo for a time."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class EmailChange(SQLModel, table=True):
    """A change that was made. Until `undo_until` the old address, which was verified, is kept for the account."""

    __tablename__ = "email_changes"
    __table_args__ = (sa.Index("email_changes_old_idx", "old_canonical"),)

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    old_email: str = Field(max_length=254)
    old_canonical: str = Field(sa_type=sa.Text)
    new_email: str = Field(max_length=254)
    #: Hex of the SHA-256 of the token that undoes it, which only the mail to the old address contains.
    token_hash: str = Field(max_length=64, unique=True)
    #: Equal to `created_at` where it cannot be undone: the old address was never verified.
    undo_until: datetime = Field(sa_type=sa.DateTime(timezone=True), index=True)
    #: When it was undone, or by the undoing of an earlier one.
    undone_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
