"""Invitations of partners to calls."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class InvitationState(enum.StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    #: By the inviter, or because the two may not meet any more.
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Invitation(SQLModel, table=True):
    __tablename__ = "invitations"
    __table_args__ = (
        sa.CheckConstraint("inviter_id <> invitee_id", name="invitations_two_users_check"),
        sa.CheckConstraint("(state = 'open') = (answered_at IS NULL)", name="invitations_answered_check"),
        sa.CheckConstraint("(state = 'accepted') = (room_id IS NOT NULL)", name="invitations_room_check"),
        # One of a pair, in either direction: of two that cross, the second finds the first.
        sa.Index(
            "invitations_pair_key",
            sa.text("least(inviter_id, invitee_id)"),
            sa.text("greatest(inviter_id, invitee_id)"),
            unique=True,
            postgresql_where=sa.text("state = 'open'"),
        ),
        sa.Index("invitations_inviter_key", "inviter_id", unique=True, postgresql_where=sa.text("state = 'open'")),
        sa.Index("invitations_invitee_open_idx", "invitee_id", postgresql_where=sa.text("state = 'open'")),
        # Of a learner, for the export and the deletion of the account.
        sa.Index("ix_invitations_inviter_id", "inviter_id"),
        sa.Index("ix_invitations_invitee_id", "invitee_id"),
        # For pruning.
        sa.Index("ix_invitations_answered_at", "answered_at"),
    )

    id: uuid.UUID = primary_key()
    inviter_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    invitee_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    #: The socket that sent the invitation.
    inviter_socket: str = Field(max_length=64)
    topic: str | None = Field(default=None, max_length=60)
    state: InvitationState = Field(
        default=InvitationState.OPEN,
        sa_type=native_enum(InvitationState, "invitation_state"),
        sa_column_kwargs={"server_default": "open"},
    )
    #: The room of the call, where it was accepted.
    room_id: str | None = Field(default=None, max_length=36)
    created_at: datetime = instant(default=True)
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    #: When it ended, in any way.
    answered_at: datetime | None = instant(nullable=True)
