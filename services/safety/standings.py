"""What an account's sanctions mean at a login: which one is in force, and the token by which the learner appeals."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from digests import hash_token
from models import Appeal, AppealStatus, AppealToken, AppealTokenSource, Sanction, SanctionKind


class SanctionNotice(NamedTuple):
    """A sanction as the learner reads it."""

    sanction: Sanction
    appeal: Appeal | None
    #: Submits an appeal and reads its state; None where no appeal is possible.
    token: str | None = None

    def is_appealable(self, now: datetime) -> bool:
        """Return whether an appeal is possible; PostgreSQL's clock decides about one that is submitted."""
        return self.appeal is None and self.sanction.lifted_at is None and now < self.sanction.appeal_until


def is_in_force() -> sa.ColumnElement[bool]:
    """Return the condition of a sanction that keeps its account out, by PostgreSQL's clock."""
    return sa.and_(
        col(Sanction.lifted_at).is_(None),
        sa.or_(col(Sanction.kind) == SanctionKind.BAN, col(Sanction.ends_at) > sa.func.now()),
    )


async def read_sanction_in_force(db: AsyncSession, user_id: uuid.UUID) -> Sanction | None:
    """Read the sanction that keeps an account out: the ban, else the suspension that ends last."""
    statement = (
        select(Sanction)
        .where(Sanction.user_id == user_id, is_in_force())
        .order_by(col(Sanction.ends_at).desc().nulls_first())
        .limit(1)
    )
    return (await db.exec(statement)).first()


async def read_sanctions_in_force(db: AsyncSession, user_id: uuid.UUID) -> list[uuid.UUID]:
    """Read the ids of all sanctions that keep an account out."""
    return list((await db.exec(select(Sanction.id).where(Sanction.user_id == user_id, is_in_force()))).all())


async def make_login_notice(db: AsyncSession, sanction: Sanction) -> SanctionNotice:
    """Make the notice of a refused login, with a new token where an appeal is possible."""
    appeal = (await db.exec(select(Appeal).where(Appeal.sanction_id == sanction.id))).first()
    if appeal is not None:
        return SanctionNotice(sanction, appeal)
    return SanctionNotice(sanction, None, await add_appeal_token(db, sanction, AppealTokenSource.LOGIN))


async def add_appeal_token(db: AsyncSession, sanction: Sanction, source: AppealTokenSource) -> str | None:
    """Make a token for an appeal, which a later login replaces; return None after the time for appeals."""
    token = secrets.token_urlsafe(32)
    values = {
        "id": sa.literal(uuid.uuid4(), sa.Uuid),
        "user_id": col(Sanction.user_id),
        "sanction_id": col(Sanction.id),
        "token_hash": sa.literal(hash_token(token)),
        "expires_at": col(Sanction.appeal_until),
        "source": sa.literal(source, AppealToken.__table__.c.source.type),  # type: ignore[attr-defined]
    }
    possible = sa.select(*values.values()).where(
        col(Sanction.id) == sanction.id,
        col(Sanction.lifted_at).is_(None),
        col(Sanction.appeal_until) > sa.func.now(),
    )
    statement = insert(AppealToken).from_select([*values], possible)
    added = await db.execute(
        statement.on_conflict_do_update(
            index_elements=["sanction_id"],
            index_where=sa.text("source = 'login'"),
            set_={"token_hash": statement.excluded.token_hash, "created_at": sa.func.now()},
        ).returning(col(AppealToken.id))
    )
    return token if added.first() is not None else None


async def close_appeal_within(db: AsyncSession, condition: sa.ColumnElement[bool], reason: str) -> None:
    """Close the open appeals that match, inside the caller's transaction."""
    await db.execute(
        sa.update(Appeal)
        .where(condition, col(Appeal.status) == AppealStatus.OPEN)
        .values(status=AppealStatus.CLOSED, decided_at=sa.func.now(), decision_reason=reason)
    )
