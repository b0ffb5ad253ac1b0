"""ages, consents, and calls of one age band

Revision ID: 5b8e2f61c0d4
Revises: 5b8e2f7c4d19
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "5b8e2f61c0d4"
down_revision = "5b8e2f7c4d19"
branch_labels = None
depends_on = None

_TYPES = {
    "age_band": ("under_13", "13_15", "16_17", "18_plus"),
    "age_source": ("declared", "apple", "google", "operator"),
    "consent_action": ("given", "withdrawn"),
}
_CONSENTS_ARE_APPEND_ONLY = """
CREATE FUNCTION consents_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'consents are append-only';
END $$
"""
_CONSENTS_ARE_CURRENT = """
CREATE FUNCTION consents_update_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE users SET accepted_versions = CASE NEW.action
    WHEN 'given' THEN accepted_versions || jsonb_build_object(NEW.document, NEW.version)
    ELSE accepted_versions - NEW.document::text END
  WHERE id = NEW.user_id;
  RETURN NULL;
END $$
"""
# Both rows are locked, so that neither band changes until the call is there to be ended.
_CALLS_ARE_OF_ONE_BAND = """
CREATE FUNCTION call_sessions_one_band() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (
    SELECT count(DISTINCT coalesce(age_band, '18_plus')) FROM (
      SELECT age_band FROM users WHERE id IN (NEW.user_a_id, NEW.user_b_id) ORDER BY id FOR SHARE
    ) AS both_users
  ) > 1 THEN
    RAISE EXCEPTION 'a call is of two learners of one age band'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'call_sessions_one_band';
  END IF;
  RETURN NEW;
END $$
"""


def _enum(name):
    return postgresql.ENUM(*_TYPES[name], name=name, create_type=False)


def upgrade() -> None:
    for name, values in _TYPES.items():
        sa.Enum(*values, name=name).create(op.get_bind())
    op.add_column("users", sa.Column("age_band", _enum("age_band"), nullable=True))
    op.add_column("users", sa.Column("age_source", _enum("age_source"), nullable=True))
    op.add_column("users", sa.Column("age_declared_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "users", sa.Column("accepted_versions", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False)
    )
    op.create_check_constraint(
        "users_age_check",
        "users",
        "(age_band IS NULL) = (age_source IS NULL) AND (age_band IS NULL) = (age_declared_at IS NULL)",
    )
    op.create_table(
        "age_refusals",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("age_refusals_expires_idx", "age_refusals", ["expires_at"])
    op.create_table(
        "consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("document", sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
        sa.Column("version", sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
        sa.Column("action", _enum("consent_action"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("consents_of_user_idx", "consents", ["user_id", "at"])
    for function in (_CONSENTS_ARE_APPEND_ONLY, _CONSENTS_ARE_CURRENT, _CALLS_ARE_OF_ONE_BAND):
        op.execute(function)
    op.execute(
        "CREATE TRIGGER consents_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON consents "
        "FOR EACH STATEMENT EXECUTE FUNCTION consents_are_append_only()"
    )
    op.execute(
        "CREATE TRIGGER consents_current AFTER INSERT ON consents FOR EACH ROW EXECUTE FUNCTION consents_update_user()"
    )
    op.execute(
        "CREATE TRIGGER call_sessions_one_band BEFORE INSERT ON call_sessions "
        "FOR EACH ROW EXECUTE FUNCTION call_sessions_one_band()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER call_sessions_one_band ON call_sessions")
    op.execute("DROP FUNCTION call_sessions_one_band()")
    op.drop_table("consents")
    op.execute("DROP FUNCTION consents_update_user()")
    op.execute("DROP FUNCTION consents_are_append_only()")
    op.drop_table("age_refusals")
    op.drop_constraint("users_age_check", "users")
    for column in ("accepted_versions", "age_declared_at", "age_source", "age_band"):
        op.drop_column("users", column)
    for name, values in _TYPES.items():
        sa.Enum(*values, name=name).drop(op.get_bind())
