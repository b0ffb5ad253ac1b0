"""Roles of staff: administrators and moderators are created, promoted, demoted and listed, and lose a lost factor."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passwords import Passwords
from models import Profile, Role, User
from services.identity.email_verification import require_deliverable
from services.identity.logins import LoginsService
from services.identity.passkeys import remove_passkeys_within
from services.identity.second_factors import SecondFactorsService
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import find_user_by_email, lock_administrators, lock_user, refuse_reserved
from services.operations.audit import AuditService


class AdministratorsService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        logins: LoginsService,
        second_factors: SecondFactorsService,
        notices: SecurityNoticesService,
        audit: AuditService,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._second_factors = second_factors
        self._notices = notices
        self._audit = audit

    async def create(self, email: str, password: str, role: Role = Role.ADMIN) -> User:
        """Create an account of staff, verified; raise EmailTaken, PasswordTooCommon or RequestInvalid."""
        user = User(
            email=require_deliverable(email),
            password_hash=await self._passwords.hash_new(password, "password"),
            role=role,
            is_verified=True,
        )
        try:
            async with self._database.transaction() as db:
                db.add(user)
                await db.flush()
                await refuse_reserved(db, user.email)
                db.add(Profile(user_id=user.id))
                await self._audit.write(db, None, "admin.create", user.id, **_role_detail(role))
        except IntegrityError:
            raise errors.EmailTaken("an account with this address exists; promote it") from None
        return user

    async def promote(self, email: str, role: Role = Role.ADMIN) -> User:
        """Give an account a role of staff; raise NotFound, LastAdmin, or Forbidden where it is sanctioned."""
        return await self._set_role(email, role)

    async def demote(self, email: str) -> User:
        """Make an account of staff a student's again; raise NotFound, or LastAdmin."""
        return await self._set_role(email, Role.STUDENT)

    async def _set_role(self, email: str, role: Role) -> User:
        """Change a role, and end every login of the account, whose tokens name the old role."""
        ended: list[str] = []
        async with self._database.transaction() as db:
            administrators = await lock_administrators(db)
            found = await find_user_by_email(db, email)
            user = await lock_user(db, found.id) if found else None
            if user is None:
                raise errors.NotFound(f"there is no account {email}")
            if user.role is not role:
                if user.role is Role.ADMIN and len(administrators) == 1:
                    raise errors.LastAdmin()
                # No login gets it in, and yet it would be one of those who keep the last administrator from leaving.
                if role is not Role.STUDENT and await _is_barred(db, user.id):
                    raise errors.Forbidden("a ban or a suspension of this account is in force; lift it first")
                user.role = role
                db.add(user)
                if role is Role.STUDENT:  # passkeys stay, as a learner's way to log in
                    await self._second_factors.remove_within(db, user.id)
                ended = await self._logins.end_all_within(db, user.id)
                await self._audit.write(db, None, "admin.role", user.id, role=role.value)
        await self._logins.publish_ended(ended)
        return user

    async def reset_factor(self, email: str) -> User:
        """Remove the second factors of an account of staff, app and passkeys, and end its logins.

        Raises NotFound where it has none: a learner's passkeys are a way to log in, and stay.
        """
        async with self._database.transaction() as db:
            found = await find_user_by_email(db, email)
            user = await lock_user(db, found.id) if found else None
            if user is None:
                raise errors.NotFound(f"there is no account {email}")
            had_app = await self._second_factors.remove_within(db, user.id)
            passkeys = await remove_passkeys_within(db, user.id) if user.role.is_staff else 0
            if not (had_app or passkeys):
                raise errors.NotFound(f"{email} has no second factor")
            ended = await self._logins.end_all_within(db, user.id)
            await self._notices.record_change(db, None, user.id, "second_factor_reset")
        await self._logins.publish_ended(ended)
        return user

    async def list(self) -> list[User]:
        """Read every account of staff, by address."""
        async with self._database.transaction() as db:
            return list((await db.exec(select(User).where(col(User.role) != Role.STUDENT).order_by(User.email))).all())


async def _is_barred(db: AsyncSession, user_id: uuid.UUID) -> bool:
    """Return whether a ban or a suspension is in force, by PostgreSQL's clock."""
    is_suspended = sa.func.coalesce(col(User.suspended_until) > sa.func.now(), False)
    statement = sa.select(sa.or_(col(User.is_banned), is_suspended)).where(col(User.id) == user_id)
    return bool((await db.execute(statement)).scalar_one())


def _role_detail(role: Role) -> dict[str, str]:
    """Return what an entry says of a new account's role; one without it is of an administrator, as it always was."""
    return {} if role is Role.ADMIN else {"role": role.value}
