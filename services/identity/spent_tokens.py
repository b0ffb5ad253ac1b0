"""Tokens that work once and have no row of their own: ID tokens of other issuers, and signed challenges."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from digests import hash_token
from models import SpentToken


async def spend_token(db: AsyncSession, token: str, expires_at: datetime) -> bool:
    """Use up a token inside the caller's transaction; return False where it was used before.

    Of two transactions at once the second waits for the first. `expires_at` is when the token expires by itself: from
    then on its row may be deleted.
    """
    statement = (
        insert(SpentToken)
        .values(id=hash_token(token), expires_at=expires_at)
        .on_conflict_do_nothing()
        .returning(col(SpentToken.id))
    )
    return (await db.execute(statement)).first() is not None
