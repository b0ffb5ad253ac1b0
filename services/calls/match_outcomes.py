"""Outcomes of matches: read from their letters, counted in the records of both learners, and taken back.

The letters are decided where a room is closed (lua/close_room.lua). All that is done here is part of the transaction of
its cause: the end of the call, a block, a report.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
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

#: For how long after a call that was left early a block or a report of the partner forgives it; and how many are
#: forgiven in which time, for a block is undone as fast as it is made.
FORGIVEN_WITHIN = timedelta(days=1)
MAX_FORGIVEN, MAX_FORGIVEN_WITHIN = 2, timedelta(days=7)
_OUTCOMES = {
    "g": MatchOutcome.GOOD,
    "d": MatchOutcome.DECLINED,
    "n": MatchOutcome.NOT_JOINED,
    "l": MatchOutcome.LEFT_EARLY,
}
_BAD = list(_OUTCOMES.values())[1:]
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
    bad = sorted(user_id for user_id, outcome in sides.items() if outcome in _BAD)
    # Before any row of theirs: a report of the partner waits here, or is seen below.
    await _lock(db, bad)
    for user_id in bad:
        partner_id = call.user_b_id if user_id == call.user_a_id else call.user_a_id
        if sides[user_id] is MatchOutcome.LEFT_EARLY:
            sides[user_id] = await _weigh_flight(db, user_id, partner_id)
    call.user_a_outcome, call.user_b_outcome = sides[call.user_a_id], sides[call.user_b_id]
    db.add(call)
    return await _add(db, call, sides)


async def count_absence(db: AsyncSession, room_id: str, user_id: str) -> tuple[bool, Consequence | None]:
    """Count a match that has ended without a call as not joined by a learner; return whether it is, and what followed.

    It is not where it has an outcome already, or did not come of a search.
    """
    statement = select(CallSession).where(
        CallSession.room_id == room_id,
        CallSession.origin == CallOrigin.SEARCH,
        col(CallSession.ended_at).is_not(None),
        col(CallSession.connected_at).is_(None),
    )
    call = (await db.exec(statement.with_for_update())).one_or_none()
    me = uuid.UUID(user_id)
    sides = {call.user_a_id: call.user_a_outcome, call.user_b_id: call.user_b_outcome} if call else {}
    if call is None or me not in sides or sides[me] is not None:
        return False, None
    await _lock(db, [me])
    if me == call.user_a_id:
        call.user_a_outcome = MatchOutcome.NOT_JOINED
    else:
        call.user_b_outcome = MatchOutcome.NOT_JOINED
    db.add(call)
    return True, next(iter(await _add(db, call, {me: MatchOutcome.NOT_JOINED})), None)


async def _add(
    db: AsyncSession, call: CallSession, sides: Mapping[uuid.UUID, MatchOutcome | None]
) -> list[Consequence]:
    """Add outcomes of a call to the records of its learners; return what followed."""
    counted = {user_id: outcome for user_id, outcome in sides.items() if outcome in (MatchOutcome.GOOD, *_BAD)}
    assert call.ended_at is not None
    followed = []
    for row in await _lock_records(db, counted, create=[each for each, outcome in counted.items() if outcome in _BAD]):
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
    """Forgive a learner the calls of a day that they left early, of a partner whom they have blocked or reported.

    A match that they declined or did not join has nobody to flee from; and no rest ends by it.
    """
    # Not before the end of a match that is being counted.
    await _lock(db, [user_id])
    ended = []
    for mine, theirs, outcome in _SIDES:
        left = sa.select(col(CallSession.id)).where(
            *(col(mine) == user_id, col(theirs) == partner_id, col(outcome) == MatchOutcome.LEFT_EARLY),
            col(CallSession.ended_at) > sa.func.now() - FORGIVEN_WITHIN,
        )
        allowed = max(0, MAX_FORGIVEN - await _count_forgiven(db, user_id))
        oldest = left.order_by(col(CallSession.ended_at)).limit(allowed)
        ended += await _change(db, outcome, col(CallSession.id).in_(oldest), MatchOutcome.FORGIVEN)
    await _take_back(db, user_id, ended, ends_rest=False)


async def excuse(db: AsyncSession, room_id: str) -> None:
    """Take back the points of both for a match whose line was poor, as was found after its end."""
    of_room = col(CallSession.room_id) == room_id
    for mine, _, outcome in _SIDES:
        found = await db.execute(sa.select(col(mine)).where(of_room, col(outcome).in_(_BAD)))
        if (user_id := found.scalar()) is not None:
            await _lock(db, [user_id])
            ended = await _change(db, outcome, sa.and_(of_room, col(outcome).in_(_BAD)), None)
            await _take_back(db, user_id, ended, ends_rest=True)


async def _change(
    db: AsyncSession, outcome: MatchOutcome | None, which: sa.ColumnElement[bool], changed: MatchOutcome | None
) -> list[datetime]:
    """Change one side's outcome of matches; return when these ended."""
    statement = (
        sa.update(CallSession)
        .where(which, col(CallSession.ended_at).is_not(None))
        .values({col(outcome): changed})
        .returning(col(CallSession.ended_at))
        .execution_options(synchronize_session=False)
    )
    return [at for at in (await db.execute(statement)).scalars() if at is not None]


async def _take_back(db: AsyncSession, user_id: uuid.UUID, ended: list[datetime], *, ends_rest: bool) -> None:
    if not ended:
        return
    now = (await db.execute(sa.select(sa.func.now()))).scalar_one()
    for row in await _lock_records(db, [user_id]):
        record = _read(row)
        for at in ended:
            record = take_back(record, ended_at=at, now=now, ends_rest=ends_rest)
        _write(row, record)
        db.add(row)


async def _lock(db: AsyncSession, user_ids: Iterable[uuid.UUID]) -> None:
    for user_id in user_ids:
        await lock_name(db, f"bad matches of {user_id}")


async def _weigh_flight(db: AsyncSession, user_id: uuid.UUID, partner_id: uuid.UUID) -> MatchOutcome | None:
    """Weigh a call that was left early by what was done before its end, or while that was written.

    It is nothing where the partner had blocked the learner, and forgiven where that was the other way, or a report.
    """
    blocked = sa.exists().where(col(Block.blocker_id) == user_id, col(Block.blocked_id) == partner_id)
    reported = sa.exists().where(col(Report.reporter_id) == user_id, col(Report.reported_id) == partner_id)
    is_blocked = sa.exists().where(col(Block.blocker_id) == partner_id, col(Block.blocked_id) == user_id)
    has_fled, was_blocked = (await db.execute(sa.select(sa.or_(blocked, reported), is_blocked))).one()
    if was_blocked:
        return None
    if has_fled and await _count_forgiven(db, user_id) < MAX_FORGIVEN:
        return MatchOutcome.FORGIVEN
    return MatchOutcome.LEFT_EARLY


async def _count_forgiven(db: AsyncSession, user_id: uuid.UUID) -> int:
    """Count the calls of the last days that a learner was forgiven."""
    recent = col(CallSession.started_at) > sa.func.now() - MAX_FORGIVEN_WITHIN
    counted = 0
    for mine, _, outcome in _SIDES:
        forgiven = sa.and_(col(mine) == user_id, recent, col(outcome) == MatchOutcome.FORGIVEN)
        counted += (await db.execute(sa.select(sa.func.count()).select_from(CallSession).where(forgiven))).scalar_one()
    return counted


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
