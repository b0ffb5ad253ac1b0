"""Owns accounts and the tokens they sign in with."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passwords import MAX_BYTES, Passwords
from adapters.tokens import AccessTokens, Identity
from models import Platform, Profile, RefreshToken, User
from models.columns import now

__all__ = ["AuthService", "Identity", "SignedIn"]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A device that has just signed in. `refresh_token` is shown here once; the database keeps its hash."""

    access_token: str
    expires_in: int
    refresh_token: str
    platform: Platform
    user: User


class AuthService:
    def __init__(
        self, database: Database, passwords: Passwords, tokens: AccessTokens, refresh_lifetime: timedelta
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._refresh_lifetime = refresh_lifetime

    async def register(self, email: str, password: str, device_id: str, platform: str) -> SignedIn:
        """Create an account with its profile and sign the device in.

        Raises EmailTaken, and RequestInvalid for a password of more than 72 bytes.
        """
        if len(password.encode()) > MAX_BYTES:
            raise errors.RequestInvalid(f"'password' is too long; the most is {MAX_BYTES} bytes")
        user = User(email=email, password_hash=await self._passwords.hash(password))
        try:
            async with self._database.transaction() as session:
                session.add(user)
                await session.flush()
                session.add(Profile(user_id=user.id, last_active_at=now()))
                return self._sign_in(session, user, device_id, platform)
        except IntegrityError:
            raise errors.EmailTaken() from None

    async def login(self, email: str, password: str, device_id: str, platform: str) -> SignedIn:
        """Sign a device in; raise InvalidCredentials, or AccountBanned after a right password."""
        async with self._database.transaction() as session:
            user = (await session.exec(select(User).where(sa.func.lower(User.email) == sa.func.lower(email)))).first()
        # Outside the transaction: a check takes a quarter of a second, and no connection should wait for it.
        if not await self._passwords.matches(password, user.password_hash if user else None) or user is None:
            raise errors.InvalidCredentials()
        if user.is_banned:
            raise errors.AccountBanned()
        async with self._database.transaction() as session:
            await session.exec(sa.update(Profile).where(col(Profile.user_id) == user.id).values(last_active_at=now()))
            return self._sign_in(session, user, device_id, platform)

    def _sign_in(self, session: AsyncSession, user: User, device_id: str, platform: str) -> SignedIn:
        family_id = uuid.uuid4()
        refresh_token = secrets.token_urlsafe(32)
        session.add(
            RefreshToken(
                user_id=user.id,
                family_id=family_id,
                token_hash=hashlib.sha256(refresh_token.encode()).hexdigest(),
                device_id=device_id,
                platform=Platform(platform),
                expires_at=now() + self._refresh_lifetime,
            )
        )
        access_token = self._tokens.issue(
            user_id=str(user.id), email=user.email, role=user.role.value, family_id=str(family_id)
        )
        return SignedIn(
            access_token, int(self._tokens.lifetime.total_seconds()), refresh_token, Platform(platform), user
        )

    def identify(self, access_token: str) -> Identity:
        """Read an access token, or raise Unauthenticated."""
        return self._tokens.verify(access_token)

    async def admit_socket(self, access_token: str) -> str:
        """Answer whose socket this is; raise Unauthenticated, or Banned."""
        identity = self._tokens.verify(access_token)
        async with self._database.transaction() as session:
            found = (await session.exec(select(User.is_banned).where(User.id == uuid.UUID(identity.user_id)))).first()
        if found is None:
            raise errors.Unauthenticated()
        if found:
            raise errors.Banned()
        return identity.user_id

    def jwks(self) -> dict[str, Any]:
        """The public keys that verify access tokens."""
        return self._tokens.jwks()
