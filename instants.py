"""Instants: the present by this process's clock, and the form of an instant on the wire.

Rows and job schedules go by PostgreSQL's clock, limits and deadlines by Redis's (ARCHITECTURE.md, State). Unix seconds
stand where a protocol wants them: JWT, TURN, the signatures of Stripe.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

import orjson


def utc_now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


@overload
def format_instant(value: datetime) -> str: ...
@overload
def format_instant(value: datetime | None) -> str | None: ...


def format_instant(value: datetime | None) -> str | None:
    """Write an instant as RFC 3339 in UTC with `Z`, to the millisecond; None stays None."""
    if value is None:
        return None
    if value.utcoffset():
        value = value.astimezone(UTC)
    text = orjson.dumps(value).decode()  # a third of what `isoformat` takes, and a list has many
    return f"{text[1:24]}Z" if value.microsecond else f"{text[1:20]}.000Z"
