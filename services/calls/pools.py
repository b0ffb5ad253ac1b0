"""Pools: who a search may meet, and the queue in which it waits.

The queue of a pool is named by the age band: the band alone for `anyone`, `{band}_partners`, and `{band}_course_{id}`
with the 32 hexadecimal digits of the course. Scripts read the band as what comes before.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import NamedTuple

import errors
from models import AgeBand

#: What a search may be among, beside `course:{uuid}`.
ANYONE, PARTNERS = "anyone", "partners"
_COURSE = "course:"


class Pool(NamedTuple):
    """The queue of a search, and the users of whom the partner must be one, None for all of that queue."""

    queue: str
    only: Collection[str] | None


class Pools:
    """Pools that a learner may search; `partners` and `course` are closed."""

    async def choose(self, user_id: str, band: AgeBand, among: str) -> Pool:
        """Return the pool of a search; raise PoolClosed."""
        if among != ANYONE:
            raise errors.PoolClosed()
        return Pool(name_queue(band, among), None)


def name_queue(band: AgeBand, among: str) -> str:
    """Name the queue of a band's searches among `anyone`, `partners` or `course:{uuid}`."""
    if among == ANYONE:
        return band.value
    if among == PARTNERS:
        return f"{band.value}_partners"
    return f"{band.value}_course_{uuid.UUID(among.removeprefix(_COURSE)).hex}"


def read_among(queue: str) -> str:
    """Read from the name of a queue what its searches are among."""
    if queue.endswith("_partners"):
        return PARTNERS
    _, is_course, course = queue.partition("_course_")
    return f"{_COURSE}{uuid.UUID(course)}" if is_course else ANYONE
