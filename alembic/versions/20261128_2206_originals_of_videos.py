"""originals of videos are kept

Revision ID: 7d1f0c3a9e52
Revises: 9a3f60d2c7e1
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "7d1f0c3a9e52"
down_revision = "9a3f60d2c7e1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lessons", sa.Column("video_original", sqlmodel.sql.sqltypes.AutoString(length=512), nullable=True))


def downgrade() -> None:
    op.drop_column("lessons", "video_original")
