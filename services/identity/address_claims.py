"""What happens when a person shows for the first time that an account's address is theirs.

Until then anybody may have opened the account, and wait for the owner of the address to use it ("Pre-hijacked
accounts", USENIX Security 2022). So all that was set up before goes: it may be another person's way in.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models import (
    AccountDeletionToken,
    EmailVerificationToken,
    PasswordResetToken,
    User,
)
from services.identity.email_codes import withdraw_changes
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_methods import remove_login_methods
from services.identity.logins import LoginsService
from services.identity.security_notices import SecurityNoticesService


class AddressClaims:
    def __init__(self, logins: LoginsService, grants: IdentityGrantsService, notices: SecurityNoticesService) -> None:
        self._logins = logins
        self._grants = grants
        self._notices = notices

    async def claim_within(self, db: AsyncSession, user: User) -> list[str]:
        """Verify the address of an account whose row is locked, and remove what was set up before, if it was not.

        Returns the logins that ended, for `LoginsService.publish_ended` after the commit.
        """
        if user.is_verified:
            return []
        has_removed = await remove_login_methods(db, self._grants, user) or user.password_hash != ""
        user.is_verified, user.password_hash = True, ""
        db.add(user)
        await forget_mailed(db, user.id)
        ended = await self._logins.end_all_within(db, user.id)
        if has_removed or ended:
            await self._notices.record_change(db, user.id, user.id, "credentials_remove")
        return ended


async def forget_mailed(db: AsyncSession, user_id: uuid.UUID) -> None:
    """Delete the links and codes that were mailed for an account: its address or its owner is another now."""
    for table in (PasswordResetToken, EmailVerificationToken, AccountDeletionToken):
        await db.execute(sa.delete(table).where(col(table.user_id) == user_id))
    await withdraw_changes(db, user_id)
