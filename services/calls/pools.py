"""Pools: whom learners may meet, on each platform, and who is in a pool."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import NamedTuple

import errors
from adapters.database import Database
from pairing_settings import PLATFORMS, POOL_KINDS, PoolKind

_SELECT_PLATFORM = "SELECT platform FROM refresh_tokens WHERE family_id = $1 LIMIT 1"
_SELECT_ENROLLMENT = "SELECT 1 FROM enrollments WHERE user_id = $1 AND course_id = $2"
_SELECT_PARTNERS = """
    SELECT array_to_string(ARRAY(
        SELECT w.wished_id FROM partner_wishes w
        JOIN partner_wishes b ON b.user_id = w.wished_id AND b.wished_id = w.user_id WHERE w.user_id = $1
    ), ' ')"""


class Pool(NamedTuple):
    """A choice of `among`; a course has its id."""

    kind: PoolKind
    course_id: str | None = None

    @classmethod
    def parse(cls, among: str) -> Pool:
        """Read a value of `among` that the contract allows."""
        kind, _, course_id = among.partition(":")
        assert kind in POOL_KINDS, among
        return cls(kind, course_id or None)

    def name_queue(self, band: str) -> str:
        """Name the queue of the pool's learners of an age band."""
        if self.course_id is not None:
            return f"{band}_course_{uuid.UUID(self.course_id).hex}"
        return band if self.kind == "anyone" else f"{band}_{self.kind}"


def read_kind(queue: str) -> PoolKind:
    """Return the kind of pool that a queue is of, by the name that `Pool.name_queue` gave it."""
    if "_course_" in queue:
        return "course"
    return "partners" if queue.endswith("_partners") else "anyone"


class Pools:
    def __init__(self, database: Database, pairing: Mapping[str, tuple[PoolKind, ...]]) -> None:
        """`pairing` has the pools that are open on each platform."""
        self._database = database
        self._pairing = pairing
        self._varies = len(set(pairing.values())) > 1

    async def read_platform(self, family_id: str) -> str:
        """Read the platform of a login; empty where no rule depends on it."""
        if not self._varies:
            return ""
        found = await self._database.fetch_one(_SELECT_PLATFORM, family_id)
        return str(found[0]) if found else ""

    def is_open(self, kind: PoolKind, platform: str) -> bool:
        """Whether learners of a platform may meet each other in a pool; one that is not known may where all may."""
        if platform in self._pairing:
            return kind in self._pairing[platform]
        return all(kind in pools for pools in self._pairing.values())

    def list_platforms(self, kind: PoolKind) -> list[str]:
        """List the platforms on which a pool is open."""
        return [each for each in PLATFORMS if kind in self._pairing[each]]

    async def require_open(self, kind: PoolKind, family_id: str) -> str:
        """Return the platform of a login; raise PoolClosed where it does not offer the pool."""
        platform = await self.read_platform(family_id)
        if not self.is_open(kind, platform):
            raise errors.PoolClosed()
        return platform

    async def require_member(self, user_id: str, pool: Pool) -> None:
        """Raise NotEnrolled for a course in which the user is not enrolled."""
        if pool.course_id is not None and (
            await self._database.fetch_one(_SELECT_ENROLLMENT, user_id, pool.course_id) is None
        ):
            raise errors.NotEnrolled("Enroll in the course to meet its learners.")

    async def list_members(self, user_id: str, pool: Pool) -> list[str] | None:
        """List the only users whom a pool lets a user meet; None for all who search in it."""
        if pool.kind != "partners":
            return None
        found = await self._database.fetch_one(_SELECT_PARTNERS, user_id)
        return str(found[0]).split() if found else []
