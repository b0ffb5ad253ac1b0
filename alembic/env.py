"""Migrations of the database that the CLI passes, one runner at a time."""

import alembic_postgresql_enum
from alembic import context
from sqlalchemy import text

import models
from adapters import postgresql

# Two deployments that start at once wait for each other here.
LOCK = 5503_0001


def include_name(name, kind, parents):
    """The job queue's tables come with procrastinate's own schema."""
    return not (name or "").startswith("procrastinate")


alembic_postgresql_enum.set_configuration(
    alembic_postgresql_enum.Config(include_name=lambda name: not name.startswith("procrastinate"))
)


def say(*, step, **_):
    """Name each migration as it is run or reverted."""
    print(f"{'ran' if step.is_upgrade else 'reverted'} {step.up_revision_id} {step.up_revision.doc}")


def run() -> None:
    settings = context.config.attributes["settings"]
    engine = postgresql.blocking_engine(settings)
    # In a transaction of its own, and not as a lock of the session, which a pooler of transactions would lose.
    with engine.connect() as lock, engine.connect() as connection:
        lock.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.configure(
            connection=connection,
            target_metadata=models.metadata,
            compare_server_default=True,
            include_name=include_name,
            transaction_per_migration=True,
            on_version_apply=say,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
