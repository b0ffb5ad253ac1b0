"""Outcomes of matches: read from their letters, counted in the records of both learners, and taken back.

The letters are decided where a room is closed (lua/close_room.lua). All that is done here is part of the transaction of
its cause: the end of the call, a block, a report.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import lock_name
from models import Block, CallOrigin, CallSession, MatchOutcome, PairingRecord, Report, User
from services.calls.pairing_records import Consequence, Record, add_outcome, take_back
from services.messaging import notification_templates, notifications

log = logging.getLogger("parlance.calls")

#: For how long after a match a block or a report of the partner takes its point back.
TAKE_BACK_WITHIN = timedelta(days=1)
_OUTCOMES = {
    "g": MatchOutcome.GOOD,
    "d": MatchOutcome.DECLINED,
    "n": MatchOutcome.NOT_JOINED,
    "l": MatchOutcome.LEFT_EARLY,
}
_BAD = [outcome for outcome in MatchOutcome if outcome is not MatchOutcome.GOOD]
#: Columns of one side of a match, each: the learner, the partner, the learner's outcome.
_SIDES = (
    (CallSession.user_a_id, CallSession.user_b_id, CallSession.user_a_outcome),
    (CallSession.user_b_id, CallSession.user_a_id, CallSession.user_b_outcome),
)


def read_letters(letters: str) -> tuple[MatchOutcome | None, MatchOutcome | None]:
    """Return the outcomes of `user_a` and `user_b`; None for what is not counted, or is not known."""
    return _OUTCOMES.get(letters[:1]), _OUTCOMES.get(letters[1:2])


async def count(db: AsyncSession, call: CallSession) -> list[Consequence]:
    """Count the outcomes of a call that has just ended; return what followed, a warning or a rest each."""
    if call.origin is not CallOrigin.SEARCH:
        call.user_a_outcome = call.user_b_outcome = None
    sides = {call.user_a_id: call.user_a_outcome, call.user_b_id: call.user_b_outcome}
    bad = sorted(user_id for user_id, outcome in sides.items() if outcome not in (None, MatchOutcome.GOOD))
    # Before any row of theirs: a report of the partner waits here, or is seen below.
    await _lock(db, bad)
    for user_id in bad:
        partner_id = call.user_b_id if user_id == call.user_a_id else call.user_a_id
        if await _has_turned_away(db, user_id, partner_id):
            sides[user_id] = None
    call.user_a_outcome, call.user_b_outcome = sides[call.user_a_id], sides[call.user_b_id]
    db.add(call)
    counted = {user_id: outcome for user_id, outcome in sides.items() if outcome is not None}
    assert call.ended_at is not None
    followed = []
    for row in await _lock_records(db, counted, create=[each for each in bad if each in counted]):
        record, consequence = add_outcome(
            _read(row), counted[row.user_id], began_at=call.started_at, ended_at=call.ended_at
        )
        _write(row, record)
        db.add(row)
        if consequence is not None:
            followed.append(consequence)
            await _notify(db, row, consequence, call)
    return followed


async def forgive(db: AsyncSession, user_id: uuid.UUID, partner_id: uuid.UUID) -> None:
    """Take back the points of a learner's matches of the last day with a partner whom they have blocked or reported."""
    # Not before the end of a match that is being counted.
    await _lock(db, [user_id])
    ended = []
    for mine, theirs, outcome in _SIDES:
        is_theirs = sa.and_(col(mine) == user_id, col(theirs) == partner_id, col(outcome).in_(_BAD))
        recent = col(CallSession.ended_at) > sa.func.now() - TAKE_BACK_WITHIN
        ended += await _erase(db, outcome, sa.and_(is_theirs, recent))
    await _take_back(db, user_id, ended)


async def excuse(db: AsyncSession, room_id: str) -> None:
    """Take back the points of both for a match whose line was poor, as was found after its end."""
    of_room = col(CallSession.room_id) == room_id
    for mine, _, outcome in _SIDES:
        found = await db.execute(sa.select(col(mine)).where(of_room, col(outcome).in_(_BAD)))
        if (user_id := found.scalar()) is not None:
            await _lock(db, [user_id])
            await _take_back(db, user_id, await _erase(db, outcome, sa.and_(of_room, col(outcome).in_(_BAD))))


async def _erase(db: AsyncSession, outcome: MatchOutcome | None, which: sa.ColumnElement[bool]) -> list[datetime]:
    """Set one side's outcome of matches to nothing; return when these ended."""
    statement = (
        sa.update(CallSession)
        .where(which, col(CallSession.ended_at).is_not(None))
        .values({col(outcome): None})
        .returning(col(CallSession.ended_at))
        .execution_options(synchronize_session=False)
    )
    return [at for at in (await db.execute(statement)).scalars() if at is not None]


async def _take_back(db: AsyncSession, user_id: uuid.UUID, ended: list[datetime]) -> None:
    if not ended:
        return
    now = (await db.execute(sa.select(sa.func.now()))).scalar_one()
    for row in await _lock_records(db, [user_id]):
        record = _read(row)
        for at in ended:
            record = take_back(record, ended_at=at, now=now)
        _write(row, record)
        db.add(row)


async def _lock(db: AsyncSession, user_ids: Iterable[uuid.UUID]) -> None:
    for user_id in user_ids:
        await lock_name(db, f"bad matches of {user_id}")


async def _has_turned_away(db: AsyncSession, user_id: uuid.UUID, partner_id: uuid.UUID) -> bool:
    """Whether a learner has blocked or reported a partner, before the end of the match or while it was written."""
    blocked = sa.exists().where(col(Block.blocker_id) == user_id, col(Block.blocked_id) == partner_id)
    reported = sa.exists().where(col(Report.reporter_id) == user_id, col(Report.reported_id) == partner_id)
    return bool((await db.execute(sa.select(sa.or_(blocked, reported)))).scalar())


async def _lock_records(
    db: AsyncSession, user_ids: Iterable[uuid.UUID], *, create: Iterable[uuid.UUID] = ()
) -> list[PairingRecord]:
    """Lock the records of learners, by their ids, so that two ends cannot wait for each other in a circle.

    Those of `create` get one where they have none; a deleted account never does.
    """
    for user_id in create:
        mine = sa.select(col(User.id), sa.literal(0.0), sa.literal(0))
        await db.execute(
            insert(PairingRecord)
            .from_select(["user_id", "points", "rests"], mine.where(col(User.id) == user_id, User.deleted_at.is_(None)))  # type: ignore[union-attr]
            .on_conflict_do_nothing()
        )
    statement = (
        select(PairingRecord)
        .where(col(PairingRecord.user_id).in_(list(user_ids)))
        .order_by(col(PairingRecord.user_id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list((await db.exec(statement)).all())


def _read(row: PairingRecord) -> Record:
    return Record(row.points, row.points_at, row.warned_at, row.resting_until, row.rests)


def _write(row: PairingRecord, record: Record) -> None:
    row.points, row.points_at, row.warned_at, row.resting_until, row.rests = record


async def _notify(db: AsyncSession, row: PairingRecord, consequence: Consequence, call: CallSession) -> None:
    if consequence == "warning":
        template = notification_templates.pairing_warning(call.id)
    else:
        assert row.resting_until is not None
        template = notification_templates.pairing_rest(call.id, row.resting_until)
    log.info("pairing_%s user_id=%s call_id=%s points=%.2f", consequence, row.user_id, call.id, row.points)
    await notifications.notify_user(db, row.user_id, template)
