"""Owns cursors: where a list goes on, as an opaque string (keyset, never OFFSET)."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import errors

T = TypeVar("T")
_NOT_OURS = "'cursor' is not one that this list gave out"


class Page(NamedTuple, Generic[T]):
    items: list[T]
    next_cursor: str | None


def page(rows: list[T], limit: int, key: Callable[[T], tuple[datetime, uuid.UUID]]) -> Page[T]:
    """Make a page of `limit` rows at most from a query that asked for one more."""
    more = len(rows) > limit
    return Page(rows[:limit], encode(*key(rows[limit - 1])) if more else None)


def numbered(rows: list[T], limit: int, number: Callable[[T], int]) -> Page[T]:
    """Make a page like `page`, of rows that are told apart by a number alone."""
    return Page(rows[:limit], str(number(rows[limit - 1])) if len(rows) > limit else None)


def decode_number(cursor: str) -> int:
    """Read a cursor of `numbered`; raise RequestInvalid for anything else."""
    if not re.fullmatch("[1-9][0-9]{0,17}", cursor):
        raise errors.RequestInvalid(_NOT_OURS)
    return int(cursor)


def encode(at: datetime, row_id: uuid.UUID) -> str:
    """Name the last row of a page by its instant and id."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{row_id}".encode()).rstrip(b"=").decode()


def decode(cursor: str) -> tuple[datetime, uuid.UUID]:
    """Read a cursor; raise RequestInvalid for anything that `encode` did not write."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        at, row_id = text.split("|")
        instant = datetime.fromisoformat(at)
        position = instant, uuid.UUID(row_id)
        if instant.tzinfo is None or encode(*position) != cursor:
            raise ValueError("no cursor of ours")
        return position
    except (binascii.Error, ValueError):
        raise errors.RequestInvalid(_NOT_OURS) from None
