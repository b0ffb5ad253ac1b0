"""Notices of invitations, written by a job.

The transaction of each invitation enqueues it, so that the answer to the inviter takes as long whether the partner has
an app in the foreground or not: only partners who share their presence show it.
"""

from __future__ import annotations

import uuid

from sqlmodel import col, select

from adapters.database import Database
from models import Invitation, InvitationState, Profile
from services.calls.call_history import FORMER_LEARNER
from services.calls.invited_rooms import InvitedRooms
from services.identity.user_rows import lock_user
from services.messaging import notification_templates
from services.messaging.notifications import notify_user

#: What an invitee has missed is worth a notice, what was answered or taken back is not.
_NOTIFIED_STATES = (InvitationState.OPEN, InvitationState.EXPIRED)


class InvitationNotices:
    def __init__(self, database: Database, invited: InvitedRooms) -> None:
        self._database = database
        self._invited = invited

    async def notify(self, invitation_id: str, invitee_id: str) -> None:
        """Notify an invitee, once, unless an app of theirs is in the foreground; raise where Redis is unavailable."""
        if await self._invited.has_foreground(invitee_id):
            return
        async with self._database.transaction() as db:
            # The learner first, as where an account is deleted or banned.
            if await lock_user(db, uuid.UUID(invitee_id)) is None:
                return
            # Locked, so that the notice of an answer that comes meanwhile is there to be marked as read.
            statement = (
                select(Invitation, Profile)
                .join(Profile, col(Profile.user_id) == col(Invitation.inviter_id))
                .where(col(Invitation.id) == uuid.UUID(invitation_id), col(Invitation.state).in_(_NOTIFIED_STATES))
                .with_for_update(of=Invitation)
            )
            found = (await db.exec(statement)).first()
            if found is not None:
                invitation, profile = found
                name = profile.display_name or profile.username or FORMER_LEARNER
                template = notification_templates.invitation(invitation_id, name, invitation.expires_at)
                await notify_user(db, uuid.UUID(invitee_id), template)
