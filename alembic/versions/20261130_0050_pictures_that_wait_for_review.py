"""pictures that wait for review

Revision ID: b4c81f7e2d60
Revises: 5c0e8a41d7b3
"""

import sqlalchemy as sa
from alembic import op

revision = "b4c81f7e2d60"
down_revision = "5c0e8a41d7b3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("profiles", sa.Column("avatar_held_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        "profiles_held_avatar_check", "profiles", "avatar_held_at IS NULL OR avatar_url IS NOT NULL"
    )
    op.create_index(
        "profiles_held_avatars_idx",
        "profiles",
        ["avatar_held_at", "user_id"],
        postgresql_where=sa.text("avatar_held_at IS NOT NULL"),
    )


def downgrade() -> None:
    # The earlier version would show them.
    op.execute("UPDATE profiles SET avatar_url = NULL, avatar_held_at = NULL WHERE avatar_held_at IS NOT NULL")
    op.drop_index("profiles_held_avatars_idx", table_name="profiles")
    op.drop_constraint("profiles_held_avatar_check", "profiles")
    op.drop_column("profiles", "avatar_held_at")
