"""Appeals against sanctions: submitted by the learner, decided by another administrator than the one who acted.

A learner who is kept out has a token, from the mail or from the refused login. It stays valid after the appeal, to read
its state. Appeals are free, and possible for six months (DSA, article 20(1)).
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from digests import hash_token
from jobs import send_appeal_decision
from models import Appeal, AppealStatus, AppealToken, Profile, Sanction, User
from services.identity.user_rows import lock_active_user
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.safety.sanctions import SanctionsService
from services.safety.standings import SanctionNotice

_OWN_DECISION = (
    "you issued this sanction; another administrator decides about the appeal, or an operator with"
    " `parlance appeals decide`"
)


class SubmittedAppeal(NamedTuple):
    """An appeal with what it is about, as administrators read it."""

    appeal: Appeal
    sanction: Sanction
    profile: Profile


class AppealsService:
    def __init__(self, database: Database, audit: AuditService, sanctions: SanctionsService, jobs: Jobs) -> None:
        self._database = database
        self._audit = audit
        self._sanctions = sanctions
        self._jobs = jobs

    async def read_notice(self, token: str) -> SanctionNotice:
        """Read the sanction of a token, with its appeal; raise TokenInvalid."""
        async with self._database.transaction() as db:
            sanction = await _find_by_token(db, token)
            appeal = (await db.exec(select(Appeal).where(Appeal.sanction_id == sanction.id))).first()
        return SanctionNotice(sanction, appeal)

    async def submit_with_token(self, token: str, text: str) -> Appeal:
        """Appeal against the sanction of a token; raise TokenInvalid, AlreadyAppealed or SanctionLifted."""
        async with self._database.transaction() as db:
            sanction = await _find_by_token(db, token)
            appeal = await self._submit_within(db, sanction, text)
            used = sa.update(AppealToken).where(col(AppealToken.token_hash) == hash_token(token)).values(used=True)
            await db.execute(used)
        return appeal

    async def submit(self, user_id: str, sanction_id: str, text: str) -> Appeal:
        """Appeal against an own sanction.

        Raises NotFound, AlreadyAppealed, SanctionLifted; TokenInvalid after the time for appeals.
        """
        statement = select(Sanction).where(
            Sanction.id == uuid.UUID(sanction_id), Sanction.user_id == uuid.UUID(user_id)
        )
        async with self._database.transaction() as db:
            sanction = (await db.exec(statement)).first()
            if sanction is None:
                raise errors.NotFound()
            return await self._submit_within(db, sanction, text)

    async def _submit_within(self, db: AsyncSession, sanction: Sanction, text: str) -> Appeal:
        # Under the lock of the account: nothing is written after its deletion, nor after the sanction was lifted.
        await lock_active_user(db, sanction.user_id, absent=errors.TokenInvalid)
        possible = sa.select(
            sa.literal(uuid.uuid4(), sa.Uuid), col(Sanction.id), col(Sanction.issued_by), sa.literal(text)
        ).where(
            col(Sanction.id) == sanction.id,
            col(Sanction.lifted_at).is_(None),
            col(Sanction.appeal_until) > sa.func.now(),
        )
        added = await db.execute(
            insert(Appeal)
            .from_select(["id", "sanction_id", "issued_by", "text"], possible)
            .on_conflict_do_nothing(index_elements=["sanction_id"])
            .returning(Appeal)
        )
        appeal: Appeal | None = added.scalars().first()
        if appeal is None:
            raise await _explain_refusal(db, sanction)
        await notifications.notify_admins(db, notification_templates.new_appeal(appeal, sanction))
        return appeal

    async def list_all(self, *, limit: int, status: str | None = None, cursor: str | None) -> Page[SubmittedAppeal]:
        """Read a page of appeals, or those of one status, newest first."""
        statement = _select_submitted()
        if status:
            statement = statement.where(col(Appeal.status) == AppealStatus(status))
        key = (col(Appeal.created_at), col(Appeal.id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=SubmittedAppeal)

    async def read(self, appeal_id: str) -> SubmittedAppeal:
        """Read an appeal; raise NotFound."""
        async with self._database.transaction() as db:
            return await _read_submitted(db, uuid.UUID(appeal_id))

    async def decide(self, actor_id: str | None, appeal_id: str, outcome: str, reason: str) -> SubmittedAppeal:
        """Decide an appeal, without an actor as an operator; `overturned` lifts the sanction in the same transaction.

        Raises NotFound, AppealClosed, and Forbidden for the administrator who issued the sanction.
        """
        actor = uuid.UUID(actor_id) if actor_id else None
        async with self._database.transaction() as db:
            found = await _read_submitted(db, uuid.UUID(appeal_id))
            if actor is not None and found.appeal.issued_by == actor:
                raise errors.Forbidden(_OWN_DECISION)
            user = await lock_active_user(db, found.sanction.user_id, absent=errors.AppealClosed)
            decided = (
                sa.update(Appeal)
                .where(col(Appeal.id) == found.appeal.id, col(Appeal.status) == AppealStatus.OPEN)
                .values(
                    status=AppealStatus(outcome), decided_at=sa.func.now(), decided_by=actor, decision_reason=reason
                )
                .returning(Appeal)
                .execution_options(populate_existing=True)
            )
            appeal: Appeal | None = (await db.execute(decided)).scalars().first()
            if appeal is None:
                raise errors.AppealClosed()
            sanction = found.sanction
            details = {"sanction": str(sanction.id), "outcome": outcome}
            await self._audit.write(db, actor, "appeal.decide", appeal.id, **details)
            if appeal.status is AppealStatus.OVERTURNED:
                sanction = await self._sanctions.lift_within(db, actor, user, sanction.id, reason)
            await notifications.notify_user(db, user.id, notification_templates.appeal_decided(appeal, sanction))
            await self._jobs.enqueue(db, send_appeal_decision, appeal_id=str(appeal.id))
        return SubmittedAppeal(appeal, sanction, found.profile)


def _select_submitted() -> sa.Select[Appeal, Sanction, Profile]:
    return (
        sa.select(Appeal, Sanction, Profile)
        .join(Sanction, col(Sanction.id) == col(Appeal.sanction_id))
        .join(Profile, col(Profile.user_id) == col(Sanction.user_id))
    )


async def _read_submitted(db: AsyncSession, appeal_id: uuid.UUID) -> SubmittedAppeal:
    row = (await db.execute(_select_submitted().where(col(Appeal.id) == appeal_id))).first()
    if row is None:
        raise errors.NotFound()
    return SubmittedAppeal(*row)


async def _find_by_token(db: AsyncSession, token: str) -> Sanction:
    """Find the sanction of a token that has not expired, by PostgreSQL's clock; raise TokenInvalid."""
    statement = (
        select(Sanction)
        .join(AppealToken, col(AppealToken.sanction_id) == col(Sanction.id))
        .join(User, col(User.id) == col(Sanction.user_id))
        .where(
            AppealToken.token_hash == hash_token(token),
            col(AppealToken.expires_at) > sa.func.now(),
            col(User.deleted_at).is_(None),
        )
    )
    sanction = (await db.exec(statement)).first()
    if sanction is None:
        raise errors.TokenInvalid("This link is wrong or has expired; log in to get a new one.")
    return sanction


async def _explain_refusal(db: AsyncSession, sanction: Sanction) -> errors.ProductError:
    """Return why an appeal cannot be submitted."""
    await db.refresh(sanction)
    earlier = (await db.exec(select(Appeal.id).where(Appeal.sanction_id == sanction.id))).first()
    if earlier is not None:
        return errors.AlreadyAppealed()
    if sanction.lifted_at is not None:
        return errors.SanctionLifted("This sanction was lifted; there is nothing to appeal against.")
    return errors.TokenInvalid("The six months in which an appeal was possible have passed.")
