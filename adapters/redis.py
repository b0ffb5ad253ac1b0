"""Owns the connections to Redis or Valkey."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from settings import Settings


def connect(settings: Settings, *, read_timeout: float = 5) -> Redis:
    """Make a client; `read_timeout` in seconds bounds the wait for one answer."""
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
        socket_timeout=read_timeout,
        # One retry carries a command over a connection that a restart of Redis has closed.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)
