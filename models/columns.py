"""Column types that tables share: ids, instants, native enums."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from instants import utc_now

# PostgreSQL's own names, known to migrations too.
SQLModel.metadata.naming_convention = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_name)s_key",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}


def primary_key() -> Any:
    """A random UUID, made here and not by PostgreSQL, so that a row has its id before it is written."""
    return Field(default_factory=uuid.uuid4, primary_key=True)


def instant(*, nullable: bool = False, default: bool = False, onupdate: bool = False) -> Any:
    """A `timestamptz`; `default` sets it to now at insert, by PostgreSQL's clock, `onupdate` at each update."""
    arguments: dict[str, Any] = {"sa_type": sa.DateTime(timezone=True), "nullable": nullable}
    column: dict[str, Any] = {}
    if default:
        column["server_default"] = sa.func.now()
    if onupdate:
        column["onupdate"] = utc_now
    if column:
        arguments["sa_column_kwargs"] = column
    return Field(default=None, **arguments)


def native_enum(kind: type[enum.Enum], name: str) -> sa.Enum:
    """A PostgreSQL enum of the members' values."""
    return sa.Enum(kind, name=name, values_callable=lambda members: [member.value for member in members])
