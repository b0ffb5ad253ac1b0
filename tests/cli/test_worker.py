"""`parlance worker` outlives a PostgreSQL that does not."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any, cast

import pytest
from procrastinate import App
from procrastinate.exceptions import ConnectorException

from adapters.embedded import EmbeddedServices
from cli import worker
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
        with a_worker(variables, log) as process:
            await ask()
            await eventually(done, within=15, what="the first job done")
            postgres.kill()
            postgres.stop()
            await eventually(lambda: "is away" in log.read_text(), within=30, what="the worker noticed")
            postgres = EmbeddedServices(directory, only=("postgres",))
            assert postgres.start()["DB_PORT"] == variables["DB_PORT"]
            await ask()
            await eventually(done, within=30, what="the second job done")
            assert process.poll() is None
    finally:
        await services.close()
        postgres.stop()


class Queue:
    """procrastinate, whose worker ends with an error, then without one, and then works."""

    def __init__(self) -> None:
        self.runs = 0
        self.works = asyncio.Event()

    async def run_worker_async(self, **_: Any) -> None:
        self.runs += 1
        if self.runs == 1:
            raise ConnectorException
        if self.runs > 2:
            self.works.set()
            await asyncio.Event().wait()


async def test_a_queue_is_served_again_however_its_worker_ended() -> None:
    queue = Queue()
    serving = asyncio.create_task(worker._serve(cast(App, queue), "default", 1))
    await asyncio.wait_for(queue.works.wait(), 10)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
