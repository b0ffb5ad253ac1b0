"""Account rows: found by address, and locked for a change.

A change of an account, its profile, its logins or its enrollments locks the account's row first, so that the
changes of one user happen one after another, and none of them after the deletion of the account.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from models import Profile, Role, User, email_addresses


async def find_user_by_email(db: AsyncSession, email: str) -> User | None:
    """Find the account of an address, in any spelling."""
    statement = select(User).where(User.email_canonical == email_addresses.to_canonical(email))
    return (await db.exec(statement)).first()


async def lock_user(db: AsyncSession, user_id: uuid.UUID) -> User | None:
    """Lock an account's row and read it again, also that of a deleted account."""
    statement = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return (await db.exec(statement.execution_options(populate_existing=True))).first()


async def lock_active_user(
    db: AsyncSession, user_id: uuid.UUID, *, absent: type[errors.ProductError] = errors.Unauthenticated
) -> User:
    """Lock the row of an account that is not deleted; raise `absent` where there is none."""
    user = await lock_user(db, user_id)
    if user is None or user.deleted_at is not None:
        raise absent()
    return user


async def lock_user_and_profile(db: AsyncSession, user_id: uuid.UUID) -> tuple[User, Profile]:
    """Lock an account that is not deleted, then its profile; raise Unauthenticated."""
    user = await lock_active_user(db, user_id)
    profile = await db.get(Profile, user_id, with_for_update=True)
    if profile is None:
        raise errors.Unauthenticated()
    return user, profile


async def lock_administrators(db: AsyncSession) -> Sequence[User]:
    """Lock the row of every administrator, so that two cannot demote each other at the same time."""
    statement = select(User).where(User.role == Role.ADMIN).order_by(col(User.id)).with_for_update(key_share=True)
    return (await db.exec(statement)).all()
