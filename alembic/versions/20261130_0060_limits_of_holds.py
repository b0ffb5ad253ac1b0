"""limits of holds, and reporters of pictures who count once

Revision ID: 9f27c4b1d863
Revises: 5b8e2f61c0d4
"""

import sqlalchemy as sa
from alembic import op

revision = "9f27c4b1d863"
down_revision = "5b8e2f61c0d4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null: the whole weight counts, until the learner's reports are weighed again.
    op.add_column("reports", sa.Column("picture_weight", sa.Double(), nullable=True))
    op.add_column("users", sa.Column("pairing_held_by", sa.Uuid(), sa.ForeignKey("users.id"), nullable=True))
    op.create_index(
        "users_held_by_idx",
        "users",
        ["pairing_held_until"],
        postgresql_where=sa.text("pairing_held_by IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("users_held_by_idx", "users")
    op.drop_column("users", "pairing_held_by")
    op.drop_column("reports", "picture_weight")
