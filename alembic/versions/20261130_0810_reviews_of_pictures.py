"""reviews of pictures

Revision ID: e7a95d20c4b8
Revises: 8d2f6c1b7e04
"""

import sqlalchemy as sa
from alembic import op

revision = "e7a95d20c4b8"
down_revision = "8d2f6c1b7e04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("profiles", sa.Column("avatar_reviewed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("profiles", sa.Column("avatar_review_note", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("profiles", "avatar_review_note")
    op.drop_column("profiles", "avatar_reviewed_at")
