"""Ways to log in: those that this installation offers, and those of an account, of which one stays."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import EmailChange, LinkedIdentity, Passkey, User
from services.identity.identity_grants import IdentityGrantsService
from services.identity.user_rows import is_undoable


@dataclass(frozen=True, slots=True)
class ProviderOffer:
    """An identity provider. `client_ids` are those that its ID tokens may be issued to, by platform."""

    provider: str
    name: str
    has_web_flow: bool
    client_ids: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class LoginOffer:
    """Ways to log in that an installation offers. `passkey_domain` is None where passkeys are not offered."""

    has_email_codes: bool
    passkey_domain: str | None
    providers: Sequence[ProviderOffer]


@dataclass(frozen=True, slots=True)
class AccountLoginMethods:
    """`undoable_change` is the newest change of the address that its earlier address can undo."""

    user: User
    identities: Sequence[LinkedIdentity]
    passkeys: Sequence[Passkey]
    undoable_change: EmailChange | None


class LoginMethodsService:
    def __init__(self, database: Database, offer: LoginOffer) -> None:
        self._database = database
        self.offer = offer

    async def read(self, user_id: str) -> AccountLoginMethods:
        """Read an account's ways to log in; raise Unauthenticated where it is deleted."""
        mine = uuid.UUID(user_id)
        identities = select(LinkedIdentity).where(LinkedIdentity.user_id == mine)
        passkeys = select(Passkey).where(Passkey.user_id == mine)
        change = select(EmailChange).where(EmailChange.user_id == mine, is_undoable())
        async with self._database.transaction() as db:
            user = await db.get(User, mine)
            if user is None or user.deleted_at is not None:
                raise errors.Unauthenticated()
            return AccountLoginMethods(
                user=user,
                identities=(await db.exec(identities.order_by(col(LinkedIdentity.created_at)))).all(),
                passkeys=(await db.exec(passkeys.order_by(col(Passkey.created_at)))).all(),
                undoable_change=(await db.exec(change.order_by(col(EmailChange.created_at).desc()).limit(1))).first(),
            )


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


async def remove_login_methods(
    db: AsyncSession, grants: IdentityGrantsService, user: User, *, since: datetime | None = None
) -> bool:
    """Remove an account's passkeys and identities, `since` a time where one is given; return whether there were any.

    Call it with the account locked. Passkeys of staff stay: they are a second factor, which who has the mailbox alone
    must not remove; an operator does.
    """
    identities, passkeys = col(LinkedIdentity.user_id) == user.id, col(Passkey.user_id) == user.id
    if user.role.is_staff:
        passkeys = sa.false()
    if since is not None:
        identities &= col(LinkedIdentity.created_at) > since
        passkeys &= col(Passkey.created_at) > since
    removed = (await db.execute(sa.delete(Passkey).where(passkeys).returning(col(Passkey.id)))).all()
    return bool(await grants.remove_within(db, identities) or removed)
