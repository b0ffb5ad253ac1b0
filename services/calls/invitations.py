"""Invitations of partners to calls: invite, answer, cancel.

PostgreSQL has the truth: a pair has one open invitation, which ends once. An acceptance makes the room first, in one
step of Redis in which nobody is in two rooms, and then, in one transaction, the row of the call and the end of the
invitation; where that transaction finds another end, the room is closed again.

What happens to an invitation without either learner's action is in services/calls/invitation_ends.py.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col

import errors
from adapters.database import Database
from adapters.ports import Bus
from adapters.rate_limiter import CountedCall, RateLimiter
from models import CallOrigin, Invitation, InvitationState
from services.calls import invitation_rows
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.invitation_ends import InvitationEnds
from services.calls.invitation_rows import EndedInvitation, InvitationRow
from services.calls.invited_rooms import EndedSearch, InvitedRooms, RoomAnswered, RoomBusy
from services.calls.outcomes import InvitationEnded, Invited, Match, Outcome, Partner, SearchExpired
from services.calls.pools import PARTNERS, Pools
from services.calls.room_messages import MATCHED, SEARCH_CHECK, SEARCH_OVER
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, read_seeker
from services.messaging import notification_templates
from services.messaging.notifications import notify_user
from services.safety.gates import Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT
from services.safety.text_filter import TextFilter

log = logging.getLogger("parlance.invitations")

#: Characters of the column `invitations.topic`.
MAX_TOPIC_LENGTH = 60
#: Invitations that a user may send: in how many seconds how many to one partner, and in all. They ring phones.
PARTNER_LIMIT, ALL_LIMIT = (3, 600.0), (20, 3600.0)
#: How often an invitation is tried again that met another one which ended at that moment.
MAX_ATTEMPTS = 5
#: Errors of a learner who may not meet others.
_NOT_ADMITTED = (
    errors.Banned,
    errors.AccountSuspended,
    errors.PairingOnHold,
    errors.GateClosed,
    errors.ProfileIncomplete,
)


class Sent(NamedTuple):
    """An invitation that is open, or the partner's own that was accepted; `outcomes` are to be emitted."""

    invitation_id: str
    expires_at: datetime
    outcomes: list[Outcome]


class InvitationsService:
    def __init__(
        self,
        bus: Bus,
        database: Database,
        rooms: Rooms,
        invited: InvitedRooms,
        history: CallHistoryService,
        records: CallRecords,
        gates: Gates,
        text_filter: TextFilter,
        pools: Pools,
        limiter: RateLimiter,
        ends: InvitationEnds,
        *,
        expiry: timedelta,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    ) -> None:
        """`expiry` is how long an invitation can be answered."""
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._invited = invited
        self._history = history
        self._records = records
        self._gates = gates
        self._text_filter = text_filter
        self._pools = pools
        self._limiter = limiter
        self._ends = ends
        self._expiry = expiry
        self._picture_hide_weight = picture_hide_weight

    # --- Inviting -----------------------------------------------------------------------------------

    async def invite(self, user_id: str, family_id: str, socket_id: str, partner_id: str, topic: str | None) -> Sent:
        """Invite a partner to a call, or accept their own invitation.

        Raises TextRefused, PoolClosed, what `read_seeker` does, NotFound for an account that is no partner,
        AlreadyInRoom, AlreadyInviting, or RateLimited.
        """
        self._text_filter.check("topic", topic)
        topic = " ".join((topic or "").split())[:MAX_TOPIC_LENGTH] or None
        self._pools.require_open(PARTNERS, await self._pools.read_platform(family_id))
        seeker = await self._read_seeker(user_id, socket_id)
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
                    return Sent(row.id, row.expires_at, await self._ring(row, seeker.profile))
            elif existing.inviter_id == user_id:
                return Sent(existing.id, existing.expires_at, [])
            else:
                try:
                    return Sent(existing.id, existing.expires_at, await self._accept(existing, seeker))
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
        """Write an invitation, with the notification where no app of the partner is in the foreground.

        Returns None where another one was quicker; raises RateLimited.
        """
        counted = await self._count(inviter.user_id, partner_id)
        invitation_id = str(uuid.uuid4())
        # Before the row, so that one without a deadline is not left where this process dies.
        await self._invited.note(invitation_id, inviter.user_id, partner_id, self._expiry)
        is_notified = not await self._invited.has_foreground(partner_id)
        async with self._database.transaction() as db:
            row = await invitation_rows.add(
                db, invitation_id, inviter.user_id, partner_id, inviter.socket_id, topic, self._expiry
            )
            # The row refers to the account, which is not deleted before it is written.
            if row is not None and is_notified:
                template = notification_templates.invitation(invitation_id, inviter.display_name, row.expires_at)
                await notify_user(db, uuid.UUID(partner_id), template)
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

    async def _ring(self, row: InvitationRow, inviter: Partner) -> list[Outcome]:
        """Return the invitation for all sockets of the partner, and its end where that has come meanwhile."""
        log.info("invitation_sent invitation_id=%s user_id=%s", row.id, row.inviter_id)
        sockets = await self._invited.list_sockets(row.invitee_id)
        return [Invited(tuple(sockets), row.id, inviter, row.topic, row.expires_at)]

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
                inviter = await self._read_seeker(row.inviter_id, row.inviter_socket)
            except _NOT_ADMITTED:
                continue
            found.append(Invited((socket_id,), row.id, inviter.profile, row.topic, row.expires_at))
        return found

    # --- Answering ----------------------------------------------------------------------------------

    async def answer(
        self, user_id: str, family_id: str, socket_id: str, invitation_id: str, *, is_accepted: bool
    ) -> list[Outcome]:
        """Accept or decline an invitation; return what is to be emitted.

        Raises NotFound, also for an invitation of others, InvitationOver, and for an acceptance PoolClosed, what
        `read_seeker` does, AlreadyInRoom, or PartnerUnavailable.
        """
        async with self._database.transaction() as db:
            row = await invitation_rows.read_one(db, invitation_id)
        if row is None or row.invitee_id != user_id:
            raise errors.NotFound("There is no such invitation.")
        if not row.is_open:
            raise errors.InvitationOver()
        if is_accepted:
            self._pools.require_open(PARTNERS, await self._pools.read_platform(family_id))
            return await self._accept(row, await self._read_seeker(user_id, socket_id))
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

    # --- Accepting ----------------------------------------------------------------------------------

    async def _accept(self, row: InvitationRow, invitee: Seeker) -> list[Outcome]:
        """Make the room of an invitation and the row of its call.

        Raises InvitationOver, AlreadyInRoom, or, where it ends with that, PartnerUnavailable.
        """
        inviter = await self._find_inviter(row)
        if inviter is None:
            raise await self._give_up(row)
        room_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
        users = inviter.profile, invitee.profile
        try:
            searches = await self._invited.create(room_id, session_id, row.id, row.topic, "all", *users)
        except RoomAnswered:
            raise errors.InvitationOver() from None
        except RoomBusy as busy:
            if busy.is_inviter:
                raise await self._give_up(row) from None
            raise errors.AlreadyInRoom() from None
        try:
            ended = await self._decide(row, room_id, session_id, inviter)
        except BaseException:
            # It may have been written before the connection broke: what is there ends with the room.
            await self._close_room(room_id, invitee.profile.user_id, searches, keeps_end=True)
            raise
        is_accepted = ended is not None and ended[0].reason == "accepted"
        if not is_accepted:
            await self._close_room(room_id, invitee.profile.user_id, searches, keeps_end=False)
        elif not await self._rooms.announce(room_id):
            # One of the two left before there was a row to end.
            await self._history.end(room_id, ended_by=row.inviter_id)
            ended = [each._replace(reason="unavailable") for each in ended or ()]
            is_accepted = False
        if ended is None:
            raise errors.InvitationOver()
        if not is_accepted:
            for each in ended:
                await self._ends.announce(each)
            raise errors.PartnerUnavailable()
        match = Match(room_id, session_id, "all", row.topic, *users, invitation_id=row.id)
        return [match, *await self._end_searches(match, searches), *await self._describe_ends(match, ended)]

    async def _find_inviter(self, row: InvitationRow) -> Seeker | None:
        """Return the inviter with a socket: the one that sent the invitation, or else the newest. None without any."""
        sockets = await self._invited.list_sockets(row.inviter_id)
        if not sockets:
            return None
        socket_id = row.inviter_socket if row.inviter_socket in sockets else sockets[-1]
        try:
            return await self._read_seeker(row.inviter_id, socket_id)
        except _NOT_ADMITTED:
            return None

    async def _give_up(self, row: InvitationRow) -> errors.ProductError:
        """End an invitation whose inviter cannot be met; return the error for the invitee."""
        async with self._database.transaction() as db:
            ended = await invitation_rows.end_one(db, InvitationState.CANCELLED, "unavailable", row.id)
        if ended is None:
            return errors.InvitationOver()
        await self._ends.announce(ended)
        return errors.PartnerUnavailable()

    async def _decide(
        self, row: InvitationRow, room_id: str, session_id: str, inviter: Seeker
    ) -> list[EndedInvitation] | None:
        """Write the call and end the invitation, as accepted if the two may meet; None where it had ended before.

        Other invitations that the two have sent end with an acceptance.
        """
        async with self._database.transaction() as db:
            lock = await invitation_rows.lock(db, row)
            if not lock.is_open:
                return None
            is_started = lock.are_partners and await self._history.start_within(
                db, session_id, room_id, *row.users, row.topic, "all", None, inviter.pool, CallOrigin.INVITATION
            )
            mine = col(Invitation.id) == uuid.UUID(row.id)
            if not is_started:
                return await invitation_rows.end(db, InvitationState.CANCELLED, "unavailable", mine)
            ended = await invitation_rows.end(db, InvitationState.ACCEPTED, "accepted", mine, room_id=room_id)
            both = col(Invitation.inviter_id).in_(list(map(uuid.UUID, row.users)))
            return ended + await invitation_rows.end(db, InvitationState.CANCELLED, "unavailable", both)

    async def _close_room(self, room_id: str, user_id: str, searches: list[EndedSearch], *, keeps_end: bool) -> None:
        """Close a room that is not to be, and let the searches continue that ended with it.

        `keeps_end`: the end of the call's row is still to be recorded, if there is one.
        """
        closed = await self._rooms.close(room_id, user_id, condition="unjoined", by="error")
        if closed is not None and keeps_end:
            await self._records.record_end(closed.end)
        elif closed is not None:
            await self._rooms.remove_end(closed.end)
        for each in searches:
            await self._rooms.requeue(each.entry)
            # Their web process compares it with what has changed meanwhile.
            await SEARCH_CHECK.send_if_there(self._bus, each.socket_id)

    async def _end_searches(self, match: Match, searches: list[EndedSearch]) -> list[Outcome]:
        """Let the web processes of both know of the match; return the ends of searches on other sockets."""
        own = {match.waiting.socket_id, match.seeker.socket_id}
        for each in searches:
            await SEARCH_OVER.send_if_there(self._bus, each.socket_id)
        for me, partner in ((match.waiting, match.seeker), (match.seeker, match.waiting)):
            await MATCHED.send_if_there(
                self._bus, me.socket_id, me.user_id, partner.display_name, match.room_id, match.session_id
            )
        return [SearchExpired(each.socket_id) for each in searches if each.socket_id not in own]

    async def _describe_ends(self, match: Match, ended: list[EndedInvitation]) -> list[Outcome]:
        """Return the ends of invitations for all sockets but those that have the match."""
        found: list[Outcome] = []
        for each in ended:
            outcome = await self._ends.describe(each)
            if each.id == match.invitation_id:
                own = (match.waiting.socket_id, match.seeker.socket_id)
                outcome = replace(outcome, socket_ids=tuple(each for each in outcome.socket_ids if each not in own))
            found.append(outcome)
        return found

    async def _read_seeker(self, user_id: str, socket_id: str) -> Seeker:
        return await read_seeker(
            self._database, self._gates, user_id, socket_id, self._picture_hide_weight, may_rest=True
        )
