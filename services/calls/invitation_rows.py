"""Rows of invitations: who may invite whom, one open invitation of a pair, and one end of each."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.jobs import enqueue_each
from jobs import announce_invitation_end
from models import Invitation, InvitationState
from services.calls.outcomes import OverReason

#: Both have asked for partnership, and neither has blocked or reported the other.
_ARE_PARTNERS = """
    2 = (SELECT count(*) FROM partner_wishes WHERE (user_id, wished_id) IN ((:one, :other), (:other, :one)))
    AND NOT EXISTS (SELECT FROM blocks WHERE (blocker_id, blocked_id) IN ((:one, :other), (:other, :one)))
    AND NOT EXISTS (SELECT FROM reports WHERE (reporter_id, reported_id) IN ((:one, :other), (:other, :one)))"""
_SELECT_PARTNER = sa.text(f"""
    SELECT {_ARE_PARTNERS} FROM users
    WHERE id = :other AND NOT is_banned AND deleted_at IS NULL AND coalesce(suspended_until <= now(), true)
""")  # noqa: S608
_LOCK_USERS = sa.text("SELECT id FROM users WHERE id IN (:one, :other) ORDER BY id FOR SHARE")
_LOCK_INVITATION = sa.text(f"""
    SELECT state = 'open' AND expires_at > now(), {_ARE_PARTNERS} FROM invitations WHERE id = :id FOR UPDATE
""")  # noqa: S608


class InvitationRow(NamedTuple):
    """An invitation; `left` is its time by PostgreSQL's clock, None where it is not open any more."""

    id: str
    inviter_id: str
    invitee_id: str
    inviter_socket: str
    topic: str | None
    state: InvitationState
    expires_at: datetime
    left: timedelta | None

    @property
    def is_open(self) -> bool:
        return self.left is not None

    @property
    def users(self) -> tuple[str, str]:
        return self.inviter_id, self.invitee_id


class EndedInvitation(NamedTuple):
    """An invitation that is over, and why."""

    id: str
    inviter_id: str
    invitee_id: str
    reason: OverReason


_IS_OPEN = col(Invitation.state) == InvitationState.OPEN
_COLUMNS = (
    col(Invitation.id),
    col(Invitation.inviter_id),
    col(Invitation.invitee_id),
    col(Invitation.inviter_socket),
    col(Invitation.topic),
    col(Invitation.state),
    col(Invitation.expires_at),
    sa.case((_IS_OPEN, col(Invitation.expires_at) - sa.func.now())),
)


def _build(row: Any) -> InvitationRow:
    found_id, inviter_id, invitee_id, socket_id, topic, state, expires_at, left = row
    open_for = left if left is not None and left > timedelta() else None
    return InvitationRow(str(found_id), str(inviter_id), str(invitee_id), socket_id, topic, state, expires_at, open_for)


async def is_partner(db: AsyncSession, user_id: str, other_id: str) -> bool:
    """Whether two learners are partners, and the second may be met."""
    values = {"one": uuid.UUID(user_id), "other": uuid.UUID(other_id)}
    return bool((await db.execute(_SELECT_PARTNER, values)).scalar())


async def add(
    db: AsyncSession,
    invitation_id: str,
    inviter_id: str,
    invitee_id: str,
    socket_id: str,
    topic: str | None,
    lasts: timedelta,
) -> InvitationRow | None:
    """Write an open invitation; None where the pair or the inviter has one."""
    values = {
        "id": uuid.UUID(invitation_id),
        "inviter_id": uuid.UUID(inviter_id),
        "invitee_id": uuid.UUID(invitee_id),
        "inviter_socket": socket_id,
        "topic": topic,
        "expires_at": sa.func.now() + lasts,
    }
    added = await db.execute(insert(Invitation).values(**values).on_conflict_do_nothing().returning(*_COLUMNS))
    row = added.first()
    return _build(row) if row else None


async def read(db: AsyncSession, *conditions: sa.ColumnElement[bool]) -> list[InvitationRow]:
    """Read invitations."""
    return [_build(row) for row in await db.execute(sa.select(*_COLUMNS).where(*conditions))]


async def read_one(db: AsyncSession, invitation_id: str) -> InvitationRow | None:
    """Read an invitation."""
    found = await read(db, col(Invitation.id) == uuid.UUID(invitation_id))
    return found[0] if found else None


async def read_in_the_way(db: AsyncSession, inviter_id: str, invitee_id: str) -> list[InvitationRow]:
    """Read what keeps an invitation from being written: those that are open of the pair, and of the inviter."""
    me, other = uuid.UUID(inviter_id), uuid.UUID(invitee_id)
    mine = col(Invitation.inviter_id) == me
    theirs = sa.and_(col(Invitation.inviter_id) == other, col(Invitation.invitee_id) == me)
    return await read(db, _IS_OPEN, sa.or_(mine, theirs))


async def read_open_to(db: AsyncSession, invitee_id: str) -> list[InvitationRow]:
    """Read the open invitations to a user."""
    return [each for each in await read(db, _IS_OPEN, col(Invitation.invitee_id) == uuid.UUID(invitee_id)) if each.left]


async def read_all_open(db: AsyncSession, socket_prefix: str = "") -> list[InvitationRow]:
    """Read the open invitations, those alone that were sent by sockets with a prefix."""
    return await read(db, _IS_OPEN, col(Invitation.inviter_socket).startswith(socket_prefix, autoescape=True))


async def end(
    db: AsyncSession,
    state: InvitationState,
    reason: OverReason,
    *conditions: sa.ColumnElement[bool],
    room_id: str | None = None,
) -> list[EndedInvitation]:
    """End the open invitations that match, once; return them."""
    statement = (
        sa.update(Invitation)
        .where(_IS_OPEN, *conditions)
        .values(state=state, answered_at=sa.func.now(), room_id=room_id)
        .returning(*_COLUMNS[:3])
    )
    found = await db.execute(statement)
    return [EndedInvitation(str(row[0]), str(row[1]), str(row[2]), reason) for row in found]


async def end_one(
    db: AsyncSession,
    state: InvitationState,
    reason: OverReason,
    invitation_id: str,
    *conditions: sa.ColumnElement[bool],
) -> EndedInvitation | None:
    """End an invitation, if it is open; None where it was not."""
    found = await end(db, state, reason, col(Invitation.id) == uuid.UUID(invitation_id), *conditions)
    return found[0] if found else None


async def end_between(db: AsyncSession, user_id: uuid.UUID, other_id: uuid.UUID | None = None) -> None:
    """End a user's open invitations, those with another user alone, inside the caller's transaction.

    For a block, the end of a partnership, a ban and the deletion of an account: both are informed after the commit.
    """
    inviter, invitee = col(Invitation.inviter_id), col(Invitation.invitee_id)
    if other_id is None:
        pair = sa.or_(inviter == user_id, invitee == user_id)
    else:
        pair = sa.or_(
            sa.and_(inviter == user_id, invitee == other_id), sa.and_(inviter == other_id, invitee == user_id)
        )
    await announce_within(db, await end(db, InvitationState.CANCELLED, "unavailable", pair))


async def announce_within(db: AsyncSession, ended: Iterable[EndedInvitation]) -> None:
    """Have both learners of ended invitations informed after the commit."""
    await enqueue_each(
        db,
        announce_invitation_end,
        [
            {
                "invitation_id": each.id,
                "inviter_id": each.inviter_id,
                "invitee_id": each.invitee_id,
                "reason": each.reason,
            }
            for each in ended
        ],
    )


class Lock(NamedTuple):
    """What an acceptance finds: whether the invitation is open, and whether the two are partners."""

    is_open: bool
    are_partners: bool


async def lock(db: AsyncSession, row: InvitationRow) -> Lock:
    """Lock an invitation and its learners until the end of the transaction."""
    one, other = map(uuid.UUID, row.users)
    # The learners first, as where an account is deleted or banned.
    await db.execute(_LOCK_USERS, {"one": one, "other": other})
    values = {"id": uuid.UUID(row.id), "one": one, "other": other}
    found = (await db.execute(_LOCK_INVITATION, values)).first()
    return Lock(*found) if found else Lock(is_open=False, are_partners=False)
