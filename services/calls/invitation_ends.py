"""Ends of invitations that neither learner brings about: expiry, a dropped inviter, a block, a ban, a deletion.

Each has a deadline in Redis, which any web process handles. A deadline comes again until it is removed, and where Redis
has lost it, each web process sets it again from the row; a job looks for overdue ones every minute.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col

from adapters.database import Database
from adapters.ports import Bus
from adapters.tasks import BackgroundTasks
from models import Invitation, InvitationState
from services.calls import invitation_rows
from services.calls.invitation_rows import EndedInvitation
from services.calls.invited_rooms import InvitedRooms
from services.calls.outcomes import InvitationEnded, Outcome, OverReason
from services.calls.room_messages import INVITATION_ENDED
from services.messaging.notifications import mark_occasion_read

log = logging.getLogger("parlance.invitations")

#: An overdue invitation without a deadline is ended by a job after this time.
OVERDUE_AFTER = timedelta(seconds=10)
#: A client shows an invitation until it expires, by a clock that may be late.
RINGS_AT_MOST_AFTER = timedelta(seconds=30)

_REASONS: dict[InvitationState, OverReason] = {
    InvitationState.ACCEPTED: "accepted",
    InvitationState.DECLINED: "declined",
    InvitationState.CANCELLED: "cancelled",
    InvitationState.EXPIRED: "expired",
}

OutcomeListener = Callable[[Outcome], Awaitable[None]]


class InvitationEnds:
    def __init__(self, bus: Bus, database: Database, invited: InvitedRooms) -> None:
        self._bus = bus
        self._database = database
        self._invited = invited
        self._listeners: list[OutcomeListener] = []
        self._tasks = BackgroundTasks()
        INVITATION_ENDED.on(bus, self._handle_ended)

    def on_outcome(self, listener: OutcomeListener) -> None:
        """Call `listener` with each outcome for a socket of this web process."""
        self._listeners.append(listener)

    @staticmethod
    def get_reason(state: InvitationState) -> OverReason:
        """Return why an invitation in a state is over."""
        return _REASONS[state]

    async def describe(self, ended: EndedInvitation) -> InvitationEnded:
        """Forget an invitation that is over; return its end for all sockets of both."""
        sockets: list[str] = []
        for user_id in (ended.inviter_id, ended.invitee_id):
            sockets += await self._invited.list_sockets(user_id)
        await self._invited.forget(ended.id, ended.inviter_id, ended.invitee_id)
        await self._mark_read(ended)
        log.info("invitation_over invitation_id=%s reason=%s", ended.id, ended.reason)
        return InvitationEnded(tuple(sockets), ended.id, ended.reason)

    async def _mark_read(self, ended: EndedInvitation) -> None:
        """Mark the notification of an invitation that was answered as read; of others it says what was missed."""
        if ended.reason in ("accepted", "declined"):
            async with self._database.transaction() as db:
                await mark_occasion_read(db, uuid.UUID(ended.invitee_id), f"invitation:{ended.id}")

    async def announce(self, ended: EndedInvitation) -> None:
        """Send the end of an invitation to the web processes of both, which emit it."""
        outcome = await self.describe(ended)
        for socket_id in outcome.socket_ids:
            await INVITATION_ENDED.send_if_there(self._bus, socket_id, outcome.invitation_id, outcome.reason)

    async def announce_end(self, invitation_id: str, inviter_id: str, invitee_id: str, reason: OverReason) -> None:
        """Announce an invitation that another change has ended; a job calls it after the commit of that."""
        await self.announce(EndedInvitation(invitation_id, inviter_id, invitee_id, reason))

    async def _handle_ended(self, socket_id: str, invitation_id: str, reason: OverReason) -> None:
        for listener in self._listeners:
            await listener(InvitationEnded((socket_id,), invitation_id, reason))

    # --- Deadlines ----------------------------------------------------------------------------------

    async def expire(self, invitation_id: str) -> list[Outcome]:
        """End an invitation whose time is over; one that has ended before is announced again."""
        async with self._database.transaction() as db:
            is_over = col(Invitation.expires_at) <= sa.func.now()
            ended = await invitation_rows.end_one(db, InvitationState.EXPIRED, "expired", invitation_id, is_over)
            row = await invitation_rows.read_one(db, invitation_id) if ended is None else None
        if ended is None and row is not None:
            if row.left is not None:  # the clocks differ
                await self._invited.note(row.id, *row.users, row.left)
                return []
            # The process that has ended it died before it was announced.
            ended = EndedInvitation(row.id, *row.users, self.get_reason(row.state))
        if ended is None:  # it was never written
            await self._invited.remove_deadline("invite", invitation_id)
            return []
        return [await self.describe(ended)]

    async def check_inviter(self, invitation_id: str) -> list[Outcome]:
        """End an invitation whose inviter has not connected again."""
        async with self._database.transaction() as db:
            row = await invitation_rows.read_one(db, invitation_id)
        if row is None or not row.is_open or await self._invited.list_sockets(row.inviter_id):
            await self._invited.remove_deadline("inviter", invitation_id)
            return []
        async with self._database.transaction() as db:
            ended = await invitation_rows.end_one(db, InvitationState.CANCELLED, "unavailable", invitation_id)
        await self._invited.remove_deadline("inviter", invitation_id)
        return [await self.describe(ended)] if ended is not None else []

    async def expire_overdue(self) -> int:
        """End the invitations that no deadline has ended; return how many."""
        async with self._database.transaction() as db:
            is_overdue = col(Invitation.expires_at) < sa.func.now() - OVERDUE_AFTER
            found = await invitation_rows.end(db, InvitationState.EXPIRED, "expired", is_overdue)
            await invitation_rows.announce_within(db, found)
        return len(found)

    async def end_sent(self, user_id: str) -> None:
        """End the open invitation of an inviter who is in a room now, and cannot be met."""
        invitation_id = await self._invited.read_own(user_id)
        if invitation_id is None:
            return
        async with self._database.transaction() as db:
            ended = await invitation_rows.end_one(db, InvitationState.CANCELLED, "unavailable", invitation_id)
        if ended is not None:
            await self.announce(ended)

    async def list_recent_ends(self, sockets_of: Mapping[str, Sequence[str]]) -> list[InvitationEnded]:
        """List the ends of invitations that may still ring, for the sockets of a web process, by user.

        For a Redis that has lost its data: an invitation that ended before the sockets were there again was announced
        to nobody. An acceptance needs its sockets, so its end was.
        """
        is_recent = (
            # By an index; no invitation lasts as long.
            col(Invitation.answered_at) > sa.func.now() - timedelta(minutes=10),
            col(Invitation.state).in_((InvitationState.DECLINED, InvitationState.CANCELLED, InvitationState.EXPIRED)),
            col(Invitation.expires_at) > sa.func.now() - RINGS_AT_MOST_AFTER,
        )
        async with self._database.transaction() as db:
            rows = await invitation_rows.read(db, *is_recent)
        found = []
        for row in rows:
            sockets = tuple(each for user_id in row.users for each in sockets_of.get(user_id, ()))
            if sockets:
                found.append(InvitationEnded(sockets, row.id, self.get_reason(row.state)))
        return found

    # --- Connections --------------------------------------------------------------------------------

    async def disconnect(self, user_id: str) -> None:
        """Let an inviter whose socket is gone, and who has no other one, have some time to connect again."""
        invitation_id = await self._invited.read_own(user_id)
        if invitation_id is not None:
            await self._invited.await_inviter(invitation_id)

    async def recover_process(self, process_id: str) -> None:
        """Do what `disconnect` does for the inviters whose web process has died."""
        async with self._database.transaction() as db:
            rows = await invitation_rows.read_all_open(db, f"{process_id}.")
        for row in rows:
            await self._invited.await_inviter(row.id)

    async def restore_deadlines(self) -> None:
        """Set the deadlines of open invitations that Redis may have lost."""
        async with self._database.transaction() as db:
            rows = await invitation_rows.read_all_open(db)
        for row in rows:
            await self._invited.note(row.id, *row.users, row.left or timedelta())
            await self._invited.await_inviter(row.id)
