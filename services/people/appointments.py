"""Appointments: times that partners propose to each other, accept, decline and cancel."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypedDict

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
import time_zones
from adapters.database import Database
from models import Appointment, AppointmentState, Profile, Role, User
from services.pagination import Page, read_page
from services.people import appointment_rows, partner_rows
from services.people.appointment_times import check_start, find_start
from services.people.partner_rows import PartnerCard, build_card
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar
from services.safety.text_filter import TextFilter

#: Proposals of one learner to another that are open, or were made in the last `PROPOSAL_PERIOD`.
MAX_PROPOSALS = 20
PROPOSAL_PERIOD = timedelta(days=1)
#: With as many proposals to a partner in `WITHDRAWN_PERIOD` that were cancelled unanswered, further ones notify nobody.
MAX_WITHDRAWN = 2
WITHDRAWN_PERIOD = timedelta(hours=1)


class Proposal(TypedDict):
    """What a learner proposes; `utc_offset` chooses between the two readings of a repeated local time."""

    partner_id: str
    local_time: str
    timezone: str
    utc_offset: str | None
    duration_minutes: int
    note: str | None


class AppointmentView(NamedTuple):
    """An appointment as one of the two sees it."""

    appointment: Appointment
    partner: PartnerCard
    is_proposer: bool

    @property
    def utc_offset(self) -> timedelta:
        return self.appointment.local_time.replace(tzinfo=UTC) - self.appointment.starts_at


class AppointmentsService:
    def __init__(
        self,
        database: Database,
        gates: Gates,
        text_filter: TextFilter,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    ) -> None:
        self._database = database
        self._gates = gates
        self._text_filter = text_filter
        self._picture_hide_weight = picture_hide_weight

    async def propose(self, user_id: str, proposal: Proposal) -> AppointmentView:
        """Propose a time to a partner, and notify them; a time that they have proposed is accepted.

        Raises RequestInvalid for a time that cannot be met, NotFound for a learner who is not a partner, TextRefused,
        AppointmentExists where theirs at that instant is another one, TooManyAppointments, or a GateClosed.
        """
        local, starts_at = find_start(proposal["local_time"], proposal["timezone"], proposal["utc_offset"])
        me, partner_id = uuid.UUID(user_id), uuid.UUID(proposal["partner_id"])
        async with self._database.transaction() as db:
            user, partner = await self._lock_partner(db, me, partner_id)
            self._gates.require_all(Standing.of_user(user))
            self._text_filter.check("note", proposal["note"], is_staff=user.role is not Role.STUDENT)
            check_start(starts_at, (await db.execute(sa.select(sa.func.now()))).scalar_one())
            is_same = sa.and_(
                appointment_rows.is_between(me, partner_id),
                col(Appointment.starts_at) == starts_at,
                col(Appointment.state).in_(appointment_rows.OPEN_STATES),
            )
            same = (await db.exec(select(Appointment).where(is_same).with_for_update())).first()
            if same is not None:
                _require_same(same, me, local, proposal)
                if same.proposer_id == me or same.state is AppointmentState.ACCEPTED:
                    return _view(same, me, partner)
                answered = await _answer(db, same.id, me, AppointmentState.ACCEPTED)
                assert answered is not None, "its row is locked, and it begins later"
                return _view(answered, me, partner)
            await _check_limit(db, me, partner_id)
            row = Appointment(
                proposer_id=me,
                partner_id=partner_id,
                local_time=local,
                timezone=proposal["timezone"],
                starts_at=starts_at,
                zone_version=time_zones.VERSION,
                duration_minutes=proposal["duration_minutes"],
                note=proposal["note"],
            )
            db.add(row)
            await db.flush()
            await db.refresh(row)
            if await _count_withdrawn(db, me, partner_id) < MAX_WITHDRAWN:
                await appointment_rows.notify_of(db, row, "proposed", [partner_id])
        return _view(row, me, partner)

    async def accept(self, user_id: str, appointment_id: str) -> AppointmentView:
        """Accept a proposal, and notify its proposer; raise NotFound, AppointmentClosed or a GateClosed."""
        return await self._respond(user_id, appointment_id, AppointmentState.ACCEPTED)

    async def decline(self, user_id: str, appointment_id: str) -> AppointmentView:
        """Decline a proposal, and notify its proposer; raise NotFound or AppointmentClosed."""
        return await self._respond(user_id, appointment_id, AppointmentState.DECLINED)

    async def _respond(self, user_id: str, appointment_id: str, state: AppointmentState) -> AppointmentView:
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            found = await _read_own(db, me, appointment_id)
            if found.partner_id != me:
                raise errors.NotFound("Only the learner to whom it was proposed answers an appointment.")
            user, partner = await self._lock_partner(db, me, found.proposer_id)
            if state is AppointmentState.ACCEPTED:
                self._gates.require_all(Standing.of_user(user))
            row = await _answer(db, found.id, me, state)
            if row is None:
                await db.refresh(found)
                if found.state is not state:
                    raise errors.AppointmentClosed()
                row = found
        return _view(row, me, partner)

    async def cancel(self, user_id: str, appointment_id: str) -> None:
        """Cancel an appointment, and notify the other of an accepted one; raise NotFound or AppointmentClosed."""
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            found = await _read_own(db, me, appointment_id)
            if await appointment_rows.cancel_where(db, col(Appointment.id) == found.id, me):
                return
            await db.refresh(found)
            if found.state in appointment_rows.OPEN_STATES:
                raise errors.AppointmentClosed("This appointment has begun; it can no longer be cancelled.")

    async def list_for_user(self, user_id: str, *, limit: int, cursor: str | None) -> Page[AppointmentView]:
        """Read a page of a user's open appointments that are not over, the next first."""
        me = uuid.UUID(user_id)
        proposer, partner = col(Appointment.proposer_id), col(Appointment.partner_id)
        other = sa.case((proposer == me, partner), else_=proposer)
        starts_at, minutes = col(Appointment.starts_at), col(Appointment.duration_minutes)
        ends_at = starts_at + sa.func.make_interval(0, 0, 0, 0, 0, minutes)
        statement = (
            sa.select(Appointment, Profile, shown_avatar(self._picture_hide_weight))
            .join(Profile, col(Profile.user_id) == other)
            .where(
                appointment_rows.is_of(me),
                sa.or_(
                    sa.and_(col(Appointment.state) == AppointmentState.PROPOSED, starts_at > sa.func.now()),
                    sa.and_(col(Appointment.state) == AppointmentState.ACCEPTED, ends_at > sa.func.now()),
                ),
                partner_rows.are_partners(me, other),
                partner_rows.may_meet(me, other, self._gates),
            )
        )

        def build(row: Appointment, profile: Profile, avatar_url: str | None) -> AppointmentView:
            return _view(row, me, build_card(profile, avatar_url))

        async with self._database.transaction() as db:
            key = (starts_at, col(Appointment.id))
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=build, is_ascending=True)

    async def _lock_partner(self, db: AsyncSession, me: uuid.UUID, partner_id: uuid.UUID) -> tuple[User, PartnerCard]:
        """Lock a pair; return the user with the partner's card. Raises NotFound where the two are no partners."""
        users = await partner_rows.lock_pair(db, me, partner_id)
        user = users.get(me)
        if user is None or user.deleted_at is not None:
            raise errors.Unauthenticated()
        partner = await partner_rows.find_partner(db, me, partner_id, self._gates, self._picture_hide_weight)
        if partner is None:
            raise errors.NotFound()
        return user, partner


def _view(row: Appointment, me: uuid.UUID, partner: PartnerCard) -> AppointmentView:
    return AppointmentView(row, partner, row.proposer_id == me)


async def _read_own(db: AsyncSession, me: uuid.UUID, appointment_id: str) -> Appointment:
    """Read an appointment of a user; raise NotFound, also for one of others."""
    found = await db.get(Appointment, uuid.UUID(appointment_id))
    if found is None or me not in (found.proposer_id, found.partner_id):
        raise errors.NotFound()
    return found


async def _answer(
    db: AsyncSession, appointment_id: uuid.UUID, me: uuid.UUID, state: AppointmentState
) -> Appointment | None:
    """Answer a proposal that is open and has not begun, and notify its proposer; return None where it is not so."""
    statement = (
        sa.update(Appointment)
        .where(
            col(Appointment.id) == appointment_id,
            col(Appointment.partner_id) == me,
            col(Appointment.state) == AppointmentState.PROPOSED,
            col(Appointment.starts_at) > sa.func.now(),
        )
        .values(state=state, answered_at=sa.func.now())
        .returning(Appointment)
        .execution_options(populate_existing=True)
    )
    row: Appointment | None = (await db.execute(statement)).scalars().first()
    if row is not None:
        change: Any = state.value
        await appointment_rows.notify_of(db, row, change, [row.proposer_id])
    return row


def _require_same(row: Appointment, me: uuid.UUID, local: datetime, proposal: Proposal) -> None:
    """Raise AppointmentExists where a proposal at the instant of an appointment says something else.

    The partner may mean the same instant by the clocks of another zone, and need not repeat the note.
    """
    is_same = row.duration_minutes == proposal["duration_minutes"]
    if row.proposer_id == me:
        is_same = is_same and (row.local_time, row.timezone) == (local, proposal["timezone"])
    if row.proposer_id == me or proposal["note"] is not None:
        is_same = is_same and row.note == proposal["note"]
    if not is_same:
        raise errors.AppointmentExists()


async def _count_withdrawn(db: AsyncSession, me: uuid.UUID, partner_id: uuid.UUID) -> int:
    """Count the proposals to a partner of the last hour that were cancelled before they were answered."""
    statement = sa.select(sa.func.count()).where(
        col(Appointment.proposer_id) == me,
        col(Appointment.partner_id) == partner_id,
        col(Appointment.state) == AppointmentState.CANCELLED,
        col(Appointment.answered_at).is_(None),
        col(Appointment.created_at) > sa.func.now() - WITHDRAWN_PERIOD,
    )
    return int((await db.execute(statement)).scalar_one())


async def _check_limit(db: AsyncSession, me: uuid.UUID, partner_id: uuid.UUID) -> None:
    """Raise TooManyAppointments; those that were withdrawn today count, so that nobody is called by proposals."""
    is_open = sa.and_(
        col(Appointment.state).in_(appointment_rows.OPEN_STATES), col(Appointment.starts_at) > sa.func.now()
    )
    is_recent = col(Appointment.created_at) > sa.func.now() - PROPOSAL_PERIOD
    counted = sa.select(sa.func.count()).where(
        col(Appointment.proposer_id) == me, col(Appointment.partner_id) == partner_id, sa.or_(is_open, is_recent)
    )
    if (await db.execute(counted)).scalar_one() >= MAX_PROPOSALS:
        raise errors.TooManyAppointments()
