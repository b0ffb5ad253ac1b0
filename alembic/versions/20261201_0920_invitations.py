"""invitations of partners to calls

Revision ID: a3f7b1d5c942
Revises: 8c2d9f4a1b63
"""

import sqlalchemy as sa
from alembic import op

revision = "a3f7b1d5c942"
down_revision = "8c2d9f4a1b63"
branch_labels = None
depends_on = None

STATES = ("open", "accepted", "declined", "cancelled", "expired")


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("inviter_id", sa.Uuid(), nullable=False),
        sa.Column("invitee_id", sa.Uuid(), nullable=False),
        sa.Column("inviter_socket", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=60), nullable=True),
        sa.Column("state", sa.Enum(*STATES, name="invitation_state"), server_default="open", nullable=False),
        sa.Column("room_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("inviter_id <> invitee_id", name="invitations_two_users_check"),
        sa.CheckConstraint("(state = 'open') = (answered_at IS NULL)", name="invitations_answered_check"),
        sa.CheckConstraint("(state = 'accepted') = (room_id IS NOT NULL)", name="invitations_room_check"),
        sa.ForeignKeyConstraint(["inviter_id"], ["users.id"], name="invitations_inviter_id_fkey", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["invitee_id"], ["users.id"], name="invitations_invitee_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="invitations_pkey"),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "invitations_pair_key",
        "invitations",
        [sa.text("least(inviter_id, invitee_id)"), sa.text("greatest(inviter_id, invitee_id)")],
        unique=True,
        postgresql_where=is_open,
    )
    op.create_index("invitations_inviter_key", "invitations", ["inviter_id"], unique=True, postgresql_where=is_open)
    op.create_index("invitations_invitee_open_idx", "invitations", ["invitee_id"], postgresql_where=is_open)
    op.create_index("ix_invitations_inviter_id", "invitations", ["inviter_id"])
    op.create_index("ix_invitations_invitee_id", "invitations", ["invitee_id"])
    op.create_index("ix_invitations_answered_at", "invitations", ["answered_at"])


def downgrade() -> None:
    op.drop_table("invitations")
    sa.Enum(name="invitation_state").drop(op.get_bind())
