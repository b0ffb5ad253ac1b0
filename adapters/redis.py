"""Owns the connections to Redis or Valkey."""

from __future__ import annotations

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from settings import Settings

#: What a command raises while Redis is unreachable or refuses to serve.
UNAVAILABLE = (redis.exceptions.RedisError, OSError)


def connect(settings: Settings) -> Redis:
    """Make a client for what may be done twice: counts of limits, marks, questions. Else there is scripts.py."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    pool = BlockingConnectionPool(
        # More commands than this wait for each other; redis-py's own pool refuses them.
        max_connections=64,
        timeout=5,
        host=settings.redis_host or "localhost",
        port=settings.redis_port,
        password=password,
        decode_responses=True,
        socket_connect_timeout=3,
        socket_timeout=5,
        # Carries a command over a connection that a restart of Redis has closed: it is sent again, twice at most,
        # though it may have been carried out and only its answer lost.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)
