"""Presence of learners: whether they have an open socket, or are in a call, as Redis has it at the moment."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

from adapters import redis
from adapters.redis_pipeline import RedisPipeline

log = logging.getLogger("parlance.presence")

Presence: TypeAlias = Literal["online", "in_call", "offline"]


class PresenceService:
    def __init__(self, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline

    async def read(self, user_ids: Sequence[str]) -> dict[str, Presence]:
        """Read the presence of users, by id; none while Redis is unavailable: a list is worth more than its lamps."""
        if not user_ids:
            return {}
        try:
            found: list[str] = await self._pipeline.call("read_presence", ["{match}:due"], user_ids, idempotent=True)
        except redis.UNAVAILABLE as error:
            log.warning("presence_not_read users=%d error=%r", len(user_ids), error)
            return {}
        return dict(zip(user_ids, cast("list[Presence]", found), strict=True))
