"""Passkeys: public keys of WebAuthn credentials."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class Passkey(SQLModel, table=True):
    __tablename__ = "passkeys"

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    #: At most 1,023 bytes (WebAuthn, 4, credential id).
    credential_id: bytes = Field(sa_type=sa.LargeBinary, unique=True)
    #: A COSE key.
    public_key: bytes = Field(sa_type=sa.LargeBinary)
    #: The authenticator's counter of signatures; 0 where it has none.
    sign_count: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    name: str = Field(max_length=60)
    #: The model of the authenticator; zeros where it does not say.
    aaguid: uuid.UUID
    #: Whether a password manager keeps it on several devices.
    is_synced: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    last_used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
