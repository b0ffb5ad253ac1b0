"""Databases of tests: a separate one for a test, and statements from outside the product."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from cli.migrations import upgrade_to_head
from container import Container
from settings import Settings


@contextmanager
def own_database(settings: Settings) -> Iterator[Settings]:
    """Settings of a fresh, migrated database on the same PostgreSQL, where no other test's jobs are."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        own = settings.model_copy(update={"db_name": name})
        try:
            upgrade_to_head(own)
            yield own
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def query(services: Container, statement: str, **values: Any) -> list[Any]:
    """Run one SQL statement, committed, and answer its rows."""
    async with services.database.transaction() as db:
        result = await (await db.connection()).execute(sa.text(statement), values)
        return list(result.all()) if result.returns_rows else []


def execute(settings: Settings, statement: str, *values: Any) -> None:
    """Run one SQL statement, committed, from outside the product."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


async def rows(container: Container, statement: str, **values: Any) -> Sequence[Any]:
    """Ask the database."""
    async with container.database.transaction() as db:
        return (await db.execute(sa.text(statement), values)).all()


async def value(container: Container, statement: str, **values: Any) -> Any:
    """Ask the database for one value."""
    return (await rows(container, statement, **values))[0][0]
