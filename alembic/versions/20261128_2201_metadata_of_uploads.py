"""metadata of uploads

Revision ID: 7c1e52a9d0b4
Revises: 4e8907bc9be2
"""

import sqlalchemy as sa
from alembic import op

revision = "7c1e52a9d0b4"
down_revision = "4e8907bc9be2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("video_uploads", sa.Column("client_metadata", sa.String(length=4096), nullable=True))


def downgrade() -> None:
    op.drop_column("video_uploads", "client_metadata")
