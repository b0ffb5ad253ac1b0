"""what operators look up

Revision ID: 5c1e7a90b3d4
Revises: 042aa8b18263
"""

import sqlalchemy as sa
from alembic import op

revision = "5c1e7a90b3d4"
down_revision = "042aa8b18263"
branch_labels = None
depends_on = None

NEWEST = [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]


def upgrade() -> None:
    op.create_index("users_newest_idx", "users", NEWEST)
    op.create_index("users_by_verified_idx", "users", ["is_verified", *NEWEST])
    op.create_index("users_banned_idx", "users", NEWEST, postgresql_where=sa.text("is_banned"))
    op.create_index("users_flagged_idx", "users", NEWEST, postgresql_where=sa.text("flagged_at IS NOT NULL"))
    op.create_index("users_admins_idx", "users", NEWEST, postgresql_where=sa.text("role = 'admin'"))
    op.create_index("users_email_prefix_idx", "users", [sa.literal_column("lower(email) text_pattern_ops")])
    op.create_index("profiles_username_prefix_idx", "profiles", [sa.literal_column("lower(username) text_pattern_ops")])
    op.create_index("profiles_active_idx", "profiles", ["last_active_at"])

    op.add_column("call_sessions", sa.Column("waited_ms", sa.Integer(), nullable=True))
    op.create_check_constraint("call_sessions_waited_check", "call_sessions", "waited_ms >= 0")
    op.create_index(
        "call_sessions_started_idx",
        "call_sessions",
        ["started_at"],
        postgresql_include=["connected_at", "duration_seconds", "waited_ms"],
    )
    op.create_index(
        "call_sessions_open_idx", "call_sessions", ["started_at"], postgresql_where=sa.text("ended_at IS NULL")
    )

    op.create_index("reports_about_idx", "reports", ["reported_id", *NEWEST])
    op.create_index("orders_by_provider_idx", "orders", ["provider", *NEWEST])
    op.create_index("orders_disputed_idx", "orders", NEWEST, postgresql_where=sa.text("disputed"))
    op.create_index(
        "orders_paid_idx",
        "orders",
        ["paid_at"],
        postgresql_include=["currency", "live", "amount"],
        postgresql_where=sa.text("paid_at IS NOT NULL"),
    )
    op.create_index("disputes_open_idx", "disputes", ["created_at"], postgresql_where=sa.text("status = 'open'"))

    op.create_index("audit_log_by_actor_idx", "audit_log", ["actor_id", sa.literal_column("number DESC")])
    op.create_index("audit_log_by_action_idx", "audit_log", ["action", sa.literal_column("number DESC")])
    op.create_index("audit_log_by_subject_idx", "audit_log", ["subject_id", sa.literal_column("number DESC")])
    op.drop_index("ix_audit_log_subject_id", table_name="audit_log")


def downgrade() -> None:
    op.create_index("ix_audit_log_subject_id", "audit_log", ["subject_id"])
    for name in ("by_subject", "by_action", "by_actor"):
        op.drop_index(f"audit_log_{name}_idx", table_name="audit_log")
    op.drop_index("disputes_open_idx", table_name="disputes")
    for name in ("paid", "disputed", "by_provider"):
        op.drop_index(f"orders_{name}_idx", table_name="orders")
    op.drop_index("reports_about_idx", table_name="reports")
    for name in ("open", "started"):
        op.drop_index(f"call_sessions_{name}_idx", table_name="call_sessions")
    op.drop_constraint("call_sessions_waited_check", "call_sessions")
    op.drop_column("call_sessions", "waited_ms")
    op.drop_index("profiles_active_idx", table_name="profiles")
    op.drop_index("profiles_username_prefix_idx", table_name="profiles")
    for name in ("email_prefix", "admins", "flagged", "banned", "by_verified", "newest"):
        op.drop_index(f"users_{name}_idx", table_name="users")
