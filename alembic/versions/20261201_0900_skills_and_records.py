"""skills of learners, and records of their matches

Revision ID: 5b1e8c3f7a21
Revises: b3d81f6a0c52
"""

import sqlalchemy as sa
from alembic import op

revision = "5b1e8c3f7a21"
down_revision = "b3d81f6a0c52"
branch_labels = None
depends_on = None

MATCH_OUTCOME = sa.Enum("good", "declined", "not_joined", "left_early", "forgiven", name="match_outcome")
CALL_ORIGIN = sa.Enum("search", "invitation", name="call_origin")
FEEDBACK_PACE = sa.Enum("easier", "same", "harder", name="feedback_pace")


def upgrade() -> None:
    for kind in (MATCH_OUTCOME, CALL_ORIGIN, FEEDBACK_PACE):
        kind.create(op.get_bind())
    # A column with a constant default is added without a rewrite of the table.
    op.add_column("call_sessions", sa.Column("origin", CALL_ORIGIN, server_default="search", nullable=False))
    op.add_column("call_sessions", sa.Column("user_a_outcome", MATCH_OUTCOME, nullable=True))
    op.add_column("call_sessions", sa.Column("user_b_outcome", MATCH_OUTCOME, nullable=True))
    op.add_column("session_ratings", sa.Column("pace", FEEDBACK_PACE, nullable=True))
    op.add_column(
        "session_ratings", sa.Column("is_pace_counted", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_table(
        "learner_skills",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("mu", sa.Double(), nullable=False),
        sa.Column("sigma", sa.Double(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("day_mu", sa.Double(), nullable=False),
        sa.Column("day_sigma", sa.Double(), nullable=False),
        sa.Column("day_calls", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("sigma > 0", name="learner_skills_sigma_check"),
        sa.CheckConstraint("calls >= 0", name="learner_skills_calls_check"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="learner_skills_user_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="learner_skills_pkey"),
    )
    op.create_table(
        "pairing_records",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("points_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resting_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rests", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("points >= 0", name="pairing_records_points_check"),
        sa.CheckConstraint("rests >= 0", name="pairing_records_rests_check"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="pairing_records_user_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pairing_records_pkey"),
    )


def downgrade() -> None:
    op.drop_table("pairing_records")
    op.drop_table("learner_skills")
    op.drop_column("session_ratings", "is_pace_counted")
    op.drop_column("session_ratings", "pace")
    for column in ("user_b_outcome", "user_a_outcome", "origin"):
        op.drop_column("call_sessions", column)
    for kind in (FEEDBACK_PACE, CALL_ORIGIN, MATCH_OUTCOME):
        kind.drop(op.get_bind())
