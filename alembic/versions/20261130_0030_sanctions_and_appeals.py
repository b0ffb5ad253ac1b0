"""sanctions and appeals

Revision ID: 5b8e2f7c4d19
Revises: b4c81f7e2d60
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "5b8e2f7c4d19"
down_revision = "b4c81f7e2d60"
branch_labels = None
depends_on = None

_ENUMS = {
    "sanction_kind": ("warning", "suspension", "ban"),
    "sanction_ground": (
        "harassment",
        "spam",
        "inappropriate",
        "hate_speech",
        "minor_safety",
        "threat",
        "underage",
        "fraud",
        "other",
    ),
    "appeal_status": ("open", "upheld", "overturned", "closed"),
    "appeal_token_source": ("mail", "login"),
}

# The reasons of earlier bans are notes that the learners were not to read (`shows_facts`). They can appeal from now on.
_BANS = """
    INSERT INTO sanctions (id, user_id, kind, ground, facts, shows_facts, starts_at, appeal_until, issued_by)
    SELECT gen_random_uuid(), id, 'ban', 'other', CASE WHEN deleted_at IS NULL THEN ban_reason END, false, banned_at,
        now() + interval '6 months', banned_by
    FROM users WHERE is_banned
"""


def _enum(name: str) -> postgresql.ENUM:
    return postgresql.ENUM(*_ENUMS[name], name=name, create_type=False)


def _instant(name: str, *, now: bool = False, nullable: bool = True) -> sa.Column:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable and not now)


def upgrade() -> None:
    for name, values in _ENUMS.items():
        sa.Enum(*values, name=name).create(op.get_bind())
    op.add_column("users", _instant("suspended_until"))
    _create_sanctions()
    _create_appeals()
    _create_appeal_tokens()
    op.execute(_BANS)


def _create_sanctions() -> None:
    op.create_table(
        "sanctions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _enum("sanction_kind"), nullable=False),
        sa.Column("ground", _enum("sanction_ground"), nullable=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("shows_facts", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _instant("starts_at", now=True),
        _instant("ends_at"),
        _instant("appeal_until", nullable=False),
        sa.Column("issued_by", sa.Uuid(), nullable=True),
        sa.Column("report_id", sa.Uuid(), nullable=True),
        _instant("lifted_at"),
        sa.Column("lifted_by", sa.Uuid(), nullable=True),
        sa.Column("lift_reason", sa.Text(), nullable=True),
        _instant("acknowledged_at"),
        sa.CheckConstraint("(kind = 'suspension') = (ends_at IS NOT NULL)", name="sanctions_end_check"),
        sa.CheckConstraint("ends_at > starts_at", name="sanctions_duration_check"),
        sa.CheckConstraint(
            "lifted_at IS NOT NULL OR (lifted_by IS NULL AND lift_reason IS NULL)", name="sanctions_lift_check"
        ),
        sa.CheckConstraint("acknowledged_at IS NULL OR kind = 'warning'", name="sanctions_acknowledged_check"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.ForeignKeyConstraint(["issued_by"], ["users.id"]),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"]),
        sa.ForeignKeyConstraint(["lifted_by"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "sanctions_ban_key",
        "sanctions",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'ban' AND lifted_at IS NULL"),
    )
    op.create_index(
        "sanctions_by_user_idx",
        "sanctions",
        ["user_id", sa.literal_column("starts_at DESC"), sa.literal_column("id DESC")],
    )
    op.create_index(op.f("ix_sanctions_report_id"), "sanctions", ["report_id"])


def _create_appeals() -> None:
    op.create_table(
        "appeals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sanction_id", sa.Uuid(), nullable=False),
        sa.Column("issued_by", sa.Uuid(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("status", _enum("appeal_status"), server_default="open", nullable=False),
        _instant("decided_at"),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        _instant("created_at", now=True),
        sa.CheckConstraint("(status = 'open') = (decided_at IS NULL)", name="appeals_status_check"),
        sa.CheckConstraint(
            "status <> 'open' OR (decided_by IS NULL AND decision_reason IS NULL)", name="appeals_decision_check"
        ),
        sa.CheckConstraint("decided_by <> issued_by", name="appeals_other_decider_check"),
        sa.ForeignKeyConstraint(["sanction_id"], ["sanctions.id"]),
        sa.ForeignKeyConstraint(["issued_by"], ["users.id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sanction_id"),
    )
    newest = [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]
    op.create_index("appeals_newest_idx", "appeals", newest)
    op.create_index("appeals_by_status_idx", "appeals", ["status", *newest])
    op.create_index(
        "appeals_decided_idx", "appeals", ["decided_at"], postgresql_where=sa.text("decided_at IS NOT NULL")
    )


def _create_appeal_tokens() -> None:
    op.create_table(
        "appeal_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
        _instant("expires_at", nullable=False),
        sa.Column("used", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _instant("created_at", now=True),
        sa.Column("sanction_id", sa.Uuid(), nullable=False),
        sa.Column("source", _enum("appeal_token_source"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sanction_id"], ["sanctions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index(
        "appeal_tokens_login_key",
        "appeal_tokens",
        ["sanction_id"],
        unique=True,
        postgresql_where=sa.text("source = 'login'"),
    )
    for column in ("expires_at", "sanction_id", "user_id"):
        op.create_index(op.f(f"ix_appeal_tokens_{column}"), "appeal_tokens", [column])


def downgrade() -> None:
    for table in ("appeal_tokens", "appeals", "sanctions"):
        op.drop_table(table)
    op.drop_column("users", "suspended_until")
    for name, values in reversed(_ENUMS.items()):
        sa.Enum(*values, name=name).drop(op.get_bind())
