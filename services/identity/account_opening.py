"""What every way to open an account has in common."""

from __future__ import annotations

from sqlmodel.ext.asyncio.session import AsyncSession

from instants import utc_now
from models import Profile, User
from services.identity.user_rows import refuse_reserved
from services.safety.barred_identifiers import BarredIdentifiers, Identifier


async def open_account_within(db: AsyncSession, barred: BarredIdentifiers, user: User) -> None:
    """Add an account with its profile inside the caller's transaction.

    Raises SQLAlchemy's IntegrityError where another has the address; EmailTaken where one may get it back; and
    AccountBanned or AccountSuspended for the address of a sanctioned account that was deleted.
    """
    db.add(user)
    # Before the checks: what commits meanwhile is then seen by them.
    await db.flush()
    await refuse_reserved(db, user.email)
    await barred.refuse_within(db, Identifier("email", user.email))
    db.add(Profile(user_id=user.id, last_active_at=utc_now()))
    await db.flush()
