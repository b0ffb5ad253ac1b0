"""Owns the record of calls: one row from `match_found` to the end, and each learner's history."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from models import CallSession, EndedBy, EnglishLevel, Profile
from services import paging
from services.paging import Page
from services.rooms import ROOM_SECONDS

#: Whole seconds from `connected_at` to now; 0 for a match that never became a call.
_DURATION = sa.func.coalesce(
    sa.cast(sa.func.floor(sa.extract("epoch", sa.func.now() - col(CallSession.connected_at))), sa.Integer), 0
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as one of its two sees it. `ended_by` is me, partner, timeout or error."""

    session: CallSession
    partner_id: uuid.UUID
    partner_name: str
    partner_avatar_url: str | None
    partner_level: EnglishLevel | None
    ended_by: str | None


class SessionsService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(
        self, session_id: str, room_id: str, user_a_id: str, user_b_id: str, topic: str | None, level: str
    ) -> None:
        """Write the row of a match."""
        async with self._database.transaction() as session:
            session.add(
                CallSession(
                    id=uuid.UUID(session_id),
                    room_id=room_id,
                    user_a_id=uuid.UUID(user_a_id),
                    user_b_id=uuid.UUID(user_b_id),
                    topic=topic,
                    level=level,
                )
            )

    async def connect(self, room_id: str) -> None:
        """Note that both have joined; the duration counts from here."""
        statement = (
            sa.update(CallSession)
            .where(col(CallSession.room_id) == room_id, col(CallSession.connected_at).is_(None))
            .values(connected_at=sa.func.now())
        )
        async with self._database.transaction() as session:
            await session.exec(statement)

    async def end(self, room_id: str, *, ended_by: str) -> bool:
        """End a call for good; `ended_by` is a user's id, `timeout` or `error`. Say whether it was still open."""
        if ended_by in (EndedBy.TIMEOUT, EndedBy.ERROR):
            by: Any = EndedBy(ended_by)
        else:
            by = sa.case(
                (col(CallSession.user_a_id) == uuid.UUID(ended_by), sa.cast(EndedBy.USER_A, CallSession.ended_by.type)),  # type: ignore[union-attr]
                else_=sa.cast(EndedBy.USER_B, CallSession.ended_by.type),  # type: ignore[union-attr]
            )
        statement = (
            sa.update(CallSession)
            .where(col(CallSession.room_id) == room_id, col(CallSession.ended_at).is_(None))
            .values(ended_at=sa.func.now(), ended_by=by, duration_seconds=_DURATION)
            .returning(col(CallSession.id))
        )
        async with self._database.transaction() as session:
            return (await session.exec(statement)).first() is not None

    async def end_stale(self) -> int:
        """End as `timeout` the calls that have outlived their room; say how many."""
        statement = (
            sa.update(CallSession)
            .where(
                col(CallSession.ended_at).is_(None),
                col(CallSession.started_at) < sa.func.now() - timedelta(seconds=ROOM_SECONDS),
            )
            .values(ended_at=sa.func.now(), ended_by=EndedBy.TIMEOUT, duration_seconds=_DURATION)
            .returning(col(CallSession.id))
        )
        async with self._database.transaction() as session:
            return len((await session.exec(statement)).all())

    async def list_of(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Call]:
        """Read a page of one's calls, newest first; raise RequestInvalid for a cursor that is none."""
        me = uuid.UUID(user_id)
        after = paging.decode(cursor) if cursor else None
        # One index walk for each side, `limit` rows of each at most; the union is sorted in memory.
        sides = []
        for side in (CallSession.user_a_id, CallSession.user_b_id):
            ids = sa.select(col(CallSession.id), col(CallSession.started_at)).where(col(side) == me)
            if after:
                ids = ids.where(sa.tuple_(col(CallSession.started_at), col(CallSession.id)) < sa.tuple_(*after))
            ids = ids.order_by(col(CallSession.started_at).desc(), col(CallSession.id).desc()).limit(limit + 1)
            sides.append(sa.select(ids.subquery()))
        newest = sa.union_all(*sides).subquery()
        statement = _calls(me).join(newest, newest.c.id == col(CallSession.id)).limit(limit + 1)
        async with self._database.transaction() as session:
            calls = [_call(row, me) for row in (await session.exec(statement)).all()]
        more = len(calls) > limit
        calls = calls[:limit]
        last = calls[-1].session if more else None
        return Page(calls, paging.encode(last.started_at, last.id) if last else None)

    async def read(self, user_id: str, session_id: str) -> Call:
        """Read one of one's calls; raise NotFound, also for a call between others."""
        me = uuid.UUID(user_id)
        statement = _calls(me).where(
            col(CallSession.id) == uuid.UUID(session_id),
            sa.or_(col(CallSession.user_a_id) == me, col(CallSession.user_b_id) == me),
        )
        async with self._database.transaction() as session:
            row = (await session.exec(statement)).first()
        if row is None:
            raise errors.NotFound()
        return _call(row, me)


def _calls(me: uuid.UUID) -> Any:
    """Select calls with the profile of the other, newest first."""
    partner_id = sa.case(
        (col(CallSession.user_a_id) == me, col(CallSession.user_b_id)), else_=col(CallSession.user_a_id)
    )
    return (
        select(CallSession, Profile)
        .join(Profile, col(Profile.user_id) == partner_id)
        .order_by(col(CallSession.started_at).desc(), col(CallSession.id).desc())
    )


def _call(row: tuple[CallSession, Profile], me: uuid.UUID) -> Call:
    session, partner = row
    ended_by: str | None = session.ended_by.value if session.ended_by else None
    if session.ended_by in (EndedBy.USER_A, EndedBy.USER_B):
        mine = (session.ended_by is EndedBy.USER_A) == (session.user_a_id == me)
        ended_by = "me" if mine else "partner"
    name = partner.display_name or partner.username or ""
    return Call(session, partner.user_id, name, partner.avatar_url, partner.english_level, ended_by)
