"""`parlance worker` outlives a PostgreSQL that does not."""

from __future__ import annotations

import asyncio
import signal
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from procrastinate.exceptions import ConnectorException

from adapters import jobs as job_queue
from adapters.jobs import Jobs
from cli import worker
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded import EmbeddedServices
from jobs import retry_stalled_jobs, send_verification
from settings import Settings
from testing.containers import load_settings
from testing.databases import execute, own_database, query
from testing.polling import eventually
from testing.ports import free_port
from testing.shop import run_job_worker
from testing.time_limits import limit


async def test_jobs_run_after_a_postgresql_restart(environment: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    postgres = EmbeddedServices(directory, only=("postgres",))
    variables = {**environment, **postgres.start()}
    settings = load_settings(variables)
    upgrade_to_head(settings)
    services = Container(settings)

    async def ask() -> None:
        async with services.database.transaction() as db:
            await services.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))

    async def done() -> bool:
        return not await query(services, "SELECT FROM procrastinate_jobs WHERE task_name = 'auth.send_verification'")

    log = tmp_path / "worker.log"
    try:
        with run_job_worker(variables, log) as process:
            await ask()
            await eventually(done, within=15, what="the first job done")
            postgres.kill()
            postgres.stop()
            await eventually(lambda: "postgresql_unavailable" in log.read_text(), within=30, what="the worker noticed")
            postgres = EmbeddedServices(directory, only=("postgres",))
            assert postgres.start()["DB_PORT"] == variables["DB_PORT"]
            await ask()
            await eventually(done, within=30, what="the second job done")
            assert process.poll() is None
    finally:
        await services.close()
        postgres.stop()


async def test_worker_stops_while_postgresql_is_away(environment: dict[str, str], tmp_path: Path) -> None:
    """Both end at the same time, as they do when a machine is shut down: the job worker waits for nothing."""
    postgres = EmbeddedServices(tmp_path / "postgres", only=("postgres",))
    variables = {**environment, **postgres.start()}
    upgrade_to_head(load_settings(variables))
    try:
        with run_job_worker(variables, tmp_path / "worker.log") as process:
            postgres.kill()
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, limit(30))
    finally:
        postgres.stop()


FULL = """
    CREATE TABLE the_disk_is_full ();
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF OLD.status = 'doing' AND to_regclass('the_disk_is_full') IS NOT NULL THEN
            RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
        END IF;
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_job_result_is_stored_once_postgresql_is_back(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with own_database(settings) as own:
        services = Container(own)
        execute(own, FULL)
        async with services.database.transaction() as db:
            await services.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))

        async def is_done() -> bool:
            return not await query(
                services, "SELECT FROM procrastinate_jobs WHERE task_name = 'auth.send_verification'"
            )

        with run_job_worker({**environment, "DB_NAME": own.db_name}, log):
            await eventually(
                lambda: "job_outcome_not_stored" in log.read_text(), within=20, what="the disk was seen to be full"
            )
            assert not await is_done()
            execute(own, "DROP TABLE the_disk_is_full")
            await eventually(is_done, within=10, what="the job is done, and known to be")
        await services.close()


async def test_retry_is_scheduled_by_the_clock_of_postgresql(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_database(settings) as own:
        services = Container(own)
        async with services.database.transaction() as db:
            await services.jobs.enqueue(db, retry_stalled_jobs)
        async with services.jobs.app.open_async() as queue:
            worker_id = await queue.job_manager.register_worker()
            job = await queue.job_manager.fetch_job(queues=None, worker_id=worker_id)
            assert job is not None
            ahead = datetime.now(UTC) + timedelta(minutes=10)
            monkeypatch.setattr(job_queue, "utc_now", lambda: ahead)
            await queue.job_manager.retry_job(job, retry_at=ahead + timedelta(seconds=5))
        (row,) = await query(services, "SELECT scheduled_at - now() AS wait FROM procrastinate_jobs")
        assert timedelta(seconds=3) < row.wait <= timedelta(seconds=5)
        await services.close()


async def test_stalled_jobs_are_retried_once_by_several_workers(settings: Settings) -> None:
    """Procrastinate refuses a job that is in the queue again, which ended the scheduled job for good."""
    with own_database(settings) as own:
        one, other = Container(own), Container(own)
        async with one.database.transaction() as db:
            for _ in range(20):
                await one.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))
        async with one.jobs.app.open_async() as queue, other.jobs.app.open_async():
            worker_id = await queue.job_manager.register_worker()
            for _ in range(20):
                await queue.job_manager.fetch_job(queues=None, worker_id=worker_id)
            execute(own, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            await asyncio.gather(*(each.jobs.retry_stalled() for each in (one, other, one, other)))
        found = await query(one, "SELECT status, attempts, count(*) FROM procrastinate_jobs GROUP BY 1, 2")
        assert [tuple(row) for row in found] == [("todo", 1, 20)]
        await one.close()
        await other.close()


async def test_stalled_scheduled_job_does_not_stop_the_retries_of_others(settings: Settings) -> None:
    """Its next run is in the queue already, and there may be one only."""
    with own_database(settings) as own:
        services = Container(own)
        async with services.jobs.app.open_async() as queue:
            worker_id = await queue.job_manager.register_worker()
            scheduled = queue.configure_task("jobs.retry_stalled", queueing_lock="jobs.retry_stalled")
            await scheduled.defer_async()
            async with services.database.transaction() as db:
                await services.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))
            for _ in range(2):
                await queue.job_manager.fetch_job(queues=None, worker_id=worker_id)
            await scheduled.defer_async()
            execute(own, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            await services.jobs.retry_stalled()
        found = await query(services, "SELECT task_name, status FROM procrastinate_jobs ORDER BY 1")
        assert [tuple(row) for row in found] == [("auth.send_verification", "todo"), ("jobs.retry_stalled", "todo")]
        await services.close()


def test_heartbeats_are_sent_well_before_a_job_worker_counts_as_dead(settings: Settings) -> None:
    interval = Jobs(settings).app.worker_defaults["update_heartbeat_interval"]
    assert 2 * interval < job_queue.STALLED_AFTER_SECONDS


class Worker:
    """procrastinate's, that ends with an error, then without one, and then works until `stop`.

    A pool of connections can swallow a cancellation.
    """

    runs = 0
    works = asyncio.Event()

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        Worker.runs += 1
        if Worker.runs == 1:
            raise ConnectorException
        if Worker.runs > 2:
            self.works.set()
            while not self.stopped.is_set():
                with suppress(asyncio.CancelledError):
                    await self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()


async def test_queue_is_served_after_its_worker_ended() -> None:
    stopping = asyncio.Event()
    serving = asyncio.create_task(worker._serve("default", Worker, AsyncMock(), stopping))
    await asyncio.wait_for(Worker.works.wait(), limit(10))
    assert not serving.done()
    stopping.set()
    await asyncio.wait_for(serving, limit(10))


async def test_worker_stops_while_it_waits_for_a_service(environment: dict[str, str], tmp_path: Path) -> None:
    variables = {**environment, "DB_HOST": "127.0.0.1", "DB_PORT": str(free_port())}
    with run_job_worker(variables, tmp_path / "worker.log", ready="postgresql_unavailable") as process:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, limit(30)) == 0
