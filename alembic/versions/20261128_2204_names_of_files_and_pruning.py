"""names of files and pruning

Revision ID: 3f0c5d1b7a94
Revises: 5d1c0a7e9b34
"""

import sqlalchemy as sa
from alembic import op

revision = "3f0c5d1b7a94"
down_revision = "5d1c0a7e9b34"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("lesson_attachments", "name", type_=sa.String(length=255), existing_nullable=False)
    op.create_index(
        "notifications_read_idx",
        "notifications",
        ["read_at"],
        postgresql_where=sa.text("read AND type <> 'achievement'"),
    )
    for table in ("password_reset_tokens", "email_verification_tokens"):
        op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])
    op.create_index(
        "webhook_events_handled_idx",
        "webhook_events",
        ["handled_at"],
        postgresql_where=sa.text("handled_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("webhook_events_handled_idx", table_name="webhook_events")
    for table in ("email_verification_tokens", "password_reset_tokens"):
        op.drop_index(f"ix_{table}_expires_at", table_name=table)
    op.drop_index("notifications_read_idx", table_name="notifications")
    op.execute("UPDATE lesson_attachments SET name = left(name, 200)")
    op.alter_column("lesson_attachments", "name", type_=sa.String(length=200), existing_nullable=False)
