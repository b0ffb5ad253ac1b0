"""Redis with TLS, as Debian builds it: one server, Sentinels and a cluster."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import settings as configuration
from adapters.redis_connection import UNAVAILABLE
from adapters.redis_pipeline import RedisPipeline
from services.operations import startup
from testing.debian_programs import certificate, find_program
from testing.polling import eventually
from testing.redis_servers import nodes, running_cluster, running_sentinels, running_servers

pytestmark = pytest.mark.system


async def test_every_form_of_redis_url_works_over_tls(tmp_path: Path) -> None:
    own = certificate(tmp_path / "tls")
    program = find_program("redis-server", "redis-server")
    with running_servers(tmp_path / "pair", 2, program=program, certificate=own) as (primary, replica):
        replica.follow(primary)
        with running_sentinels(tmp_path, primary, "parlance", program=program, certificate=own) as sentinels:
            for url in (
                f"rediss://127.0.0.1:{primary.port}",
                f"rediss+sentinel://{nodes(sentinels)}/parlance",
            ):
                settings = configuration.load(None, redis_url=url, redis_sslrootcert=own)
                await startup.check_redis(settings)
                pipeline = RedisPipeline(settings)
                assert await pipeline.execute("INCR", "writes") > 0
                if "sentinel" in url:
                    primary.kill()

                    async def is_written() -> bool:
                        with suppress(*UNAVAILABLE):
                            return bool(await pipeline.execute("INCR", "writes", idempotent=True))  # noqa: B023
                        return False

                    await eventually(is_written, within=60)
                    assert int(replica.client.get("writes")) >= 3
                await pipeline.close()
    with running_cluster(tmp_path / "cluster", program=program, certificate=own) as servers:
        settings = configuration.load(None, redis_url=f"rediss+cluster://{nodes(servers)}", redis_sslrootcert=own)
        await startup.check_redis(settings)
        pipeline = RedisPipeline(settings)
        for number in range(30):
            assert await pipeline.execute("SET", f"key:{number}", number) == "OK"
        assert all(server.client.dbsize() for server in servers)
        await pipeline.close()
