"""One-time tokens in mails: made for a user, and usable once before they expire."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlmodel import col

from digests import hash_token
from instants import utc_now
from models import AccountDeletionToken, EmailVerificationToken, PasswordResetToken

Row = TypeVar("Row", PasswordResetToken, EmailVerificationToken, AccountDeletionToken)


def make_token(table: type[Row], user_id: uuid.UUID, lifetime: timedelta) -> tuple[str, Row]:
    """Make a token; return it with its row, which has only its hash and is still to be added."""
    token = secrets.token_urlsafe(32)
    return token, table(user_id=user_id, token_hash=hash_token(token), expires_at=utc_now() + lifetime)


def is_usable(
    table: type[PasswordResetToken] | type[EmailVerificationToken] | type[AccountDeletionToken], token: str
) -> sa.ColumnElement[bool]:
    """Return the condition of a token that is neither used nor expired, by PostgreSQL's clock."""
    return sa.and_(col(table.token_hash) == hash_token(token), ~col(table.used), col(table.expires_at) > sa.func.now())
