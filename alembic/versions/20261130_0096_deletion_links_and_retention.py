"""deletion links and retention

Revision ID: 0c96e5a17d42
Revises: 4e9b7c2d1f80
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0c96e5a17d42"
down_revision = "4e9b7c2d1f80"
branch_labels = None
depends_on = None

# An entry's detail may be erased, by an entry that comes later, and after half a year at the earliest: nothing else may
# change, and nothing else of the entry may be lost.
_ONLY_ERASURES = """
CREATE FUNCTION audit_log_allows_erasures_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.erased_by IS NULL AND NEW.erased_by > OLD.number AND NEW.detail = '{}'
    AND OLD.at < now() - interval '180 days' AND OLD.action <> 'audit.erase'
    AND (NEW.number, NEW.at, NEW.actor_id, NEW.action, NEW.subject_id, NEW.hash, NEW.previous_hash)
      IS NOT DISTINCT FROM (OLD.number, OLD.at, OLD.actor_id, OLD.action, OLD.subject_id, OLD.hash, OLD.previous_hash)
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'the audit log is append-only';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "account_deletion_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    for column in ("user_id", "expires_at"):
        op.create_index(f"ix_account_deletion_tokens_{column}", "account_deletion_tokens", [column])
    op.create_index(
        "reports_texts_idx",
        "reports",
        ["created_at"],
        postgresql_where=sa.text(
            "status <> 'pending' AND (description IS NOT NULL OR admin_note IS NOT NULL OR session_id IS NOT NULL)"
        ),
    )
    op.add_column("audit_log", sa.Column("erased_by", sa.BigInteger(), nullable=True))
    op.create_foreign_key("audit_log_erased_by_fkey", "audit_log", "audit_log", ["erased_by"], ["number"])
    op.create_check_constraint("audit_log_erased_later_check", "audit_log", "erased_by > number")
    op.create_index(
        "audit_log_detail_idx",
        "audit_log",
        ["at"],
        postgresql_where=sa.text("erased_by IS NULL AND detail <> '{}' AND action <> 'audit.erase'"),
    )
    op.execute(_ONLY_ERASURES)
    op.execute("DROP TRIGGER audit_log_append_only ON audit_log")
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION audit_log_allows_erasures_only()"
    )
    op.execute(
        "CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_log_no_truncate ON audit_log")
    op.execute("DROP TRIGGER audit_log_append_only ON audit_log")
    op.execute("DROP FUNCTION audit_log_allows_erasures_only()")
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
    )
    op.drop_index("audit_log_detail_idx", table_name="audit_log")
    op.drop_column("audit_log", "erased_by")
    op.drop_index("reports_texts_idx", table_name="reports")
    op.drop_table("account_deletion_tokens")
