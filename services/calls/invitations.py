"""Invitations of partners to calls: invite, answer, cancel.

PostgreSQL has the truth: a pair has one open invitation, which ends once. An acceptance makes the room first, in one
step of Redis in which nobody is in two rooms, and then, in one transaction, the row of the call and the end of the
invitation; where that transaction finds another end, the room is closed again.

What happens to an invitation without either learner's action is in services/calls/invitation_ends.py.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col

import errors
from adapters.database import Database
from adapters.jobs import enqueue_each
from adapters.rate_limiter import CountedCall, RateLimiter
from adapters.tasks import BackgroundTasks
from jobs import notify_invitee
from models import Invitation, InvitationState
from services.calls import invitation_rows
from services.calls.invitation_acceptances import NOT_ADMITTED, InvitationAcceptances
from services.calls.invitation_ends import InvitationEnds
from services.calls.invitation_rows import InvitationRow
from services.calls.invited_rooms import InvitedRooms
from services.calls.outcomes import InvitationEnded, Invited, Outcome, Partner
from services.calls.pools import PARTNERS, Pools
from services.calls.rooms import Rooms
from services.safety.text_filter import TextFilter

log = logging.getLogger("parlance.invitations")

#: Characters of the column `invitations.topic`.
MAX_TOPIC_LENGTH = 60
#: Invitations that a user may send: in how many seconds how many to one partner, and in all. They ring phones.
PARTNER_LIMIT, ALL_LIMIT = (3, 600.0), (20, 3600.0)
#: How often an invitation is tried again that met another one which ended at that moment.
MAX_ATTEMPTS = 5


class Ring(NamedTuple):
    """A new invitation, which the invitee is to receive."""

    row: InvitationRow
    inviter: Partner


class Sent(NamedTuple):
    """An invitation that is open, or the partner's own that was accepted; `outcomes` are to be emitted.

    `ring` of a new one is for `InvitationsService.ring`, after the answer to the inviter: how long it takes shows
    whether the partner is there.
    """

    invitation_id: str
    expires_at: datetime
    outcomes: list[Outcome]
    ring: Ring | None = None


class InvitationsService:
    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        invited: InvitedRooms,
        text_filter: TextFilter,
        pools: Pools,
        limiter: RateLimiter,
        ends: InvitationEnds,
        acceptances: InvitationAcceptances,
        *,
        expiry: timedelta,
    ) -> None:
        """`expiry` is how long an invitation can be answered."""
        self._database = database
        self._rooms = rooms
        self._invited = invited
        self._text_filter = text_filter
        self._pools = pools
        self._limiter = limiter
        self._ends = ends
        self._acceptances = acceptances
        self._expiry = expiry
        #: Those that ring.
        self.tasks = BackgroundTasks()

    # --- Inviting -----------------------------------------------------------------------------------

    async def invite(self, user_id: str, family_id: str, socket_id: str, partner_id: str, topic: str | None) -> Sent:
        """Invite a partner to a call, or accept their own invitation.

        Raises TextRefused, PoolClosed, what `read_seeker` does, NotFound for an account that is no partner,
        AlreadyInRoom, AlreadyInviting, or RateLimited.
        """
        self._text_filter.check("topic", topic)
        topic = " ".join((topic or "").split())[:MAX_TOPIC_LENGTH] or None
        self._pools.require_open(PARTNERS, await self._pools.read_platform(family_id))
        seeker = await self._acceptances.read_seeker(user_id, socket_id)
        async with self._database.transaction() as db:
            if not await invitation_rows.is_partner(db, user_id, partner_id):
                raise errors.NotFound("There is no such partner.")
        for _ in range(MAX_ATTEMPTS):
            # Each time: another device may have accepted the partner's invitation.
            if await self._rooms.get_room_id(user_id) is not None:
                raise errors.AlreadyInRoom()
            existing = await self._find_existing(user_id, partner_id)
            if existing is None:
                row = await self._add(seeker.profile, partner_id, topic)
                if row is not None:
                    log.info("invitation_sent invitation_id=%s user_id=%s", row.id, row.inviter_id)
                    return Sent(row.id, row.expires_at, [], Ring(row, seeker.profile))
            elif existing.inviter_id == user_id:
                return Sent(existing.id, existing.expires_at, [])
            else:
                try:
                    return Sent(existing.id, existing.expires_at, await self._acceptances.accept(existing, seeker))
                except (errors.InvitationOver, errors.PartnerUnavailable):
                    continue
        raise errors.Unavailable()

    async def _find_existing(self, user_id: str, partner_id: str) -> InvitationRow | None:
        """Return the open invitation of the pair; raise AlreadyInviting where the user invites another one.

        One whose time is over, and whose deadline is still to come, ends here.
        """
        found: InvitationRow | None = None
        async with self._database.transaction() as db:
            rows = await invitation_rows.read_in_the_way(db, user_id, partner_id)
        for row in rows:
            if not row.is_open:
                await self._ends.expire(row.id)
            elif partner_id in row.users:
                found = row
            else:
                raise errors.AlreadyInviting()
        return found

    async def _add(self, inviter: Partner, partner_id: str, topic: str | None) -> InvitationRow | None:
        """Write an invitation, with the job that notifies the partner where no app of theirs is in the foreground.

        Returns None where another one was quicker; raises RateLimited.
        """
        counted = await self._count(inviter.user_id, partner_id)
        invitation_id = str(uuid.uuid4())
        # Before the row, so that one without a deadline is not left where this process dies.
        await self._invited.note(invitation_id, inviter.user_id, partner_id, self._expiry)
        async with self._database.transaction() as db:
            row = await invitation_rows.add(
                db, invitation_id, inviter.user_id, partner_id, inviter.socket_id, topic, self._expiry
            )
            if row is not None:
                notice = {"invitation_id": invitation_id, "invitee_id": partner_id}
                await enqueue_each(db, notify_invitee, [notice])
        if row is None:
            await self._invited.forget(invitation_id, inviter.user_id, partner_id)
            for each in counted:
                await self._limiter.give_back(each)
        return row

    async def _count(self, user_id: str, partner_id: str) -> list[CountedCall]:
        counted = [await self._limiter.take(f"invitations:{user_id}:{partner_id}", *PARTNER_LIMIT)]
        try:
            counted.append(await self._limiter.take(f"invitations:{user_id}", *ALL_LIMIT))
        except errors.RateLimited:
            await self._limiter.give_back(counted[0])
            raise
        return counted

    async def ring(self, ring: Ring) -> Invited:
        """Return a new invitation for all sockets of the partner."""
        row = ring.row
        sockets = await self._invited.list_sockets(row.invitee_id)
        return Invited(tuple(sockets), row.id, ring.inviter, row.topic, row.expires_at)

    async def check_after_ring(self, invitation_id: str) -> Outcome | None:
        """Return the end of an invitation that has come while it was emitted; it is to be emitted after it."""
        async with self._database.transaction() as db:
            row = await invitation_rows.read_one(db, invitation_id)
        if row is None or row.state is InvitationState.OPEN:
            return None
        sockets = await self._invited.list_sockets(row.invitee_id)
        return InvitationEnded(tuple(sockets), row.id, self._ends.get_reason(row.state))

    async def list_open(self, user_id: str, socket_id: str) -> list[Outcome]:
        """List the open invitations to a user, for a socket that has connected since they were sent."""
        async with self._database.transaction() as db:
            rows = await invitation_rows.read_open_to(db, user_id)
        found: list[Outcome] = []
        for row in rows:
            try:
                inviter = await self._acceptances.read_seeker(row.inviter_id, row.inviter_socket)
            except NOT_ADMITTED:
                continue
            found.append(Invited((socket_id,), row.id, inviter.profile, row.topic, row.expires_at))
        return found

    # --- Answering ----------------------------------------------------------------------------------

    async def answer(
        self, user_id: str, family_id: str, socket_id: str, invitation_id: str, *, is_accepted: bool
    ) -> list[Outcome]:
        """Accept or decline an invitation; return what is to be emitted.

        Raises NotFound, also for an invitation of others; for an acceptance PoolClosed, or what `read_seeker` does,
        also where the invitation has ended because of that; InvitationOver; AlreadyInRoom, or PartnerUnavailable.
        """
        async with self._database.transaction() as db:
            row = await invitation_rows.read_one(db, invitation_id)
        if row is None or row.invitee_id != user_id:
            raise errors.NotFound("There is no such invitation.")
        if is_accepted:
            self._pools.require_open(PARTNERS, await self._pools.read_platform(family_id))
            seeker = await self._acceptances.read_seeker(user_id, socket_id)
        if not row.is_open:
            raise errors.InvitationOver()
        if is_accepted:
            return await self._acceptances.accept(row, seeker)
        not_expired = col(Invitation.expires_at) > sa.func.now()
        return [await self._end(row, InvitationState.DECLINED, not_expired)]

    async def cancel(self, user_id: str, invitation_id: str) -> list[Outcome]:
        """Cancel an invitation of the user; raise NotFound, also for one of others, or InvitationOver."""
        async with self._database.transaction() as db:
            row = await invitation_rows.read_one(db, invitation_id)
        if row is None or row.inviter_id != user_id:
            raise errors.NotFound("There is no such invitation.")
        return [await self._end(row, InvitationState.CANCELLED)]

    async def _end(self, row: InvitationRow, state: InvitationState, *conditions: sa.ColumnElement[bool]) -> Outcome:
        reason = self._ends.get_reason(state)
        async with self._database.transaction() as db:
            ended = await invitation_rows.end_one(db, state, reason, row.id, *conditions)
        if ended is None:
            raise errors.InvitationOver()
        return await self._ends.describe(ended)
