"""`parlance worker`: runs the jobs of `jobs.py`."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

import errors
import jobs
import settings as configuration
from adapters import tasks
from instants import utc_now

if TYPE_CHECKING:
    from procrastinate import App, JobContext
    from procrastinate.app import WorkerOptions
    from procrastinate.jobs import Job as JobRow
    from procrastinate.tasks import Task

    from container import Container
    from settings import Settings

log = logging.getLogger("parlance.worker")

#: Seconds between two attempts to reach an unavailable PostgreSQL.
_RESTART_DELAY_SECONDS = 1.0
#: Seconds until an unchanged reason is logged again.
_REPEAT_LOG_SECONDS = 60


def worker() -> None:
    """Run background jobs until stopped; start as many as you like.

    Another job worker runs a job again whose job worker died, within a minute. Ctrl-C finishes what runs, then stops.

    Example: parlance worker
    """
    # Imported here: the other commands should not wait for the whole product.
    from adapters import error_reports, logs, tracing

    settings = configuration.load()
    settings.require_services()
    logs.configure(settings)
    error_reports.configure(settings)
    tracing.configure(settings, process="worker")
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    from cli import migrations
    from container import Container
    from services.operations import startup

    # Before anything that waits: the first process of a container has no default action for these.
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await _unless(stopping, startup.wait_until_ready(settings, migrations.revisions(settings)))
    if not stopping.is_set():
        await _work(Container(settings), stopping)


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do work that is given up when the process stops; raise what it raises."""
    working = asyncio.create_task(work)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.end(working, stop)
    if not working.cancelled():
        working.result()


def bind(queue: App, services: Container) -> None:
    """Register every job of the table."""
    for each in jobs.JOBS.values():
        _register(queue, services, each)


def _register(queue: App, services: Container, job: jobs.Job[...]) -> None:
    from procrastinate import RetryDecision, RetryStrategy

    class Retry(RetryStrategy):
        """Waits of 5, 25, 125 seconds and so on, or the failure's Retry-After."""

        def get_retry_decision(self, *, exception: BaseException, job: JobRow) -> RetryDecision | None:
            decision = super().get_retry_decision(exception=exception, job=job)
            seconds = exception.retry_after if isinstance(exception, errors.Unavailable) else None
            if decision and decision.retry_at and seconds and honours_retry_after:
                return RetryDecision(retry_at=max(decision.retry_at, utc_now() + timedelta(seconds=seconds)))
            return decision

    async def run(context: JobContext, /, **arguments: Any) -> None:
        arguments.pop("timestamp", None)  # of a scheduled job
        last = context.job.attempts >= job.max_attempts
        await job.function(jobs.Run(services, is_last_attempt=last), **arguments)

    honours_retry_after = job.honours_retry_after
    task = queue.task(
        name=job.name,
        queue=job.queue,
        # One at a time of each scheduled job.
        queueing_lock=job.name if job.schedule else None,
        retry=Retry(max_attempts=job.max_attempts, exponential_wait=5) if job.max_attempts > 1 else False,
        pass_context=True,
    )(run)
    if job.schedule:
        queue.periodic(cron=job.schedule, periodic_id=job.name)(cast("Task[..., Any, [int]]", task))


class Worker(Protocol):
    """procrastinate's worker of one queue."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


async def _serve(
    queue: str, start: Callable[[], Worker], reconnect: Callable[[], Coroutine[Any, Any, None]], stopping: asyncio.Event
) -> None:
    """Run the jobs of one queue; an outage of PostgreSQL ends procrastinate's worker, and another starts.

    `reconnect` returns when PostgreSQL can be used again.
    """
    from procrastinate.exceptions import ConnectorException

    logged: tuple[str, float] | None = None
    while not stopping.is_set():
        reason = "its worker stopped"
        try:
            # It ends by itself, also without an error, if it could not fetch jobs or send its heartbeat.
            await _run_until(stopping, start())
        except ConnectorException as error:
            reason = " ".join(str(error.__cause__ or error).split())
        if stopping.is_set():
            return
        await _unless(stopping, reconnect())
        # An unchanged reason, such as a full disk, is not repeated every second.
        if logged is None or logged[0] != reason or time.monotonic() > logged[1] + _REPEAT_LOG_SECONDS:
            log.warning("queue_restarted queue=%s reason=%s", queue, reason)
            logged = reason, time.monotonic()
        await _unless(stopping, asyncio.sleep(_RESTART_DELAY_SECONDS))


async def _run_until(stopping: asyncio.Event, worker: Worker) -> None:
    """Run procrastinate's worker; when the process stops, it finishes its jobs first.

    By its own `stop`, not by a cancellation, which the pool of connections can swallow while it registers itself.
    """

    async def stop() -> None:
        await stopping.wait()
        worker.stop()

    telling = asyncio.create_task(stop())
    try:
        await worker.run()
    finally:
        await tasks.end(telling)


async def _work(services: Container, stopping: asyncio.Event) -> None:
    from procrastinate import worker

    from services.operations import startup

    # One outage is one line, however many queues there are.
    one_at_a_time = asyncio.Lock()

    async def reconnect() -> None:
        async with one_at_a_time:
            # What would be a misconfiguration at start has another cause now, such as a failover, and passes.
            check = functools.partial(startup.check_database, services.settings)
            await startup.wait_for("postgresql", check, startup.StartupError)

    app = services.jobs.app
    bind(app, services)

    def start(queue: str, concurrency: int) -> Worker:
        options: WorkerOptions = {
            **app.worker_defaults,
            "queues": [queue],
            "concurrency": concurrency,
            "delete_jobs": "successful",
            "shutdown_graceful_timeout": 20,
            "install_signal_handlers": False,  # two would replace each other's
        }
        return worker.Worker(app, **options)

    try:
        await _unless(stopping, app.connector.open_async())
        if not stopping.is_set():
            await _serve_all(services, start, reconnect, stopping)
    finally:
        await app.close_async()
    await services.close()


async def _serve_all(
    services: Container,
    start: Callable[[str, int], Worker],
    reconnect: Callable[[], Coroutine[Any, Any, None]],
    stopping: asyncio.Event,
) -> None:
    if services.settings.is_production and not services.settings.has_push_account:
        log.warning("push_disabled reason=%r", "FIREBASE_PROJECT_ID is not set")
    log.info("job_worker_ready")
    watch = asyncio.create_task(services.watch_redis())
    # A video takes minutes of a whole core: e-mails and payments must not wait behind it, nor it behind them.
    async with asyncio.TaskGroup() as serving:
        for queue, concurrency in ((jobs.DEFAULT_QUEUE, 4), (jobs.VIDEO_QUEUE, 1)):
            serving.create_task(_serve(queue, functools.partial(start, queue, concurrency), reconnect, stopping))
    await tasks.end(watch)
