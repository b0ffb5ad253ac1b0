"""job queue

Revision ID: 5b0a6f1c9d27
Revises: e8fb76c37615
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "5b0a6f1c9d27"
down_revision = "e8fb76c37615"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The driver's own cursor: the schema is many statements, with percent signs that SQLAlchemy would read.
    op.get_bind().connection.cursor().execute(SchemaManager.get_schema())


def downgrade() -> None:
    op.get_bind().connection.cursor().execute(
        """
        DO $$
        DECLARE each record;
        BEGIN
          FOR each IN SELECT tablename FROM pg_tables
                       WHERE schemaname = 'public' AND tablename LIKE 'procrastinate%' LOOP
            EXECUTE format('DROP TABLE %I CASCADE', each.tablename);
          END LOOP;
          FOR each IN SELECT oid::regprocedure AS name FROM pg_proc
                       WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'procrastinate%' LOOP
            EXECUTE format('DROP FUNCTION %s CASCADE', each.name);
          END LOOP;
          FOR each IN SELECT typname FROM pg_type
                       WHERE typnamespace = 'public'::regnamespace AND typname LIKE 'procrastinate%'
                         AND typtype IN ('e', 'c') LOOP
            EXECUTE format('DROP TYPE IF EXISTS %I CASCADE', each.typname);
          END LOOP;
        END $$
        """
    )
