"""Connections to Redis or Valkey."""

from __future__ import annotations

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from settings import Settings

#: What a command raises while Redis is unreachable or refuses to serve.
UNAVAILABLE = (redis.exceptions.RedisError, OSError)


def connect(settings: Settings) -> Redis:
    """Make a client for commands that may run twice: limits, marks, reads. For all others use redis_pipeline.py."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    pool = BlockingConnectionPool(
        # More commands wait for a connection; redis-py's own pool would refuse them.
        max_connections=64,
        timeout=5,
        host=settings.redis_host or "localhost",
        port=settings.redis_port,
        password=password,
        decode_responses=True,
        socket_connect_timeout=3,
        socket_timeout=5,
        # Repeats a command, twice at most, if a restart of Redis closed its connection, although it may have run
        # and only the answer was lost.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)
