"""`parlance migrations`: changes of the database schema."""

from __future__ import annotations

import asyncio
import difflib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql

import models
import parlance
import settings as configuration
from adapters import postgresql
from cli.configured import settings_for_database
from errors import Refused
from settings import Settings, SettingsError

app = typer.Typer(help="Change the database schema. Every change is a migration file.", no_args_is_help=True)

# The schema, one line for each part; `alembic check` compares neither CHECK constraints nor index expressions.
_CATALOG = """
SELECT format('column %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' not null' END, ' default ' || pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
   AND c.relname NOT LIKE 'procrastinate%' AND c.relname <> 'alembic_version'
UNION ALL
SELECT format('constraint %s.%s %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE c.relnamespace = 'public'::regnamespace
   AND c.relname NOT LIKE 'procrastinate%' AND c.relname <> 'alembic_version'
UNION ALL
SELECT 'index ' || indexdef FROM pg_indexes
 WHERE schemaname = 'public' AND tablename NOT LIKE 'procrastinate%' AND tablename <> 'alembic_version'
UNION ALL
SELECT format('enum %s (%s)', t.typname, string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder))
  FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
 WHERE t.typnamespace = 'public'::regnamespace AND t.typname NOT LIKE 'procrastinate%' GROUP BY t.typname
"""


def _config(settings: Settings) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent.parent / "alembic"))
    config.set_main_option("file_template", "%%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s")
    config.attributes["settings"] = settings
    return config


def upgrade_to_head(settings: Settings) -> None:
    """Run every migration that has not been run; two processes may do so at the same time.

    A schema of a newer release is left as it is, and the output says so: older releases work with it.
    """
    _upgrade(settings, "head")


def _upgrade(settings: Settings, revision: str) -> None:
    try:
        command.upgrade(_config(settings), revision)
    except CommandError:
        if (newer := _find_newer_schema(settings)) is None:
            raise
        print(f"{newer}; nothing to run")


def _find_newer_schema(settings: Settings) -> str | None:
    """Return a sentence where a newer release has migrated the database, else None."""
    from services.operations import startup

    known = revisions(settings)
    with postgresql.connect_and_block(settings) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return None if row is None or row[0] in known else startup.describe_newer_schema(row[0], known)


def revisions(settings: Settings) -> list[str]:
    """List the revisions of all migrations, newest first."""
    return [each.revision for each in ScriptDirectory.from_config(_config(settings)).walk_revisions()]


@app.command("upgrade")
def upgrade(revision: Annotated[str, typer.Argument(help="The last one to run.")] = "head") -> None:
    """Run every migration that has not been run; a schema of a newer release is left as it is.

    Example: parlance migrations upgrade
    """
    with _refusals() as settings:
        _upgrade(settings, revision)


@app.command("downgrade")
def downgrade(revision: Annotated[str, typer.Argument(help="A revision, or -1 for one step.")] = "-1") -> None:
    """Revert the last migration, and delete the data in its tables.

    Examples:

      parlance migrations downgrade

      parlance migrations downgrade base
    """
    with _refusals() as settings:
        if newer := _find_newer_schema(settings):
            raise Refused(f"{newer}; downgrade it with that release")
        command.downgrade(_config(settings), revision)


@app.command("current")
def current() -> None:
    """Print the revision of the database."""
    with _refusals() as settings:
        if newer := _find_newer_schema(settings):
            print(newer)
        else:
            command.current(_config(settings), verbose=False)


@app.command("history")
def history() -> None:
    """List every migration, newest first."""
    command.history(_config(configuration.load()))


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it does, in a few words.")],
    empty: Annotated[bool, typer.Option("--empty", help="An empty file, for SQL by hand.")] = False,
) -> None:
    """Write a migration file from the differences between the models and the database.

    Read the file before running it: CHECK constraints are not detected.

    Examples:

      parlance migrations create "add reports"

      parlance migrations create --empty "backfill streaks"
    """
    if parlance.IS_INSTALLED:
        raise Refused("a migration is created in the repository, and this is the installed package")
    with _refusals() as settings:
        command.revision(_config(settings), name, autogenerate=not empty)


@app.command("check")
def check(
    embedded: Annotated[bool, typer.Option("--embedded", help="Use a temporary PostgreSQL.")] = False,
) -> None:
    """Check that the migrations create exactly the schema of the models, and can be reverted.

    Works in two databases that it creates and drops; the role needs CREATEDB.

    Example: parlance migrations check --embedded
    """
    with _server(embedded) as settings, _scratch(settings) as migrated, _scratch(settings) as created:
        command.upgrade(_config(migrated), "head")
        command.downgrade(_config(migrated), "base")
        command.upgrade(_config(migrated), "head")
        engine = postgresql.blocking_engine(created)
        models.metadata.create_all(engine)
        engine.dispose()
        different = list(
            difflib.unified_diff(_catalog(migrated), _catalog(created), "migrations", "models", lineterm="", n=0)
        )
    if different:
        print("\n".join(different))
        raise SettingsError("the migrations and the models differ; write the missing migration")
    print("the migrations create the schema of the models")


@contextmanager
def _refusals() -> Iterator[Settings]:
    """Yield the settings of a database that was reached; raise its problems, and those of Alembic, as one sentence."""
    from services.operations import startup

    settings = settings_for_database()
    asyncio.run(startup.check_database(settings))
    try:
        yield settings
    except CommandError as error:
        raise SettingsError(str(error)) from None


@contextmanager
def _server(embedded: bool) -> Iterator[Settings]:
    if not embedded:
        yield settings_for_database()
        return
    from devtools.embedded import EmbeddedServices

    with tempfile.TemporaryDirectory(prefix="parlance-check-") as directory:
        services = EmbeddedServices(Path(directory), durable=False, only={"postgres"})
        environment = services.start()
        try:
            yield configuration.load(None, **{name.lower(): value for name, value in environment.items()})
        finally:
            services.stop()


@contextmanager
def _scratch(settings: Settings) -> Iterator[Settings]:
    name = f"parlance_check_{secrets.token_hex(4)}"
    with postgresql.connect_and_block(settings, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield settings.model_copy(update={"db_name": name})
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _catalog(settings: Settings) -> list[str]:
    with postgresql.connect_and_block(settings) as connection:
        return sorted(line for (line,) in connection.execute(_CATALOG).fetchall())
