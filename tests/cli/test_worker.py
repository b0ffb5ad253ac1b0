"""`parlance worker` outlives a PostgreSQL that does not."""

from __future__ import annotations

import uuid
from pathlib import Path

from adapters.embedded import EmbeddedServices
from cli.migrations import upgrade_to_head
from container import Container
from tests.accounts import eventually, load, query
from tests.shop import a_worker


async def test_jobs_are_done_after_postgresql_was_killed_and_came_back(
    environment: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "postgres"
    postgres = EmbeddedServices(directory, only=("postgres",))
    variables = {**environment, **postgres.start()}
    settings = load(variables)
    upgrade_to_head(settings)
    services = Container(settings)

    async def ask() -> None:
        async with services.database.transaction() as session:
            await services.jobs.enqueue(session, "auth.send_verification", user_id=str(uuid.uuid4()))

    async def done() -> bool:
        return not await query(services, "SELECT FROM procrastinate_jobs WHERE task_name = 'auth.send_verification'")

    log = tmp_path / "worker.log"
    try:
        with a_worker(variables, log) as worker:
            await ask()
            await eventually(done, within=15, what="the first job done")
            postgres.kill()
            postgres.stop()
            await eventually(lambda: "is away" in log.read_text(), within=30, what="the worker noticed")
            postgres = EmbeddedServices(directory, only=("postgres",))
            assert postgres.start()["DB_PORT"] == variables["DB_PORT"]
            await ask()
            await eventually(done, within=30, what="the second job done")
            assert worker.poll() is None
    finally:
        await services.close()
        postgres.stop()
