"""Job queue by procrastinate, whose jobs are rows of PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ParamSpec

import psycopg
import sqlalchemy as sa
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job as JobRow
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from sqlmodel.ext.asyncio.session import AsyncSession

import spans
from adapters import logs, postgresql
from instants import utc_now
from jobs import Job
from settings import Settings

log = logging.getLogger("parlance.jobs")

P = ParamSpec("P")

#: Seconds between two heartbeats of a job worker, and without one after which its jobs are retried by another.
HEARTBEAT_SECONDS, STALLED_AFTER_SECONDS = 3, 10
#: Seconds between two looks for jobs where PostgreSQL cannot notify of new ones.
_POLL_SECONDS = 1
#: Seconds for which a job worker tries to store the outcome of a job.
_STORE_OUTCOME_SECONDS = 300
#: Retries one job in the state in which it was found, unless another job worker does so.
_RETRY_STALLED = """
WITH stalled AS MATERIALIZED (
    SELECT id FROM procrastinate_jobs
     WHERE id = %(job_id)s AND status = 'doing' AND attempts = %(attempts)s FOR UPDATE SKIP LOCKED
)
SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL) FROM stalled
"""
#: The argument that carries the id of the request or event that enqueued a job.
_REQUEST_ID = "request_id"
#: The argument that carries the span in which a job was enqueued, which the job's span continues.
_TRACEPARENT = "traceparent"


def _named(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add the id of the request, or of the event, that is being served, and its span."""
    name, traceparent = logs.request_id.get(), spans.traceparent()
    named = {**arguments, _REQUEST_ID: name} if name else {**arguments}
    return {**named, _TRACEPARENT: traceparent} if traceparent else named


async def under_its_name(call_next: Callable[[], Awaitable[Any]], context: JobContext, _worker: object) -> Any:
    """Run a job with the id of the request that enqueued it, or its own, in every log line."""
    job, began = context.job, time.perf_counter()
    name = job.task_kwargs.pop(_REQUEST_ID, None)
    # Not reset: each job runs in a task of its own, which logs the outcome afterwards.
    logs.request_id.set(str(name or f"job-{job.id}"))
    logs.job_id.set(job.id)
    parent = job.task_kwargs.pop(_TRACEPARENT, None)
    parent = parent if isinstance(parent, str) else None
    with spans.span(f"job {job.task_name}", "consumer", parent=parent, attributes=_describe(job)):
        result = await call_next()
    if name:
        milliseconds = round((time.perf_counter() - began) * 1000, 1)
        log.info("job_done job=%s", job.task_name, extra={"milliseconds": milliseconds})
    return result


def _describe(job: JobRow) -> dict[str, spans.Value]:
    return {"parlance.job_id": job.id or 0, "parlance.attempt": job.attempts, "parlance.queue": job.queue}


#: Enqueues over the connections of transactions; it is never opened.
_ENQUEUER = App(connector=PsycopgConnector())


async def enqueue_each(
    db: AsyncSession, job: Job[...], arguments: Sequence[Mapping[str, Any]], *, wait: timedelta | None = None
) -> None:
    """Add a job for each set of arguments inside the caller's transaction: they exist exactly if it commits.

    With `wait` they run after that time.
    """
    if not arguments:
        return
    job.check_arguments(arguments[0])
    connection = await db.connection()
    raw = await connection.get_raw_connection()
    delay = {"seconds": int(wait.total_seconds())} if wait else None
    task = _ENQUEUER.configure_task(job.name, connection=raw.driver_connection, schedule_in=delay, queue=job.queue)
    try:
        await task.batch_defer_async(*map(_named, arguments))
    except ConnectorException as error:
        # An unavailable database raises the same error from both libraries.
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


class _Steadfast(JobManager):
    """Job manager that repeats storing a job's outcome until PostgreSQL has it, dated by PostgreSQL's clock.

    Otherwise the job would be `doing` for as long as its job worker runs.
    """

    async def finish_job(self, job: JobRow, status: Status, delete_job: bool) -> None:
        await self._store_outcome(super().finish_job, job, status, delete_job)

    async def retry_job(
        self,
        job: JobRow,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        wait = retry_at and max(timedelta(), retry_at - utc_now())

        async def note() -> None:
            row = await self.connector.execute_query_one_async("SELECT now() AS now")
            at = row["now"] + (wait or timedelta())
            await super(_Steadfast, self).retry_job(job, at, priority, queue, lock)

        await self._store_outcome(note)

    async def _store_outcome(self, note: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        deadline = time.monotonic() + _STORE_OUTCOME_SECONDS
        while True:
            try:
                return await note(*arguments)
            except ConnectorException as error:
                # PostgreSQL refuses a job that another job worker has taken meanwhile.
                if isinstance(error.__cause__, psycopg.errors.RaiseException) or time.monotonic() > deadline:
                    raise
                log.warning("job_outcome_not_stored error=%s", error.__cause__ or error)
            await asyncio.sleep(1)


class Jobs:
    """The queue of `jobs.py`'s table."""

    def __init__(self, settings: Settings) -> None:
        # LISTEN belongs to a connection, and a pooler of transactions gives each transaction another.
        is_pooled = settings.db_transaction_pooling
        self.app = App(
            connector=postgresql.job_connector(settings),
            worker_defaults={
                "worker_middleware": [under_its_name],
                "update_heartbeat_interval": HEARTBEAT_SECONDS,
                **({"listen_notify": False, "fetch_job_polling_interval": _POLL_SECONDS} if is_pooled else {}),
            },
        )
        self.app.job_manager = _Steadfast(self.app.connector)

    async def enqueue(self, db: AsyncSession, job: Job[P], *args: P.args, **arguments: P.kwargs) -> None:
        """Add a job inside the caller's transaction: it exists exactly if the transaction commits.

        Arguments are given by keyword.
        """
        await enqueue_each(db, job, [arguments])

    async def enqueue_later(
        self, db: AsyncSession, wait: timedelta, job: Job[P], *args: P.args, **arguments: P.kwargs
    ) -> None:
        """Add a job as `enqueue` does, to be run after `wait`."""
        await enqueue_each(db, job, [arguments], wait=wait)

    async def retry_stalled(self) -> None:
        """Put the jobs of dead job workers back into their queues; several job workers may do so at once."""
        manager = self.app.job_manager
        for stalled in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_SECONDS):
            try:
                retried = await manager.connector.execute_query_all_async(
                    _RETRY_STALLED, job_id=stalled.id, attempts=stalled.attempts
                )
            except UniqueViolation:
                # A scheduled job, whose next run is in the queue already.
                await manager.finish_job(stalled, Status.FAILED, delete_job=True)
                continue
            if retried:
                log.warning("stalled_job_retried job_id=%s job=%s", stalled.id, stalled.task_name)

    async def delete_ended(self, after: timedelta) -> None:
        """Delete jobs that failed, or were cancelled, longer ago than `after`, in whole hours."""
        await self.app.job_manager.delete_old_jobs(
            nb_hours=int(after.total_seconds() // 3600),
            include_failed=True,
            include_cancelled=True,
            include_aborted=True,
        )

    async def forget(self, db: AsyncSession, *, email: str, user_id: str) -> None:
        """Delete the jobs, done or not, whose arguments name a person, inside the caller's transaction.

        `email` is the canonical form, as in the arguments of jobs.
        """
        await db.execute(
            sa.text(
                "DELETE FROM procrastinate_jobs WHERE status <> 'doing'"
                " AND (args->>'email' = :email OR args->>'user_id' = :user_id)"
            ),
            {"email": email, "user_id": user_id},
        )
