"""Identities at Google, Apple and other OpenID Connect issuers, by which accounts are logged in to."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class LinkedIdentity(SQLModel, table=True):
    """The account of a subject at a provider. The subject is the key: addresses change and are given to others."""

    __tablename__ = "identities"
    __table_args__ = (sa.UniqueConstraint("provider", "subject", name="identities_subject_key"),)

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    #: `google`, `apple`, or the name of a configured issuer.
    provider: str = Field(max_length=32)
    #: The claim `sub`.
    subject: str = Field(max_length=255)
    #: The address in the last ID token, for the owner to recognise the identity; null where it had none.
    email: str | None = Field(default=None, max_length=254)
    #: The client, and the provider's refresh token, sealed, with which the grant is revoked at a deletion (Apple).
    grant_client_id: str | None = Field(default=None, max_length=255)
    grant_token: str | None = Field(default=None, sa_type=sa.Text)
    last_used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default=True)
