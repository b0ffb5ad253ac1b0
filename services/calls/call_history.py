"""History of calls: one row from `match_found` to the end, and the pages that each participant reads."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import (
    AgeBand,
    CallOrigin,
    CallSession,
    EndedBy,
    EnglishLevel,
    FeedbackPace,
    Level,
    MatchOutcome,
    Profile,
    SessionRating,
    User,
)
from services.calls import feedback, match_outcomes, streaks
from services.calls.pairing_records import Consequence
from services.calls.room_state import CallState
from services.calls.rooms import ROOM_SECONDS
from services.pagination import Page, read_page, seek
from services.safety.gates import DEFAULT_BAND, Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar

#: Name shown for a learner whose account is deleted.
FORMER_LEARNER = "Former learner"


@dataclass(frozen=True, slots=True)
class Call:
    """A call from the point of view of one participant."""

    session: CallSession
    partner_id: uuid.UUID
    partner_name: str
    partner_avatar_url: str | None
    partner_level: EnglishLevel | None
    ended_by: Literal["me", "partner", "timeout", "error"] | None
    my_rating: int | None


#: Both rows are locked until the row of the call is there: who loses the right to meet others meanwhile is refused, or
#: waits, and `PairingChecks` finds the call.
_START = sa.text(f"""
    WITH both_users AS MATERIALIZED (
        SELECT * FROM users WHERE id IN (:user_a_id, :user_b_id) ORDER BY id FOR SHARE
    )
    INSERT INTO call_sessions (id, room_id, user_a_id, user_b_id, topic, level, waited_ms, origin)
    SELECT :id, :room_id, :user_a_id, :user_b_id, :topic, :level, CAST(:waited_ms AS integer),
        CAST(:origin AS call_origin)
    WHERE 2 = (
        SELECT count(*) FROM both_users
        WHERE coalesce(age_band, '{DEFAULT_BAND}') = CAST(:pool AS age_band)
            AND NOT is_banned AND deleted_at IS NULL AND coalesce(suspended_until <= now(), true)
            AND coalesce(pairing_held_until <= now(), true) AND {Gates.CONDITION}
    )
    RETURNING id
""")  # noqa: S608


class CallHistoryService:
    def __init__(self, database: Database, gates: Gates, picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT) -> None:
        self._database = database
        self._gates = gates
        self._picture_hide_weight = picture_hide_weight
        #: How learners kept the matches that this process has ended, and the warnings and rests that followed.
        self.outcomes: Counter[MatchOutcome] = Counter()
        self.consequences: Counter[Consequence] = Counter()

    async def start(
        self,
        session_id: str,
        room_id: str,
        user_a_id: str,
        user_b_id: str,
        topic: str | None,
        level: Level,
        waited_ms: int | None,
        pool: AgeBand,
    ) -> bool:
        """Write the row of a match, if both still may meet others, and each other; return whether it is written.

        `pool` is that of the queue they were found in; `waited_ms` is how long `user_a` had searched, None where that
        is not known.
        """
        async with self._database.transaction() as db:
            return await self.start_within(
                db, session_id, room_id, user_a_id, user_b_id, topic, level, waited_ms, pool, CallOrigin.SEARCH
            )

    async def start_within(
        self,
        db: AsyncSession,
        session_id: str,
        room_id: str,
        user_a_id: str,
        user_b_id: str,
        topic: str | None,
        level: Level,
        waited_ms: int | None,
        pool: AgeBand,
        origin: CallOrigin,
    ) -> bool:
        """Do what `start` does inside the caller's transaction."""
        values = {
            "id": uuid.UUID(session_id),
            "room_id": room_id,
            "user_a_id": uuid.UUID(user_a_id),
            "user_b_id": uuid.UUID(user_b_id),
            "topic": topic,
            "level": level,
            "waited_ms": waited_ms,
            "pool": pool.value,
            "origin": origin.value,
        }
        written = await db.execute(_START, {**values, **self._gates.condition_parameters})
        return written.first() is not None

    async def list_forbidden_rooms(self, user_id: str) -> list[str]:
        """List the rooms of a user's open calls whose two learners are of different age bands, or too young."""
        one, other = aliased(User), aliased(User)
        bands = [sa.func.coalesce(col(each.age_band), DEFAULT_BAND) for each in (one, other)]
        is_forbidden: list[sa.ColumnElement[bool]] = [bands[0] != bands[1]]
        if self._gates.is_age_required:
            is_forbidden += [band.not_in(self._gates.allowed_bands) for band in bands]
        me = uuid.UUID(user_id)
        statement = (
            sa.select(col(CallSession.room_id))
            .join(one, col(one.id) == col(CallSession.user_a_id))
            .join(other, col(other.id) == col(CallSession.user_b_id))
            .where(
                sa.or_(col(CallSession.user_a_id) == me, col(CallSession.user_b_id) == me),
                col(CallSession.ended_at).is_(None),
                col(CallSession.started_at) > sa.func.now() - timedelta(seconds=ROOM_SECONDS),
                sa.or_(*is_forbidden),
            )
        )
        async with self._database.transaction() as db:
            return list((await db.execute(statement)).scalars().all())

    async def connect(self, room_id: str, *, elapsed: timedelta = timedelta()) -> None:
        """Record that both joined `elapsed` ago; the duration counts from then."""
        statement = (
            sa.update(CallSession)
            .where(
                col(CallSession.room_id) == room_id,
                col(CallSession.connected_at).is_(None),
                col(CallSession.ended_at).is_(None),
            )
            .values(connected_at=sa.func.greatest(sa.func.now() - elapsed, col(CallSession.started_at)))
        )
        async with self._database.transaction() as db:
            await db.exec(statement)

    async def end(
        self,
        room_id: str,
        *,
        ended_by: str,
        duration: timedelta | None = None,
        elapsed: timedelta = timedelta(),
        outcomes: str = "",
    ) -> bool:
        """End a call for good and count it for both; `ended_by` is a user's id, `timeout` or `error`.

        It ended `elapsed` ago; `duration` is how long both were there, where its row does not say when they came.
        `outcomes` are those of `CallEnd`. Returns whether it was still open: a second end changes nothing.
        """
        if ended_by in (EndedBy.TIMEOUT, EndedBy.ERROR):
            by: EndedBy | sa.ColumnElement[EndedBy] = EndedBy(ended_by)
        else:
            by = sa.case(
                (col(CallSession.user_a_id) == uuid.UUID(ended_by), sa.cast(EndedBy.USER_A, CallSession.ended_by.type)),  # type: ignore[union-attr]
                else_=sa.cast(EndedBy.USER_B, CallSession.ended_by.type),  # type: ignore[union-attr]
            )
        return await self._end(by, col(CallSession.room_id) == room_id, duration, elapsed, outcomes) > 0

    async def list_open_calls(self) -> list[CallState]:
        """List the calls that have not ended and may still have a room."""
        recent = col(CallSession.started_at) > sa.func.now() - timedelta(seconds=ROOM_SECONDS)
        return await self._read_states(col(CallSession.ended_at).is_(None), recent)

    async def list_calls_of_rooms(self, room_ids: Iterable[str]) -> list[CallState]:
        """List the calls of some rooms."""
        return await self._read_states(col(CallSession.room_id).in_(list(room_ids)))

    async def _read_states(self, *conditions: sa.ColumnElement[bool]) -> list[CallState]:
        ages = (sa.func.now() - col(each) for each in (CallSession.started_at, CallSession.connected_at))
        columns = (CallSession.room_id, CallSession.id, CallSession.user_a_id, CallSession.user_b_id)
        statement = sa.select(*map(col, columns), *ages, col(CallSession.ended_by)).where(*conditions)
        async with self._database.transaction() as db:
            rows = (await db.execute(statement)).all()
        return [CallState(row[0], str(row[1]), (str(row[2]), str(row[3])), *row[4:]) for row in rows]

    async def end_stale(self) -> int:
        """End as `timeout` the calls that have outlived their room; return how many."""
        stale = col(CallSession.started_at) < sa.func.now() - timedelta(seconds=ROOM_SECONDS)
        async with self._database.transaction() as db:
            found = select(CallSession.id).where(stale, col(CallSession.ended_at).is_(None))
            ids = (await db.exec(found.order_by(col(CallSession.started_at)))).all()
        # One by one: a transaction that held the profiles of many calls could wait in a circle with another.
        return sum([await self._end(EndedBy.TIMEOUT, col(CallSession.id) == each) for each in ids])

    async def _end(
        self,
        by: EndedBy | sa.ColumnElement[EndedBy],
        which: sa.ColumnElement[bool],
        duration: timedelta | None = None,
        elapsed: timedelta = timedelta(),
        outcomes: str = "",
    ) -> int:
        now = sa.func.now() - elapsed
        connected: sa.SQLColumnExpression[datetime | None] = col(CallSession.connected_at)
        if duration is not None:
            connected = sa.func.coalesce(connected, sa.func.greatest(now - duration, col(CallSession.started_at)))
        began = sa.func.coalesce(connected, col(CallSession.started_at))
        # No later than the room can have lived: a call whose end was missed ended back then. And no earlier than the
        # call began, which it may have done since this transaction did.
        latest = began + timedelta(seconds=ROOM_SECONDS)
        ended = sa.func.greatest(sa.func.least(now, latest), began, type_=sa.DateTime(timezone=True))
        # Whole seconds; 0 for a match that never became a call.
        seconds = sa.func.coalesce(sa.cast(sa.func.floor(sa.extract("epoch", ended - connected)), sa.Integer), 0)
        one, other = match_outcomes.read_letters(outcomes)
        values = {"connected_at": connected, "ended_at": ended, "ended_by": by, "duration_seconds": seconds}
        statement = (
            sa.update(CallSession)
            .where(which, col(CallSession.ended_at).is_(None))
            .values(**values, user_a_outcome=one, user_b_outcome=other)
            .returning(CallSession)
        )
        followed: list[Consequence] = []
        async with self._database.transaction() as db:
            calls = (await db.execute(statement)).scalars().all()
            for call in calls:
                # Before the profiles: the order in which a report locks.
                followed += await match_outcomes.count(db, call)
                if call.connected_at is not None:
                    await streaks.count_call(db, call)
            kept = [each for call in calls for each in (call.user_a_outcome, call.user_b_outcome) if each is not None]
        self.outcomes.update(kept)
        self.consequences.update(followed)
        return len(calls)

    async def excuse(self, room_id: str) -> None:
        """Take back the bad outcomes of a call whose line was poor."""
        async with self._database.transaction() as db:
            await match_outcomes.excuse(db, room_id)

    async def rate(self, user_id: str, session_id: str, stars: int, pace: str | None = None) -> Call:
        """Rate the partner of a call, with feedback about its pace; raise NotFound, CallNotEnded or AlreadyRated."""
        me = uuid.UUID(user_id)
        try:
            async with self._database.transaction() as db:
                call = await self._read(db, me, session_id)
                if call.session.ended_at is None:
                    raise errors.CallNotEnded()
                if call.session.connected_at is None:
                    raise errors.CallNotEnded("The call never connected, so it cannot be rated.")
                rating = SessionRating(
                    session_id=call.session.id, rater_id=me, rated_id=call.partner_id, stars=int(stars)
                )
                rating.pace = FeedbackPace(pace) if pace else None
                db.add(rating)
                await db.flush()
                await feedback.count_pace(db, call.session, rating)
                return replace(call, my_rating=rating.stars)
        except IntegrityError:
            raise errors.AlreadyRated() from None

    async def list_calls(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Call]:
        """Read a page of the user's calls, newest first; raise RequestInvalid for an invalid cursor."""
        me = uuid.UUID(user_id)
        key = (col(CallSession.started_at), col(CallSession.id))
        # One index walk for each side, `limit` rows of each at most; the union is sorted in memory.
        sides = []
        for side in (CallSession.user_a_id, CallSession.user_b_id):
            ids = sa.select(col(CallSession.id), col(CallSession.started_at)).where(col(side) == me)
            sides.append(sa.select(seek(ids, key, limit=limit, cursor=cursor).subquery()))
        newest = sa.union_all(*sides).subquery()
        statement = _select_calls(me, self._picture_hide_weight).join(newest, newest.c.id == col(CallSession.id))
        async with self._database.transaction() as db:
            return await read_page(
                db, statement, key, limit=limit, cursor=None, build=lambda *row: _build_call(row, me)
            )

    async def read(self, user_id: str, session_id: str) -> Call:
        """Read one of the user's calls; raise NotFound, also for a call of other users."""
        async with self._database.transaction() as db:
            return await self._read(db, uuid.UUID(user_id), session_id)

    async def _read(self, db: AsyncSession, me: uuid.UUID, session_id: str) -> Call:
        statement = _select_calls(me, self._picture_hide_weight).where(
            col(CallSession.id) == uuid.UUID(session_id),
            sa.or_(col(CallSession.user_a_id) == me, col(CallSession.user_b_id) == me),
        )
        row = (await db.execute(statement)).first()
        if row is None:
            raise errors.NotFound()
        return _build_call(row, me)


def _select_calls(me: uuid.UUID, picture_hide_weight: float) -> sa.Select[CallSession, Profile, int, str | None]:
    """Select calls with the partner's profile, the user's rating, and the partner's picture where others see it."""
    partner_id = sa.case(
        (col(CallSession.user_a_id) == me, col(CallSession.user_b_id)), else_=col(CallSession.user_a_id)
    )
    mine = sa.and_(col(SessionRating.session_id) == col(CallSession.id), col(SessionRating.rater_id) == me)
    return (
        sa.select(CallSession, Profile, col(SessionRating.stars), shown_avatar(picture_hide_weight))
        .join(Profile, col(Profile.user_id) == partner_id)
        .outerjoin(SessionRating, mine)
    )


def _build_call(row: tuple[CallSession, Profile, int | None, str | None], me: uuid.UUID) -> Call:
    session, partner, my_rating, avatar_url = row
    name = partner.display_name or partner.username or FORMER_LEARNER
    ended_by = _ended_by(session, me)
    return Call(session, partner.user_id, name, avatar_url, partner.english_level, ended_by, my_rating)


def _ended_by(session: CallSession, me: uuid.UUID) -> Literal["me", "partner", "timeout", "error"] | None:
    match session.ended_by:
        case None:
            return None
        case EndedBy.TIMEOUT:
            return "timeout"
        case EndedBy.ERROR:
            return "error"
        case by:
            return "me" if (by is EndedBy.USER_A) == (session.user_a_id == me) else "partner"
