"""Administrators: created, promoted, demoted and listed."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlmodel import select

import errors
from adapters.database import Database
from adapters.passwords import Passwords
from models import Profile, Role, User
from services.identity.email_verification import require_deliverable
from services.identity.logins import LoginsService
from services.identity.user_rows import find_user_by_email, lock_administrators, lock_user
from services.operations.audit import AuditService


class AdministratorsService:
    def __init__(self, database: Database, passwords: Passwords, logins: LoginsService, audit: AuditService) -> None:
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._audit = audit

    async def create(self, email: str, password: str) -> User:
        """Create an administrator's account, verified; raise EmailTaken, PasswordTooCommon or RequestInvalid."""
        user = User(
            email=require_deliverable(email),
            password_hash=await self._passwords.hash_new(password, "password"),
            role=Role.ADMIN,
            is_verified=True,
        )
        try:
            async with self._database.transaction() as db:
                db.add(user)
                await db.flush()
                db.add(Profile(user_id=user.id))
                await self._audit.write(db, None, "admin.create", user.id)
        except IntegrityError:
            raise errors.EmailTaken("an account with this address exists; promote it") from None
        return user

    async def promote(self, email: str) -> User:
        """Make an account an administrator's; raise NotFound."""
        return await self._set_role(email, Role.ADMIN)

    async def demote(self, email: str) -> User:
        """Make an administrator a student again; raise NotFound, or LastAdmin."""
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
                if role is Role.STUDENT and len(administrators) == 1:
                    raise errors.LastAdmin()
                user.role = role
                db.add(user)
                ended = await self._logins.end_all_within(db, user.id)
                await self._audit.write(db, None, "admin.role", user.id, role=role.value)
        await self._logins.publish_ended(ended)
        return user

    async def list(self) -> list[User]:
        """Read every administrator, by address."""
        async with self._database.transaction() as db:
            return list((await db.exec(select(User).where(User.role == Role.ADMIN).order_by(User.email))).all())
