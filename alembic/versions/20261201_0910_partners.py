"""partners, their presence, and appointments

Revision ID: 8c2d9f4a1b63
Revises: 5b1e8c3f7a21
"""

import sqlalchemy as sa
from alembic import op

revision = "8c2d9f4a1b63"
down_revision = "5b1e8c3f7a21"
branch_labels = None
depends_on = None

STATES = ("proposed", "accepted", "declined", "cancelled")
OPEN = sa.text("state IN ('proposed', 'accepted')")


def upgrade() -> None:
    op.add_column(
        "profiles", sa.Column("shares_presence", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_table(
        "partner_wishes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("wished_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("user_id <> wished_id", name="partner_wishes_two_users_check"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="partner_wishes_user_id_fkey", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["wished_id"], ["users.id"], name="partner_wishes_wished_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "wished_id", name="partner_wishes_pkey"),
    )
    op.create_index("ix_partner_wishes_wished_id", "partner_wishes", ["wished_id"])
    op.create_index("partner_wishes_created_idx", "partner_wishes", ["created_at"])
    op.create_table(
        "appointments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("proposer_id", sa.Uuid(), nullable=False),
        sa.Column("partner_id", sa.Uuid(), nullable=False),
        sa.Column("local_time", sa.DateTime(timezone=False), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("zone_version", sa.String(length=16), nullable=False),
        sa.Column("duration_minutes", sa.SmallInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("state", sa.Enum(*STATES, name="appointment_state"), server_default="proposed", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("day_reminded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("soon_reminded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("proposer_id <> partner_id", name="appointments_two_users_check"),
        sa.CheckConstraint("duration_minutes BETWEEN 5 AND 120", name="appointments_duration_check"),
        sa.CheckConstraint(
            "(state = 'proposed' AND answered_at IS NULL) OR state = 'cancelled'"
            " OR (state IN ('accepted', 'declined') AND answered_at IS NOT NULL)",
            name="appointments_answer_check",
        ),
        sa.ForeignKeyConstraint(
            ["proposer_id"], ["users.id"], name="appointments_proposer_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["partner_id"], ["users.id"], name="appointments_partner_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="appointments_pkey"),
    )
    pair = [sa.text("least(proposer_id, partner_id)"), sa.text("greatest(proposer_id, partner_id)")]
    op.create_index("appointments_time_key", "appointments", [*pair, "starts_at"], unique=True, postgresql_where=OPEN)
    op.create_index("appointments_proposer_idx", "appointments", ["proposer_id", "starts_at", "id"])
    op.create_index("appointments_partner_idx", "appointments", ["partner_id", "starts_at", "id"])
    op.create_index("appointments_starts_idx", "appointments", ["starts_at"])
    op.create_index(
        "appointments_zone_version_idx", "appointments", ["zone_version", "starts_at"], postgresql_where=OPEN
    )


def downgrade() -> None:
    op.drop_table("appointments")
    op.execute("DROP TYPE appointment_state")
    op.drop_table("partner_wishes")
    op.drop_column("profiles", "shares_presence")
