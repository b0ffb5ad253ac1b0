"""Owns sign-ins: one family of refresh tokens for each, from signing in on a device to its end.

A refresh token works once: it is exchanged for its child. The parent of a family's newest token, presented again within
a minute, gets the same child again, for a network may lose or delay an answer. Any other token that was already
exchanged ends the family, for then two parties hold it. The child is made of its parent and a nonce that only the
database knows, so it can be made again and is stored nowhere.

A device has one login of an account: the next one ends it in the same transaction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.tokens import AccessTokens, Identity
from models import DeviceToken, Platform, Profile, RefreshToken, User, email_addresses
from models.columns import now
from services.identity.login_revocations import LoginRevocations

__all__ = ["Device", "Identity", "LoginsService", "SignedIn"]

#: How long an exchanged token still answers with its child, while that child was not exchanged.
LOST_ANSWER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A device that may act. `refresh_token` is shown here once; the database keeps its hash."""

    access_token: str
    expires_in: int
    refresh_token: str
    #: Counts this device's wrong passwords apart from everybody else's.
    device_proof: str
    platform: Platform
    user: User


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is signed in; `current` is the one that asks."""

    device_id: str
    platform: Platform
    signed_in_at: datetime
    last_used_at: datetime
    current: bool


class LoginsService:
    def __init__(
        self, database: Database, tokens: AccessTokens, revocations: LoginRevocations, refresh_lifetime: timedelta
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._revocations = revocations
        self._refresh_lifetime = refresh_lifetime

    def identify(self, access_token: str) -> Identity:
        """Read an access token; raise Unauthenticated, also where its sign-in has ended."""
        identity = self._tokens.verify(access_token)
        self._revocations.check(identity.family_id)
        return identity

    async def open(self, db: AsyncSession, user: User, device_id: str, platform: str) -> tuple[SignedIn, list[str]]:
        """Begin a login inside the caller's transaction, which holds the account's row; end the device's earlier one.

        Returns the login and what ended; `announce` the latter after the commit.
        """
        family_id, refresh_token = uuid.uuid4(), secrets.token_urlsafe(32)
        earlier = sa.and_(col(RefreshToken.user_id) == user.id, col(RefreshToken.device_id) == device_id)
        # First: a device may have one token that can be used.
        ended = await self._end(db, earlier, heir=family_id)
        db.add(self._row(user.id, family_id, refresh_token, device_id, Platform(platform)))
        return self._signed_in(user, family_id, refresh_token, device_id, Platform(platform)), ended

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token for its child; raise RefreshTokenInvalid or RefreshTokenReused."""
        outcome: SignedIn | errors.ProductError = errors.RefreshTokenInvalid()
        ended: list[str] = []
        presented = select(RefreshToken).where(RefreshToken.token_hash == _hash(refresh_token))
        async with self._database.transaction() as db:
            found = (await db.exec(presented)).first()
            user = await lock_user(db, found.user_id) if found else None
            # Read again under the lock: another may have exchanged or ended it meanwhile.
            row = (await db.exec(presented.execution_options(populate_existing=True))).first()
            if user is None or row is None or row.revoked or row.expires_at <= now():
                pass
            elif row.rotated_at is None:
                outcome = await self._rotate(db, user, row, refresh_token)
            elif await self._lost_its_answer(db, row, refresh_token):
                child = _child(refresh_token, row.child_nonce)
                outcome = self._signed_in(user, row.family_id, child, row.device_id, row.platform)
            else:
                # This commits although the answer is an error.
                ended = await self._end(db, col(RefreshToken.family_id) == row.family_id)
                outcome = errors.RefreshTokenReused()
        await self._revocations.announce(ended)
        if isinstance(outcome, errors.ProductError):
            raise outcome
        return outcome

    async def _rotate(self, db: AsyncSession, user: User, row: RefreshToken, refresh_token: str) -> SignedIn:
        nonce = secrets.token_hex(32)
        child = _child(refresh_token, nonce)
        # In this order: a family may have one token that can be used.
        await db.execute(
            sa.update(RefreshToken)
            .where(col(RefreshToken.id) == row.id)
            .values(rotated_at=sa.func.now(), child_nonce=nonce)
        )
        db.add(self._row(row.user_id, row.family_id, child, row.device_id, row.platform))
        await db.execute(sa.update(Profile).where(col(Profile.user_id) == user.id).values(last_active_at=now()))
        return self._signed_in(user, row.family_id, child, row.device_id, row.platform)

    async def _lost_its_answer(self, db: AsyncSession, row: RefreshToken, refresh_token: str) -> bool:
        """Say whether this token's child is the family's newest, and less than a minute old."""
        child_hash = _hash(_child(refresh_token, row.child_nonce))
        # By PostgreSQL's clock: another worker, whose clock differs, may have exchanged it.
        unused = select(RefreshToken.id).where(
            RefreshToken.token_hash == child_hash,
            col(RefreshToken.rotated_at).is_(None),
            sa.literal(row.rotated_at) >= sa.func.now() - LOST_ANSWER,
        )
        return (await db.exec(unused)).first() is not None

    def _row(
        self, user_id: uuid.UUID, family_id: uuid.UUID, refresh_token: str, device_id: str, platform: Platform
    ) -> RefreshToken:
        return RefreshToken(
            user_id=user_id,
            family_id=family_id,
            token_hash=_hash(refresh_token),
            device_id=device_id,
            platform=platform,
            expires_at=now() + self._refresh_lifetime,
        )

    def _signed_in(
        self, user: User, family_id: uuid.UUID, refresh_token: str, device_id: str, platform: Platform
    ) -> SignedIn:
        access_token = self._tokens.issue(
            user_id=str(user.id), email=user.email, role=user.role.value, family_id=str(family_id)
        )
        proof = self._tokens.issue_device_proof(email_addresses.account_key(user.email), device_id)
        lifetime = int(self._tokens.lifetime.total_seconds())
        return SignedIn(access_token, lifetime, refresh_token, proof, platform, user)

    def knows_device(self, proof: str, email: str, device_id: str) -> bool:
        """Say whether a proof shows that this device has logged in to the account of this address."""
        return self._tokens.is_device_proof(proof, email_addresses.account_key(email), device_id)

    async def end(self, identity: Identity) -> None:
        """End the sign-in that asks."""
        await self._end_of(identity.user_id, col(RefreshToken.family_id) == uuid.UUID(identity.family_id))

    async def end_all(self, user_id: str) -> None:
        """End every sign-in of a user."""
        await self._end_of(user_id, sa.true())

    async def end_device(self, user_id: str, device_id: str) -> None:
        """End the sign-ins of one device; raise NotFound where it has none."""
        if not await self._end_of(user_id, col(RefreshToken.device_id) == device_id):
            raise errors.NotFound()

    async def _end_of(self, user_id: str, which: sa.ColumnElement[bool]) -> list[str]:
        async with self._database.transaction() as db:
            await lock_user(db, uuid.UUID(user_id))
            ended = await self._end(db, sa.and_(col(RefreshToken.user_id) == uuid.UUID(user_id), which))
        await self._revocations.announce(ended)
        return ended

    async def end_all_within(self, db: AsyncSession, user_id: uuid.UUID) -> list[str]:
        """End every sign-in of a user whose row the caller has locked; `announce` the answer after the commit."""
        return await self._end(db, col(RefreshToken.user_id) == user_id)

    async def announce(self, ended: list[str]) -> None:
        """Make known what `end_all_within` ended, once that is committed."""
        await self._revocations.announce(ended)

    async def forget_expired(self) -> int:
        """Delete tokens that expired more than a day ago, and say how many; forget devices nobody is signed in on."""
        statement = sa.delete(RefreshToken).where(col(RefreshToken.expires_at) < now() - timedelta(days=1))
        signed_in = sa.exists().where(col(RefreshToken.family_id) == col(DeviceToken.family_id))
        async with self._database.transaction() as db:
            forgotten = len((await db.execute(statement.returning(col(RefreshToken.id)))).all())
            await db.execute(sa.delete(DeviceToken).where(~signed_in))
            return forgotten

    @staticmethod
    async def _end(db: AsyncSession, which: sa.ColumnElement[bool], *, heir: uuid.UUID | None = None) -> list[str]:
        """End logins; their push tokens go, or become those of the login `heir`, on the same device."""
        statement = (
            sa.update(RefreshToken)
            .where(which, ~col(RefreshToken.revoked))
            .values(revoked=True, revoked_at=sa.func.now())
            .returning(col(RefreshToken.family_id), col(RefreshToken.user_id), col(RefreshToken.device_id))
        )
        ended = (await db.execute(statement)).all()
        if ended:
            # A device that is signed out is woken no more, whichever of its sign-ins registered it.
            devices = sa.tuple_(col(DeviceToken.user_id), col(DeviceToken.device_id))
            families = col(DeviceToken.family_id).in_({row.family_id for row in ended})
            of_devices = devices.in_({(row.user_id, row.device_id) for row in ended})
            theirs = sa.or_(families, of_devices)
            if heir is None:
                await db.execute(sa.delete(DeviceToken).where(theirs))
            else:
                await db.execute(sa.update(DeviceToken).where(theirs).values(family_id=heir))
        return list({str(row.family_id) for row in ended})

    async def devices(self, identity: Identity) -> list[Device]:
        """List the devices that are signed in, the latest used first."""
        current = col(RefreshToken.rotated_at).is_(None) & ~col(RefreshToken.revoked)
        families = (
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
        )
        async with self._database.transaction() as db:
            return [Device(*row) for row in (await db.execute(families)).all()]


async def find_by_email(db: AsyncSession, email: str) -> User | None:
    """Find the account of an address, however it is spelled."""
    statement = select(User).where(User.email_canonical == email_addresses.canonical(email))
    return (await db.exec(statement)).first()


async def lock_user(db: AsyncSession, user_id: uuid.UUID) -> User | None:
    """Read an account and hold its row: signing in, exchanging and ending happen one after another for each user."""
    statement = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return (await db.exec(statement.execution_options(populate_existing=True))).first()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _child(parent: str, nonce: str | None) -> str:
    assert nonce is not None
    digest = hmac.new(bytes.fromhex(nonce), parent.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
