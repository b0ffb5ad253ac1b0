"""processing orders, inquiries, events set aside

Revision ID: 7c41d2e90ab6
Revises: 7c1e52a9d0b4
"""

import sqlalchemy as sa
from alembic import op

revision = "7c41d2e90ab6"
down_revision = "7c1e52a9d0b4"
branch_labels = None
depends_on = None

#: Type, its values before, the table and column that use it, the column's default.
_ENUMS = (
    ("order_status", ("pending", "expired", "failed", "paid", "refunded"), "orders", "status", "pending"),
    (
        "alert_kind",
        (
            "amount_differs",
            "currency_differs",
            "mode_differs",
            "session_differs",
            "paid_twice",
            "disputed",
            "refund_failed",
        ),
        "payment_alerts",
        "kind",
        None,
    ),
    (
        "notification_type",
        ("match_found", "payment_success", "system", "achievement", "admin_alert"),
        "notifications",
        "type",
        None,
    ),
)


def upgrade() -> None:
    # Inside a transaction a value may be added to an enum but not used: nothing below names one of these.
    op.execute("ALTER TYPE order_status ADD VALUE 'processing' BEFORE 'expired'")
    op.execute("ALTER TYPE alert_kind ADD VALUE 'inquiry' BEFORE 'disputed'")
    op.execute("ALTER TYPE alert_kind ADD VALUE 'account_deleted'")
    op.execute("ALTER TYPE notification_type ADD VALUE 'payment_failed' BEFORE 'system'")
    op.add_column("orders", sa.Column("inquiry", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("orders_open_key", "orders")
    op.create_index(
        "orders_open_key",
        "orders",
        ["user_id", "course_id"],
        unique=True,
        postgresql_where=sa.text("status < 'expired'"),
    )
    op.add_column("disputes", sa.Column("inquired", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("disputes", sa.Column("charged_back", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("disputes", sa.Column("refundable", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("webhook_events", sa.Column("body", sa.LargeBinary(), nullable=True))
    op.add_column("webhook_events", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("webhook_events", sa.Column("last_error", sa.String(length=200), nullable=True))
    op.add_column("webhook_events", sa.Column("set_aside_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("webhook_events", "fact", nullable=True)
    op.create_check_constraint(
        "webhook_events_handled_check", "webhook_events", "handled_at IS NULL OR set_aside_at IS NULL"
    )
    op.create_check_constraint("webhook_events_content_check", "webhook_events", "fact IS NOT NULL OR body IS NOT NULL")
    op.drop_index("webhook_events_waiting_idx", "webhook_events")
    op.create_index(
        "webhook_events_waiting_idx",
        "webhook_events",
        ["received_at"],
        postgresql_where=sa.text("handled_at IS NULL AND set_aside_at IS NULL"),
    )
    op.create_index(
        "webhook_events_set_aside_idx",
        "webhook_events",
        ["set_aside_at"],
        postgresql_where=sa.text("set_aside_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("DELETE FROM webhook_events WHERE fact IS NULL")
    op.execute("UPDATE orders SET status = 'pending' WHERE status = 'processing'")
    # Every dispute counts as one, as before.
    op.execute("UPDATE orders SET disputed = true WHERE inquiry")
    op.execute("DELETE FROM payment_alerts WHERE kind IN ('inquiry', 'account_deleted')")
    op.execute("DELETE FROM notifications WHERE type = 'payment_failed'")
    op.drop_index("webhook_events_set_aside_idx", "webhook_events")
    op.drop_index("webhook_events_waiting_idx", "webhook_events")
    op.create_index(
        "webhook_events_waiting_idx", "webhook_events", ["received_at"], postgresql_where=sa.text("handled_at IS NULL")
    )
    op.drop_constraint("webhook_events_content_check", "webhook_events")
    op.drop_constraint("webhook_events_handled_check", "webhook_events")
    op.alter_column("webhook_events", "fact", nullable=False)
    for column in ("set_aside_at", "last_error", "failures", "body"):
        op.drop_column("webhook_events", column)
    for column in ("refundable", "charged_back", "inquired"):
        op.drop_column("disputes", column)
    op.drop_column("orders", "inquiry")
    # These compare with values of the old types.
    op.drop_index("orders_open_key", "orders")
    op.drop_constraint("orders_paid_check", "orders")
    op.drop_constraint("orders_refunded_check", "orders")
    for name, values, table, column, default in _ENUMS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")
        op.execute(f"ALTER TYPE {name} RENAME TO {name}_with_more")
        sa.Enum(*values, name=name).create(op.get_bind())
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {name} USING {column}::text::{name}")
        if default:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT '{default}'")
        op.execute(f"DROP TYPE {name}_with_more")
    op.create_index(
        "orders_open_key",
        "orders",
        ["user_id", "course_id"],
        unique=True,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_check_constraint(
        "orders_paid_check",
        "orders",
        "(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)"
        " AND (paid_at IS NULL) = (provider_payment_id IS NULL)",
    )
    op.create_check_constraint("orders_refunded_check", "orders", "(status = 'refunded') = (amount_refunded = amount)")
