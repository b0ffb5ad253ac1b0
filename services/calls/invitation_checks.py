"""Checks of open invitations after a change of what a learner may do: age band, consents, a hold."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlmodel import col

import errors
from adapters.database import Database
from models import Invitation, InvitationState
from services.calls import invitation_rows
from services.calls.invitation_acceptances import NOT_ADMITTED, InvitationAcceptances
from services.calls.invitation_ends import InvitationEnds
from services.calls.invitation_rows import InvitationRow


class InvitationChecks:
    def __init__(self, database: Database, ends: InvitationEnds, acceptances: InvitationAcceptances) -> None:
        self._database = database
        self._ends = ends
        self._acceptances = acceptances

    async def check_user(self, user_id: str) -> None:
        """End the open invitations from and to a user whose two learners may not meet."""
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            mine = sa.or_(col(Invitation.inviter_id) == me, col(Invitation.invitee_id) == me)
            rows = await invitation_rows.read(db, col(Invitation.state) == InvitationState.OPEN, mine)
        for row in rows:
            if await self._may_meet(row):
                continue
            async with self._database.transaction() as db:
                ended = await invitation_rows.end_one(db, InvitationState.CANCELLED, "unavailable", row.id)
                # By a job, which is tried again where Redis is unavailable.
                await invitation_rows.announce_within(db, [ended] if ended is not None else [])

    async def _may_meet(self, row: InvitationRow) -> bool:
        pools = set()
        for user_id in row.users:
            try:
                pools.add((await self._acceptances.read_seeker(user_id, row.inviter_socket)).pool)
            except errors.ProfileIncomplete:
                continue  # what is missing can be added in time
            except NOT_ADMITTED:
                return False
        return len(pools) <= 1
