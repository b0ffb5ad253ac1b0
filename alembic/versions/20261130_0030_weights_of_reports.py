"""weights and deadlines of reports, holds of pairing

Revision ID: 5c0e8a41d7b3
Revises: 0c96e5a17d42
"""

import sqlalchemy as sa
from alembic import op

revision = "5c0e8a41d7b3"
down_revision = "0c96e5a17d42"
branch_labels = None
depends_on = None

_COLUMNS = (
    sa.Column("is_urgent", sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column("weight", sa.Double(), server_default="0.8", nullable=False),
    sa.Column("rank", sa.Double(), server_default="0.8", nullable=False),
    sa.Column("has_block", sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.Column("call_seconds", sa.Integer(), nullable=True),
    sa.Column("call_days", sa.Integer(), server_default="0", nullable=False),
    sa.Column("reporter_device", sa.String(32), nullable=True),
    sa.Column("reporter_network", sa.String(32), nullable=True),
    # With a default: during a rollout processes of the release before write reports too.
    sa.Column(
        "due_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("(now() + '72:00:00'::interval)"),
        nullable=False,
    ),
    sa.Column("overdue_at", sa.DateTime(timezone=True), nullable=True),
    sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
)
_REASONS = ("harassment", "spam", "inappropriate", "hate_speech", "other")


def upgrade() -> None:
    # Inside a transaction a value may be added to an enum but not used: nothing below names one of these.
    op.execute("ALTER TYPE report_reason ADD VALUE 'minor_safety'")
    op.execute("ALTER TYPE report_reason ADD VALUE 'threat'")
    for column in _COLUMNS:
        op.add_column(
            "reports",
            sa.Column(column.name, column.type, server_default=column.server_default, nullable=column.nullable),
        )
    op.create_check_constraint("reports_weight_check", "reports", "weight BETWEEN 0 AND 1 AND rank >= 0")
    op.create_index(
        "reports_queue_idx",
        "reports",
        [sa.text("rank DESC"), sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "reports_traits_idx",
        "reports",
        ["created_at"],
        postgresql_where=sa.text("reporter_device IS NOT NULL OR reporter_network IS NOT NULL"),
    )
    # Of a call that connected, as far as its row says; the others keep their null.
    op.execute(
        "UPDATE reports SET call_seconds = c.duration_seconds,"
        " call_days = greatest(0, extract(day FROM reports.created_at - c.started_at)::int)"
        " FROM call_sessions c WHERE c.id = reports.session_id AND c.connected_at IS NOT NULL"
    )
    op.add_column("users", sa.Column("pairing_held_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "pairing_held_until")
    op.drop_index("reports_traits_idx", "reports")
    op.drop_index("reports_queue_idx", "reports")
    op.drop_constraint("reports_weight_check", "reports")
    for column in _COLUMNS:
        op.drop_column("reports", column.name)
    # An enum loses no value: a new type takes its place.
    op.execute("ALTER TYPE report_reason RENAME TO report_reason_before")
    op.execute(f"CREATE TYPE report_reason AS ENUM ({', '.join(repr(each) for each in _REASONS)})")
    op.execute(
        "ALTER TABLE reports ALTER COLUMN reason TYPE report_reason USING (CASE WHEN reason::text IN"
        f" ({', '.join(repr(each) for each in _REASONS)}) THEN reason::text ELSE 'other' END)::report_reason"
    )
    op.execute("DROP TYPE report_reason_before")
