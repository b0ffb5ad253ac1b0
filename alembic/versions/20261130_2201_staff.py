"""moderators and second factors of staff

Revision ID: 4e9b7c2d1f80
Revises: 7d1f0c3a9e52
"""

import sqlalchemy as sa
from alembic import op

revision = "4e9b7c2d1f80"
down_revision = "7d1f0c3a9e52"
branch_labels = None
depends_on = None

NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]


def upgrade() -> None:
    # Inside a transaction a value may be added to an enum but not used: nothing below names it.
    op.execute("ALTER TYPE user_role ADD VALUE 'moderator'")
    op.create_index("users_staff_idx", "users", NEWEST, postgresql_where=sa.text("role <> 'student'"))
    op.add_column("refresh_tokens", sa.Column("factor_proven_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pending_secret", sa.Text(), nullable=True),
        sa.Column("pending_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(secret IS NULL) = (enrolled_at IS NULL)", name="second_factors_enrolled_check"),
        sa.CheckConstraint("(pending_secret IS NULL) = (pending_until IS NULL)", name="second_factors_pending_check"),
        sa.CheckConstraint("secret IS NOT NULL OR pending_secret IS NOT NULL", name="second_factors_secret_check"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="second_factors_user_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="second_factors_pkey"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["second_factors.user_id"], name="recovery_codes_user_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name="recovery_codes_pkey"),
    )


def downgrade() -> None:
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
    op.drop_column("refresh_tokens", "factor_proven_at")
    # Their access tokens name a role that is gone.
    op.execute(
        "UPDATE refresh_tokens SET revoked = true, revoked_at = now() FROM users"
        " WHERE users.id = refresh_tokens.user_id AND role = 'moderator' AND NOT revoked"
    )
    op.execute("UPDATE users SET role = 'student' WHERE role = 'moderator'")
    # These compare with values of the old type.
    op.drop_index("users_staff_idx", table_name="users")
    op.drop_index("users_admins_idx", table_name="users")
    op.execute("ALTER TABLE users ALTER COLUMN role DROP DEFAULT")
    op.execute("ALTER TYPE user_role RENAME TO user_role_with_more")
    sa.Enum("student", "admin", name="user_role").create(op.get_bind())
    op.execute("ALTER TABLE users ALTER COLUMN role TYPE user_role USING role::text::user_role")
    op.execute("ALTER TABLE users ALTER COLUMN role SET DEFAULT 'student'")
    op.execute("DROP TYPE user_role_with_more")
    op.create_index("users_admins_idx", "users", NEWEST, postgresql_where=sa.text("role = 'admin'"))
