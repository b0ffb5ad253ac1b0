"""Account rows: found by address, and locked for a change.

A change of an account, its profile, its logins or its enrollments locks the account's row first, so that the
changes of one user happen one after another, and none of them after the deletion of the account.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.tokens import Identity
from models import EmailChange, Profile, RefreshToken, Role, User, email_addresses


async def find_user_by_email(db: AsyncSession, email: str) -> User | None:
    """Find the account of an address, in any spelling."""
    statement = select(User).where(User.email_canonical == email_addresses.to_canonical(email))
    return (await db.exec(statement)).first()


async def lock_user_by_email(db: AsyncSession, email: str) -> User | None:
    """Find the account of an address and lock its row; return None where it has got another address meanwhile."""
    found = await find_user_by_email(db, email)
    user = await lock_user(db, found.id) if found is not None else None
    return user if user is not None and user.email_canonical == email_addresses.to_canonical(email) else None


async def refuse_reserved(db: AsyncSession, email: str, owner_id: uuid.UUID | None = None) -> None:
    """Raise EmailTaken for an address that another account than the owner's gave up so lately that this can be undone.

    Call it in the transaction that gives the address to an account, after the row is written: a change that commits
    meanwhile is then seen.
    """
    reserved = select(EmailChange.id).where(
        EmailChange.old_canonical == email_addresses.to_canonical(email), is_undoable()
    )
    if owner_id is not None:
        reserved = reserved.where(EmailChange.user_id != owner_id)
    if (await db.exec(reserved.limit(1))).first() is not None:
        raise errors.EmailTaken()


def is_undoable() -> sa.ColumnElement[bool]:
    """Return the condition of a change of an address that can still be undone, by PostgreSQL's clock."""
    return sa.and_(col(EmailChange.undone_at).is_(None), col(EmailChange.undo_until) > sa.func.now())


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


def is_current(identity: Identity) -> sa.ColumnElement[bool]:
    """Return the condition of the token that the login of a request exchanges next; none has it once that has ended."""
    return sa.and_(
        col(RefreshToken.family_id) == uuid.UUID(identity.family_id),
        col(RefreshToken.user_id) == uuid.UUID(identity.user_id),
        col(RefreshToken.rotated_at).is_(None),
        ~col(RefreshToken.revoked),
    )


async def lock_user_of(db: AsyncSession, identity: Identity) -> User:
    """Lock the account of a request whose login is still open; raise Unauthenticated.

    Its token was checked when the request began. What ends logins because another person may have one, such as a new
    password, locks the account too: so nothing that came before it is done after it.
    """
    user = await lock_active_user(db, uuid.UUID(identity.user_id))
    if (await db.exec(select(RefreshToken.id).where(is_current(identity)))).first() is None:
        raise errors.Unauthenticated("This login has ended; log in again.")
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
