"""addresses of sanctioned accounts that were deleted, and the erasure of texts of sanctions

Revision ID: 8d2f6c1b7e04
Revises: 9f27c4b1d863
"""

import sqlalchemy as sa
from alembic import op

revision = "8d2f6c1b7e04"
down_revision = "9f27c4b1d863"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "barred_identifiers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("identifier_hash", sa.String(length=64), nullable=False),
        sa.Column("sanction_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["sanction_id"], ["sanctions.id"], name="barred_identifiers_sanction_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="barred_identifiers_pkey"),
        sa.UniqueConstraint("identifier_hash", name="barred_identifiers_identifier_hash_key"),
    )
    op.create_index("ix_barred_identifiers_sanction_id", "barred_identifiers", ["sanction_id"])
    op.create_index("ix_barred_identifiers_until", "barred_identifiers", ["until"])
    op.create_index(
        "sanctions_texts_idx",
        "sanctions",
        ["starts_at"],
        postgresql_where=sa.text("facts IS NOT NULL OR lift_reason IS NOT NULL"),
    )
    # Of accounts that were deleted while banned: the words about their owners stayed.
    op.execute("UPDATE users SET ban_reason = '' WHERE deleted_at IS NOT NULL AND ban_reason <> ''")


def downgrade() -> None:
    op.drop_index("sanctions_texts_idx", table_name="sanctions")
    op.drop_table("barred_identifiers")
