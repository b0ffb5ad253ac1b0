"""Acceptances of invitations: the room, the row of the call, and the end of the invitation and of searches."""

from __future__ import annotations

import uuid
from dataclasses import replace

from sqlmodel import col

import errors
from adapters.database import Database
from adapters.ports import Bus
from models import CallOrigin, Invitation, InvitationState
from services.calls import invitation_rows
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.invitation_ends import InvitationEnds
from services.calls.invitation_rows import EndedInvitation, InvitationRow
from services.calls.invited_rooms import EndedSearch, InvitedRooms, RoomAnswered, RoomBusy
from services.calls.outcomes import Match, Outcome, SearchExpired
from services.calls.room_messages import MATCHED, SEARCH_CHECK, SEARCH_OVER
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, read_seeker
from services.safety.gates import Gates
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT

#: Errors of a learner who may not meet others.
NOT_ADMITTED = (
    errors.Banned,
    errors.AccountSuspended,
    errors.PairingOnHold,
    errors.GateClosed,
    errors.ProfileIncomplete,
)


class InvitationAcceptances:
    def __init__(
        self,
        bus: Bus,
        database: Database,
        rooms: Rooms,
        invited: InvitedRooms,
        history: CallHistoryService,
        records: CallRecords,
        gates: Gates,
        ends: InvitationEnds,
        picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    ) -> None:
        self._bus = bus
        self._database = database
        self._rooms = rooms
        self._invited = invited
        self._history = history
        self._records = records
        self._gates = gates
        self._ends = ends
        self._picture_hide_weight = picture_hide_weight

    async def accept(self, row: InvitationRow, invitee: Seeker) -> list[Outcome]:
        """Make the room of an invitation and the row of its call.

        Raises InvitationOver, AlreadyInRoom, Unavailable while the inviter has no connection, or, where it ends with
        that, PartnerUnavailable.
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
        """Return the inviter with a socket: the one that sent the invitation, or else the newest.

        None where the inviter may not meet others. Raises Unavailable while they have no socket: a dropped inviter may
        be back in a moment, and a Redis that has lost its data gets the sockets again.
        """
        sockets = await self._invited.list_sockets(row.inviter_id)
        if not sockets:
            await self._invited.await_inviter(row.id)
            raise errors.Unavailable("Your partner has no connection for now; try again shortly.")
        socket_id = row.inviter_socket if row.inviter_socket in sockets else sockets[-1]
        try:
            return await self.read_seeker(row.inviter_id, socket_id)
        except NOT_ADMITTED:
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

    async def read_seeker(self, user_id: str, socket_id: str) -> Seeker:
        """Read a learner who is to meet another; raise what the function of that name does."""
        return await read_seeker(
            self._database, self._gates, user_id, socket_id, self._picture_hide_weight, may_rest=True
        )
