"""Logins, each with its refresh-token family: opened on a device, refreshed, listed and ended.

A refresh token works once: it is exchanged for its child. The parent of a family's newest token, presented again within
a minute, gets the same child again, for a network may lose or delay a response. Any other token that was already
exchanged ends the login, because two parties hold it (RFC 9700, 4.14.2). A child is derived from its parent and a nonce
that only the database has, so it can be derived again and is not stored.

A device has one login of an account: the next one ends it in the same transaction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters import logs
from adapters.database import Database
from adapters.tokens import LEEWAY_SECONDS, AccessTokens, Identity
from digests import hash_token
from instants import utc_now
from models import DeviceToken, Platform, Profile, RefreshToken, User, email_addresses
from services.identity.login_revocations import LoginRevocations
from services.identity.user_rows import is_current, lock_user

__all__ = ["AccessToken", "Device", "Identity", "LoginTokens", "LoginsService"]

#: How long an exchanged token still returns its child, as long as that child was not exchanged.
LOST_RESPONSE_GRACE = timedelta(seconds=60)
#: Equal to `maxItems` of the contract.
MAX_LISTED_DEVICES = 100


@dataclass(frozen=True, slots=True)
class LoginTokens:
    """Tokens of a login. `refresh_token` is returned here alone; the database keeps its hash."""

    access_token: str
    expires_in: int
    refresh_token: str
    #: Proves later that this device has logged in before: its wrong passwords are then counted apart.
    device_proof: str
    platform: Platform
    user: User


class AccessToken(NamedTuple):
    """An access token, and its lifetime in seconds."""

    token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device with a login; `current` is the one that sends the request."""

    device_id: str
    platform: Platform
    signed_in_at: datetime
    last_used_at: datetime
    current: bool


class LoginsService:
    def __init__(
        self,
        database: Database,
        tokens: AccessTokens,
        revocations: LoginRevocations,
        *,
        refresh_lifetime: timedelta,
        staff_lifetime: timedelta,
    ) -> None:
        """Lifetimes are those of refresh tokens, of learners and of staff."""
        self._database = database
        self._tokens = tokens
        self._revocations = revocations
        self._refresh_lifetime = refresh_lifetime
        self._staff_lifetime = min(staff_lifetime, refresh_lifetime)

    def identify(self, access_token: str) -> Identity:
        """Read an access token; raise Unauthenticated, also where its login has ended."""
        identity = self._tokens.verify(access_token)
        self._revocations.check(identity.family_id)
        logs.user_id.set(identity.user_id)
        return identity

    def require_open(self, identity: Identity) -> None:
        """Raise Unauthenticated where the login of a request has ended, or its token expired, since that was read."""
        self._revocations.check(identity.family_id)
        # Ended logins are known for as long as a token is valid.
        if time.time() > identity.issued_at + self._tokens.lifetime.total_seconds() + LEEWAY_SECONDS:
            raise errors.Unauthenticated()

    async def require_open_in_database(self, identity: Identity) -> None:
        """The same of a request that may last longer than its token, by PostgreSQL."""
        async with self._database.transaction() as db:
            if (await db.exec(select(RefreshToken.id).where(is_current(identity)))).first() is None:
                raise errors.Unauthenticated("This login has ended; log in again.")

    async def open(
        self,
        db: AsyncSession,
        user: User,
        device_id: str,
        platform: str,
        *,
        factor_proven_at: datetime | None = None,
    ) -> tuple[LoginTokens, list[str]]:
        """Open a login inside the caller's transaction, which holds the account's row; end the device's earlier one.

        `factor_proven_at` is set where the login has proven the account's second factor. Returns its tokens and the ids
        of the logins that ended; pass the latter to `publish_ended` after the commit.
        """
        family_id, refresh_token = uuid.uuid4(), secrets.token_urlsafe(32)
        earlier = sa.and_(col(RefreshToken.user_id) == user.id, col(RefreshToken.device_id) == device_id)
        # Before the insert: a unique index allows a device one token that can be used.
        ended = await self._end(db, earlier, successor=family_id)
        row = self._build_row(user, family_id, refresh_token, device_id, Platform(platform), factor_proven_at)
        db.add(row)
        return self._issue_tokens(user, row, refresh_token), ended

    async def refresh(self, refresh_token: str) -> LoginTokens:
        """Exchange a refresh token for its child; raise RefreshTokenInvalid or RefreshTokenReused."""
        outcome: LoginTokens | errors.ProductError = errors.RefreshTokenInvalid()
        ended: list[str] = []
        presented = select(RefreshToken).where(RefreshToken.token_hash == hash_token(refresh_token))
        async with self._database.transaction() as db:
            found = (await db.exec(presented)).first()
            user = await lock_user(db, found.user_id) if found else None
            # Read again under the lock: another request may have exchanged or ended it meanwhile.
            row = (await db.exec(presented.execution_options(populate_existing=True))).first()
            if user is None or row is None or row.revoked or row.expires_at <= utc_now():
                pass
            elif row.rotated_at is None:
                outcome = await self._rotate(db, user, row, refresh_token)
            elif await self._is_retry_after_lost_response(db, row, refresh_token):
                child = _derive_child(refresh_token, row.child_nonce)
                outcome = self._issue_tokens(user, row, child)
            else:
                # This commits although the response is an error.
                ended = await self._end(db, col(RefreshToken.family_id) == row.family_id)
                outcome = errors.RefreshTokenReused()
        await self._revocations.publish(ended)
        if isinstance(outcome, errors.ProductError):
            raise outcome
        return outcome

    async def _rotate(self, db: AsyncSession, user: User, row: RefreshToken, refresh_token: str) -> LoginTokens:
        nonce = secrets.token_hex(32)
        child = _derive_child(refresh_token, nonce)
        # In this order: a unique index allows a family one token that can be used.
        await db.execute(
            sa.update(RefreshToken)
            .where(col(RefreshToken.id) == row.id)
            .values(rotated_at=sa.func.now(), child_nonce=nonce)
        )
        db.add(self._build_row(user, row.family_id, child, row.device_id, row.platform, row.factor_proven_at))
        await db.execute(sa.update(Profile).where(col(Profile.user_id) == user.id).values(last_active_at=utc_now()))
        return self._issue_tokens(user, row, child)

    async def _is_retry_after_lost_response(self, db: AsyncSession, row: RefreshToken, refresh_token: str) -> bool:
        """Return whether this token's child is its family's newest token, and less than a minute old."""
        child_hash = hash_token(_derive_child(refresh_token, row.child_nonce))
        # By PostgreSQL's clock: another process, whose clock differs, may have exchanged it.
        unused = select(RefreshToken.id).where(
            RefreshToken.token_hash == child_hash,
            col(RefreshToken.rotated_at).is_(None),
            sa.literal(row.rotated_at) >= sa.func.now() - LOST_RESPONSE_GRACE,
        )
        return (await db.exec(unused)).first() is not None

    def _build_row(
        self,
        user: User,
        family_id: uuid.UUID,
        refresh_token: str,
        device_id: str,
        platform: Platform,
        factor_proven_at: datetime | None,
    ) -> RefreshToken:
        return RefreshToken(
            user_id=user.id,
            family_id=family_id,
            token_hash=hash_token(refresh_token),
            device_id=device_id,
            platform=platform,
            expires_at=utc_now() + (self._staff_lifetime if user.role.is_staff else self._refresh_lifetime),
            factor_proven_at=factor_proven_at,
        )

    def _issue_tokens(self, user: User, row: RefreshToken, refresh_token: str) -> LoginTokens:
        access_token = self._issue_access(user, str(row.family_id), row.factor_proven_at)
        proof = self._tokens.issue_device_proof(email_addresses.account_key(user.email), row.device_id)
        return LoginTokens(*access_token, refresh_token, proof, row.platform, user)

    def _issue_access(self, user: User, family_id: str, factor_proven_at: datetime | None) -> AccessToken:
        token = self._tokens.issue(
            user_id=str(user.id),
            email=user.email,
            role=user.role.value,
            family_id=family_id,
            factor_proven_at=factor_proven_at,
        )
        return AccessToken(token, int(self._tokens.lifetime.total_seconds()))

    async def record_factor_proof(self, db: AsyncSession, user: User, identity: Identity) -> AccessToken:
        """Record inside the caller's transaction, which locks the account, that a login has just proven its factor.

        Returns its next access token; raises Unauthenticated where the login has ended.
        """
        now = utc_now()
        statement = sa.update(RefreshToken).where(is_current(identity)).values(factor_proven_at=now)
        if (await db.execute(statement.returning(col(RefreshToken.id)))).first() is None:
            raise errors.Unauthenticated("This login has ended; log in again.")
        return self._issue_access(user, identity.family_id, now)

    @staticmethod
    async def read_factor_proof(db: AsyncSession, identity: Identity) -> datetime | None:
        """Read when a login last proved its factor."""
        return (await db.exec(select(RefreshToken.factor_proven_at).where(is_current(identity)))).first()

    def is_known_device(self, proof: str, email: str, device_id: str) -> bool:
        """Return whether a proof shows that this device has logged in to the account of this address."""
        return self._tokens.is_device_proof(proof, email_addresses.account_key(email), device_id)

    async def end(self, identity: Identity) -> None:
        """End the login of the request."""
        await self._end_where(identity.user_id, col(RefreshToken.family_id) == uuid.UUID(identity.family_id))

    async def end_all(self, user_id: str) -> None:
        """End every login of a user."""
        await self._end_where(user_id, sa.true())

    async def end_device(self, user_id: str, device_id: str) -> None:
        """End the login of a device; raise NotFound where it has none."""
        if not await self._end_where(user_id, col(RefreshToken.device_id) == device_id):
            raise errors.NotFound()

    async def _end_where(self, user_id: str, condition: sa.ColumnElement[bool]) -> list[str]:
        async with self._database.transaction() as db:
            await lock_user(db, uuid.UUID(user_id))
            ended = await self._end(db, sa.and_(col(RefreshToken.user_id) == uuid.UUID(user_id), condition))
        await self._revocations.publish(ended)
        return ended

    async def end_all_within(self, db: AsyncSession, user_id: uuid.UUID) -> list[str]:
        """End every login of a user whose row is locked; pass the result to `publish_ended` after the commit."""
        return await self._end(db, col(RefreshToken.user_id) == user_id)

    async def end_others_within(self, db: AsyncSession, identity: Identity) -> list[str]:
        """End the other logins of an account whose row is locked; pass the result to `publish_ended`."""
        of_user = col(RefreshToken.user_id) == uuid.UUID(identity.user_id)
        return await self._end(db, of_user & (col(RefreshToken.family_id) != uuid.UUID(identity.family_id)))

    async def end_login_within(self, db: AsyncSession, user_id: uuid.UUID, login_id: uuid.UUID) -> list[str]:
        """End one login of a user whose row is locked; pass the result to `publish_ended`."""
        return await self._end(db, (col(RefreshToken.user_id) == user_id) & (col(RefreshToken.family_id) == login_id))

    async def publish_ended(self, ended: list[str]) -> None:
        """Publish to all processes which logins have ended; call it after the commit."""
        await self._revocations.publish(ended)

    async def delete_expired(self) -> int:
        """Delete tokens that expired more than a day ago, and push tokens without a login; return the first count."""
        statement = sa.delete(RefreshToken).where(col(RefreshToken.expires_at) < utc_now() - timedelta(days=1))
        has_login = sa.exists().where(col(RefreshToken.family_id) == col(DeviceToken.family_id))
        async with self._database.transaction() as db:
            deleted = len((await db.execute(statement.returning(col(RefreshToken.id)))).all())
            await db.execute(sa.delete(DeviceToken).where(~has_login))
            return deleted

    @staticmethod
    async def _end(
        db: AsyncSession, condition: sa.ColumnElement[bool], *, successor: uuid.UUID | None = None
    ) -> list[str]:
        """End logins; their push tokens go, or pass to the login `successor` of the same device."""
        statement = (
            sa.update(RefreshToken)
            .where(condition, ~col(RefreshToken.revoked))
            .values(revoked=True, revoked_at=sa.func.now())
            .returning(col(RefreshToken.family_id), col(RefreshToken.user_id), col(RefreshToken.device_id))
        )
        ended = (await db.execute(statement)).all()
        if ended:
            # A device without a login gets no push, even if an earlier login registered the token.
            devices = sa.tuple_(col(DeviceToken.user_id), col(DeviceToken.device_id))
            of_ended_logins = sa.or_(
                col(DeviceToken.family_id).in_({row.family_id for row in ended}),
                devices.in_({(row.user_id, row.device_id) for row in ended}),
            )
            if successor is None:
                await db.execute(sa.delete(DeviceToken).where(of_ended_logins))
            else:
                await db.execute(sa.update(DeviceToken).where(of_ended_logins).values(family_id=successor))
        return list({str(row.family_id) for row in ended})

    async def list_devices(self, identity: Identity) -> list[Device]:
        """List the devices that have a login, the latest used first, at most `MAX_LISTED_DEVICES`."""
        current = col(RefreshToken.rotated_at).is_(None) & ~col(RefreshToken.revoked)
        devices = (
            sa.select(
                col(RefreshToken.device_id),
                sa.func.max(col(RefreshToken.platform)).label("platform"),
                sa.func.min(col(RefreshToken.created_at)).label("signed_in_at"),
                sa.func.max(col(RefreshToken.created_at)).label("last_used_at"),
                sa.func.bool_or(col(RefreshToken.family_id) == uuid.UUID(identity.family_id)).label("is_current"),
            )
            .where(col(RefreshToken.user_id) == uuid.UUID(identity.user_id), ~col(RefreshToken.revoked))
            .group_by(col(RefreshToken.device_id))
            .having(sa.func.bool_or(current & (col(RefreshToken.expires_at) > sa.func.now())))
            .order_by(sa.desc("last_used_at"))
            .limit(MAX_LISTED_DEVICES)
        )
        async with self._database.transaction() as db:
            return [Device(*row) for row in (await db.execute(devices)).all()]


def _derive_child(parent: str, nonce: str | None) -> str:
    assert nonce is not None
    digest = hmac.new(bytes.fromhex(nonce), parent.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
