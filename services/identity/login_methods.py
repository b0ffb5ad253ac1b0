"""Ways to log in to an account, of which one stays."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from models import LinkedIdentity, Passkey, User


async def require_login_method(db: AsyncSession, user: User) -> None:
    """Raise LastLoginMethod where nobody could log in any more; call it after a removal, with the account locked.

    A verified address is one: a code by e-mail logs in.
    """
    if user.password_hash or user.is_verified:
        return
    has_other = sa.or_(
        sa.exists().where(col(LinkedIdentity.user_id) == user.id), sa.exists().where(col(Passkey.user_id) == user.id)
    )
    if not (await db.execute(sa.select(has_other))).scalar_one():
        raise errors.LastLoginMethod()
