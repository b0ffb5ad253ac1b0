"""redis-py's commands, sent by a Redis pipeline."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoPermissionError, ResponseError

from adapters.redis_cluster import make_link
from adapters.redis_connection import UNAVAILABLE, Argument
from adapters.redis_link import RedisLink
from adapters.redis_pipeline import RedisPipeline
from settings import Settings

__all__ = ["UNAVAILABLE", "PipelinedRedis", "check", "connect"]


class PipelinedRedis(Redis):
    """redis-py's client without connections of its own: it knows how replies are read, the pipeline where to send.

    Commands may run twice, after a connection that broke before their reply: for limits, marks and reads.
    """

    def __init__(self, pipeline: RedisPipeline) -> None:
        super().__init__(connection_pool=ConnectionPool(protocol=2, decode_responses=True))
        self._pipeline = pipeline

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        # What redis-py sends as one argument may be a name of two words.
        name, *rest = arguments
        reply = await self._pipeline.execute(*name.split(), *rest, idempotent=True)
        options.pop("keys", None)
        if (callback := self.response_callbacks.get(name)) is None:
            return reply
        read = callback(reply, **options)
        return await read if inspect.isawaitable(read) else read

    def register_script(self, script: str) -> _Script:  # type: ignore[override]
        return _Script(self, self._pipeline, script)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._pipeline.close()


class _Script(AsyncScript):
    def __init__(self, client: Redis, pipeline: RedisPipeline, source: str) -> None:
        super().__init__(client, source)
        self._pipeline, self._name = pipeline, secrets.token_hex(4)
        pipeline.add_script(self._name, source)

    async def __call__(  # type: ignore[override]
        self, keys: Sequence[str] = (), args: Iterable[Argument] = ()
    ) -> Any:
        return await self._pipeline.call(self._name, keys, args, idempotent=True)


async def check(settings: Settings) -> str:
    """Connect to the primary as the product does; return its reply to INFO, empty where the user may not ask.

    Raises NotPrimary, BusyLoadingError, AuthenticationError, ResponseError, another RedisError or OSError.
    """
    link = make_link(settings)
    try:
        connection = await link.open(None)
        try:
            info: str = await connection.ask("INFO", "everything")
        except NoPermissionError:
            info = ""
        connection.close()
    finally:
        await link.close()
    if "cluster_enabled:1" in info and link.address.kind != "cluster":
        raise ResponseError("it is a node of a cluster, whose REDIS_URL begins with redis+cluster://")
    return info


def connect(settings: Settings, link: RedisLink | None = None) -> PipelinedRedis:
    """Make a client for commands that may run twice; for all others use redis_pipeline.py."""
    return PipelinedRedis(RedisPipeline(settings, link=link))
