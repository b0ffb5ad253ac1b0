"""Accounts of the stores' review teams: one for the reviewer, one that `parlance review-partner` plays."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passwords import Passwords
from instants import utc_now
from models import AgeBand, AgeSource, Block, EmailChange, EnglishLevel, Profile, Report, Role, User, email_addresses
from services.calls.review_pool import PARTNER_ID, REVIEWER_ID
from services.identity.account_deletion import AccountDeletionService
from services.identity.address_claims import forget_mailed
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_methods import remove_login_methods
from services.identity.logins import LoginsService
from services.identity.user_rows import lock_user, refuse_reserved
from services.operations.audit import AuditService
from services.safety.consents import add_consents
from services.safety.sanctions import SanctionsService
from services.safety.standings import read_sanctions_in_force

#: How long a block or a report of the two by each other keeps them apart, so that a reviewer sees what it does.
APART = timedelta(minutes=15)


class ReviewAccount(NamedTuple):
    user_id: uuid.UUID
    email: str
    password: str


class _Role(NamedTuple):
    user_id: uuid.UUID
    mailbox: str
    username: str
    display_name: str


_REVIEWER = _Role(REVIEWER_ID, "store-review", "store_review", "Store Review")
_PARTNER = _Role(PARTNER_ID, "store-review-partner", "store_review_partner", "Review Partner")
_BOTH = (_REVIEWER, _PARTNER)
_PAIR = (REVIEWER_ID, PARTNER_ID)


class ReviewAccountsService:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        logins: LoginsService,
        grants: IdentityGrantsService,
        deletion: AccountDeletionService,
        audit: AuditService,
        sanctions: SanctionsService,
        versions: Mapping[str, str],
        site: str,
    ) -> None:
        """`versions` are the documents' current ones; `site` has the host of the accounts' addresses."""
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._grants = grants
        self._deletion = deletion
        self._audit = audit
        self._sanctions = sanctions
        self._versions = versions
        host = urlsplit(site).hostname or ""
        self._domain = host if "." in host and not host.replace(".", "").isdigit() else "example.com"

    async def seed(self) -> list[ReviewAccount]:
        """Make both accounts, or renew them: other passwords, past each gate, not sanctioned, deleted or apart.

        Raises EmailTaken where a learner has one of their addresses or names.
        """
        accounts = [
            ReviewAccount(each.user_id, f"{each.mailbox}@{self._domain}", secrets.token_urlsafe(15)) for each in _BOTH
        ]
        hashes = [await self._passwords.hash_new(each.password, "password") for each in accounts]
        ended: list[str] = []
        try:
            async with self._database.transaction() as db:
                for role, account, password_hash in zip(_BOTH, accounts, hashes, strict=True):
                    ended += await self._renew(db, role, account.email, password_hash)
                await _bring_together(db, timedelta())
        except IntegrityError:
            raise errors.EmailTaken(
                f"a learner has the address or the name of {accounts[0].email} or its partner"
            ) from None
        await self._logins.publish_ended(ended)
        return accounts

    async def _renew(self, db: AsyncSession, role: _Role, email: str, password_hash: str) -> list[str]:
        user = await lock_user(db, role.user_id)
        if user is None:
            user = User(id=role.user_id, email=email, password_hash=password_hash)
            db.add(user)
            await db.flush()
            db.add(Profile(user_id=role.user_id))
            await db.flush()
        # A reviewer may try what gets an account banned; the next review needs it again.
        for sanction_id in await read_sanctions_in_force(db, user.id):
            await self._sanctions.lift_within(db, None, user, sanction_id, "The account was renewed for a review.")
        user.email, user.email_canonical = email, email_addresses.to_canonical(email)
        user.password_hash, user.role, user.is_verified = password_hash, Role.STUDENT, True
        user.is_banned, user.ban_reason, user.banned_at, user.banned_by = False, None, None, None
        user.flagged_at, user.pairing_held_until, user.deleted_at = None, None, None
        user.age_band, user.age_source, user.age_declared_at = AgeBand.ADULT, AgeSource.OPERATOR, utc_now()
        accepted = user.accepted_versions or {}
        add_consents(db, user.id, {name: at for name, at in self._versions.items() if accepted.get(name) != at})
        profile = await db.get_one(Profile, role.user_id)
        profile.username, profile.display_name = role.username, role.display_name
        profile.english_level = EnglishLevel.INTERMEDIATE
        db.add_all([user, profile])
        await db.flush()
        # A reviewer tries the account page too.
        await remove_login_methods(db, self._grants, user)
        await forget_mailed(db, role.user_id)
        await db.execute(sa.delete(EmailChange).where(col(EmailChange.user_id) == role.user_id))
        await refuse_reserved(db, email, role.user_id)
        await self._audit.write(db, None, "review.seed", role.user_id)
        return await self._logins.end_all_within(db, role.user_id)

    async def enter_as_partner(self) -> ReviewAccount:
        """Give the partner's account another password, and return it; raise NotFound before `seed`."""
        password = secrets.token_urlsafe(15)
        password_hash = await self._passwords.hash_new(password, "password")
        async with self._database.transaction() as db:
            user = await lock_user(db, PARTNER_ID)
            if user is None or user.deleted_at is not None:
                raise errors.NotFound("there is no review partner; run `parlance seed --review`")
            user.password_hash = password_hash
            db.add(user)
            ended = await self._logins.end_all_within(db, PARTNER_ID)
            email = user.email
        await self._logins.publish_ended(ended)
        return ReviewAccount(PARTNER_ID, email, password)

    async def bring_together(self) -> None:
        """Remove blocks and reports of the two by each other that are old enough (`APART`)."""
        async with self._database.transaction() as db:
            await _bring_together(db, APART)

    async def remove(self) -> None:
        """Delete both accounts, as learners delete theirs; raise NotFound where there is none."""
        ended: list[str] = []
        async with self._database.transaction() as db:
            removed = 0
            for user_id in _PAIR:
                user = await lock_user(db, user_id)
                if user is not None and user.deleted_at is None:
                    removed += 1
                    ended += await self._deletion.delete_within(db, user_id)
                    await self._audit.write(db, None, "review.remove", user_id)
            if not removed:
                raise errors.NotFound("there are no review accounts")
        await self._logins.publish_ended(ended)


async def _bring_together(db: AsyncSession, age: timedelta) -> None:
    before = utc_now() - age
    await db.execute(
        sa.delete(Block).where(
            col(Block.blocker_id).in_(_PAIR), col(Block.blocked_id).in_(_PAIR), col(Block.created_at) <= before
        )
    )
    await db.execute(
        sa.delete(Report).where(
            col(Report.reporter_id).in_(_PAIR), col(Report.reported_id).in_(_PAIR), col(Report.created_at) <= before
        )
    )
