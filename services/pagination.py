"""Pages of lists, newest first or next first: a keyset query, and the opaque cursor of the last row of a page."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeAlias, TypeVar, TypeVarTuple, overload

import sqlalchemy as sa
from sqlalchemy.orm import Mapped
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

import errors

T = TypeVar("T")
Columns = TypeVarTuple("Columns")

#: Columns that order a list, newest first; no two rows have equal values.
Key: TypeAlias = tuple[Mapped[datetime], Mapped[uuid.UUID]] | tuple[Mapped[int]]

_CURSOR_INVALID = "'cursor' was not returned by this list; leave it out to read the first page"


class Page(NamedTuple, Generic[T]):
    items: list[T]
    next_cursor: str | None


@overload
async def read_page(
    db: AsyncSession,
    statement: SelectOfScalar[T],
    key: Key,
    *,
    limit: int,
    cursor: str | None,
    is_ascending: bool = False,
) -> Page[T]: ...


@overload
async def read_page(
    db: AsyncSession,
    statement: sa.Select[*Columns],
    key: Key,
    *,
    limit: int,
    cursor: str | None,
    build: Callable[[*Columns], T],
    is_ascending: bool = False,
) -> Page[T]: ...


async def read_page(
    db: AsyncSession,
    statement: sa.Select[*Columns],
    key: Key,
    *,
    limit: int,
    cursor: str | None,
    build: Callable[..., T] | None = None,
    is_ascending: bool = False,
) -> Page[T]:
    """Read a page of a query, newest first; `build` makes an item of the columns of a row, else it is the only one.

    With `is_ascending` the earliest comes first.

    Raises RequestInvalid for a cursor that no page of the list has returned.
    """
    sought = seek(statement.add_columns(*key), key, limit=limit, cursor=cursor, is_ascending=is_ascending)
    rows = (await db.execute(sought)).all()
    items = [build(*row[: -len(key)]) if build else row[0] for row in rows[:limit]]
    return Page(items, _encode_position(rows[limit - 1][-len(key) :]) if len(rows) > limit else None)


def seek(
    statement: sa.Select[*Columns], key: Key, *, limit: int, cursor: str | None, is_ascending: bool = False
) -> sa.Select[*Columns]:
    """Order a query newest first, after the cursor, with one row more than a page, which shows whether more follow."""
    if cursor:
        place, position = sa.tuple_(*key), sa.tuple_(*_decode_position(cursor, len(key)))
        statement = statement.where(place > position if is_ascending else place < position)
    return statement.order_by(*(column.asc() if is_ascending else column.desc() for column in key)).limit(limit + 1)


def _encode_position(position: Sequence[object]) -> str:
    match position:
        case (datetime() as at, uuid.UUID() as row_id):
            return encode(at, row_id)
        case (number,):
            return str(number)
    raise TypeError(position)


def _decode_position(cursor: str, columns: int) -> tuple[datetime, uuid.UUID] | tuple[int]:
    if columns == 2:
        return decode(cursor)
    if not re.fullmatch("[1-9][0-9]{0,17}", cursor):
        raise errors.RequestInvalid(_CURSOR_INVALID)
    return (int(cursor),)


def encode(at: datetime, row_id: uuid.UUID) -> str:
    """Write the position of a row as a cursor."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{row_id}".encode()).rstrip(b"=").decode()


def decode(cursor: str) -> tuple[datetime, uuid.UUID]:
    """Read the position in a cursor; raise RequestInvalid for anything that `encode` did not write."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        at, row_id = text.split("|")
        instant = datetime.fromisoformat(at)
        position = instant, uuid.UUID(row_id)
        if instant.tzinfo is None or encode(*position) != cursor:
            raise ValueError(cursor)
        return position
    except (binascii.Error, ValueError):
        raise errors.RequestInvalid(_CURSOR_INVALID) from None
