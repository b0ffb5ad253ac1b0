"""Pools: whom a search may meet, on which platform, and the queue in which it waits.

The queue of a pool is named by the age band: the band alone for `anyone`, `{band}_partners`, and `{band}_course_{id}`
with the 32 hexadecimal digits of the course. Scripts read the band as what comes before.

A deployment opens pools for each platform (PAIRING), which is that of the login. An entry of a queue names the platform
of its learner and those for which its web process has the pool open: where two processes disagree, as in a rolling
restart that closes a pool, two are paired only if each process has it open for both.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import errors
from adapters.database import Database
from models import AgeBand
from pairing_settings import PLATFORMS, PoolKind
from services.calls.room_state import QueueEntry

#: What a search may be among, beside `course:{uuid}`.
ANYONE, PARTNERS = "anyone", "partners"
_COURSE = "course:"

_SELECT_PLATFORM = "SELECT platform FROM refresh_tokens WHERE family_id = $1 LIMIT 1"
_SELECT_ENROLLMENT = "SELECT 1 FROM enrollments WHERE user_id = $1 AND course_id = $2"
_SELECT_PARTNERS = """
    SELECT array_to_string(ARRAY(
        SELECT mine.wished_id FROM partner_wishes mine
        JOIN partner_wishes theirs ON theirs.user_id = mine.wished_id AND theirs.wished_id = mine.user_id
        WHERE mine.user_id = u.id
    ), ' ') FROM users u WHERE u.id = $1"""


class Pool(NamedTuple):
    """The queue of a search, and the users of whom the partner must be one, None for all of that queue.

    `platforms` are those on which it is open.
    """

    queue: str
    only: Collection[str] | None
    platforms: Sequence[str] = PLATFORMS


class Pools:
    """Pools that a learner may search."""

    def __init__(self, database: Database, pairing: Mapping[str, tuple[PoolKind, ...]]) -> None:
        """`pairing` has the pools that are open on each platform."""
        self._database = database
        self._pairing = pairing

    async def read_platform(self, family_id: str) -> str:
        """Read the platform of a login; empty where it is not known any more."""
        found = await self._database.fetch_one(_SELECT_PLATFORM, family_id)
        return str(found[0]) if found else ""

    def require_open(self, among: str, platform: str) -> None:
        """Raise PoolClosed where a platform does not offer a pool."""
        if not _is_among(platform, self._list_platforms(among)):
            raise errors.PoolClosed()

    async def choose(self, user_id: str, band: AgeBand, among: str, platform: str = "") -> Pool:
        """Return the pool of a search; raise PoolClosed, or NotEnrolled for a course."""
        self.require_open(among, platform)
        only: Collection[str] | None = None
        if among == PARTNERS:
            found = await self._database.fetch_one(_SELECT_PARTNERS, user_id)
            only = str(found[0]).split() if found else []
        elif among != ANYONE:
            course_id = among.removeprefix(_COURSE)
            if await self._database.fetch_one(_SELECT_ENROLLMENT, user_id, course_id) is None:
                raise errors.NotEnrolled("Enroll in the course to meet its learners.")
        return Pool(name_queue(band, among), only, self._list_platforms(among))

    def _list_platforms(self, among: str) -> list[str]:
        kind = among.partition(":")[0]
        return [each for each in PLATFORMS if kind in self._pairing[each]]


def allow_pair(one: QueueEntry, other: QueueEntry) -> bool:
    """Whether the web process of each of two searches has its pool open for the other's platform.

    An entry of a release before pools had platforms is taken for one that every platform may meet.
    """
    return all(
        _is_among(theirs.get("platform", ""), mine.get("platforms", PLATFORMS))
        for mine, theirs in ((one, other), (other, one))
    )


def _is_among(platform: str, platforms: Collection[str]) -> bool:
    """Whether a platform is one of those; one that is not known is, where all are."""
    return platform in platforms or (not platform and len(platforms) == len(PLATFORMS))


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
