"""Owns `parlance worker`: which jobs there are, and the service method each calls."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import errors
import settings as configuration

if TYPE_CHECKING:
    from procrastinate import App, JobContext
    from procrastinate.jobs import Job

    from container import Container

log = logging.getLogger("parlance.worker")

#: Seconds between two tries to reach a PostgreSQL that is away.
_AGAIN = 1.0
#: Seconds until a reason that goes on is logged again.
_REPEAT_LOG_SECONDS = 60


def worker() -> None:
    """Run background jobs until stopped; start as many as you like.

    A job whose worker died is run again by another within a minute. Ctrl-C finishes what runs, then stops.

    Example: parlance worker
    """
    # Imported here: the other commands should not wait for the whole product.
    from adapters import logs
    from cli import migrations
    from container import Container
    from services.operations import startup

    settings = configuration.load()
    settings.require_services()
    logs.configure(settings)
    asyncio.run(startup.wait_until_ready(settings, migrations.revisions(settings)))
    asyncio.run(_work(Container(settings)))


def bind(queue: App, services: Container) -> None:
    """Name every job, its schedule and how it is tried again."""
    from procrastinate import RetryDecision, RetryStrategy

    from adapters.jobs import STALLED_AFTER

    # 5, 25, 125 seconds and so on: about an hour and a half in all.
    later = RetryStrategy(max_attempts=6, exponential_wait=5)

    @queue.task(name="auth.send_password_reset", retry=later)
    async def send_password_reset(email: str) -> None:
        await services.authentication.send_password_reset(email)

    @queue.task(name="auth.send_verification", retry=later)
    async def send_verification(user_id: str) -> None:
        await services.authentication.send_verification(user_id)

    @queue.task(name="storage.delete", retry=later)
    async def delete_object(key: str) -> None:
        await services.storage.delete(key)

    @queue.task(name="storage.delete_all", retry=later)
    async def delete_objects(prefix: str, keep: str | None = None) -> None:
        await services.storage.delete_all(prefix, keep=keep)

    @queue.task(name="videos.transcode", retry=later, pass_context=True)
    async def transcode(context: JobContext, lesson_id: str, source: str, attempt: str, tags: list[str]) -> None:
        last_try = context.job.attempts >= (later.max_attempts or 0)
        await services.videos.transcode(lesson_id, source, attempt, tags, last_try=last_try)

    @queue.task(name="videos.remake", retry=later, pass_context=True)
    async def remake(context: JobContext, lesson_id: str, source: str) -> None:
        last_try = context.job.attempts >= (later.max_attempts or 0)
        await services.videos.transcode(lesson_id, source, last_try=last_try)

    @queue.task(name="videos.tidy", retry=later)
    async def tidy_upload(lesson_id: str, folder: str) -> None:
        await services.videos.tidy(lesson_id, folder)

    @queue.task(name="videos.drop", retry=later)
    async def drop_upload(key: str, attempt: str) -> None:
        await services.uploads.drop(key, attempt)

    @queue.periodic(cron="23 * * * *", periodic_id="videos.sweep")
    @queue.task(name="videos.sweep", queueing_lock="videos.sweep")
    async def sweep_uploads(timestamp: int) -> None:
        swept = await services.uploads.sweep()
        if swept:
            log.info("forgot %d uploads that nobody went on with", swept)

    @queue.task(name="payments.handle_event", retry=later)
    async def handle_event(event_id: str) -> None:
        await services.webhooks.handle(event_id)

    @queue.task(name="payments.send_refund", retry=later)
    async def send_refund(refund_id: str) -> None:
        # What the provider refuses is noted; asking again would not help.
        with suppress(errors.PaymentRefused):
            await services.payments.send_refund(refund_id)

    @queue.task(name="notifications.announce", retry=later)
    async def announce(notification_id: str) -> None:
        await services.notifications.announce(notification_id)

    class WhenTold(RetryStrategy):
        """As late as FCM asks for, where that is later."""

        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
            decision = super().get_retry_decision(exception=exception, job=job)
            told = exception.retry_after if isinstance(exception, errors.Unavailable) else None
            if decision and decision.retry_at and told:
                return RetryDecision(retry_at=max(decision.retry_at, datetime.now(UTC) + timedelta(seconds=told)))
            return decision

    @queue.task(name="notifications.push", retry=WhenTold(max_attempts=6, exponential_wait=5))
    async def push(notification_id: str, device: str) -> None:
        await services.notifications.push(notification_id, device)

    @queue.periodic(cron="* * * * *", periodic_id="payments.overdue")
    @queue.task(name="payments.handle_overdue", queueing_lock="payments.handle_overdue")
    async def handle_overdue(timestamp: int) -> None:
        handled = await services.webhooks.handle_overdue()
        if handled:
            log.warning("handled %d payment events whose job was gone", handled)

    @queue.periodic(cron="*/10 * * * *", periodic_id="payments.reconcile")
    @queue.task(name="payments.reconcile", queueing_lock="payments.reconcile")
    async def reconcile(timestamp: int) -> None:
        # Younger ones hear from the provider by themselves.
        for each in await services.reconciliation.reconcile(before=timedelta(minutes=10)):
            log.warning(
                "order %s: %s", each.order_id or each.receipt_id, each.error or f"{each.before} -> {each.after}"
            )

    @queue.periodic(cron="* * * * *", periodic_id="sessions")
    @queue.task(name="sessions.end_stale", queueing_lock="sessions.end_stale")
    async def end_stale(timestamp: int) -> None:
        ended = await services.call_history.end_stale()
        if ended:
            log.info("ended %d calls that ran out of time", ended)

    @queue.periodic(cron="17 3 * * *", periodic_id="sign_ins")
    @queue.task(name="sign_ins.forget_expired", queueing_lock="sign_ins.forget_expired")
    async def forget_expired(timestamp: int) -> None:
        log.info("forgot %d expired refresh tokens", await services.logins.forget_expired())

    @queue.periodic(cron="41 3 * * *", periodic_id="pruning")
    @queue.task(name="pruning.prune", queueing_lock="pruning.prune", retry=later)
    async def prune(timestamp: int) -> None:
        for table, deleted in (await services.pruning.prune()).items():
            log.info("rows_pruned table=%s deleted=%d", table, deleted)
        # Those that succeeded are deleted as they end.
        hours = int(services.settings.prune_failed_jobs_after.total_seconds() // 3600)
        await queue.job_manager.delete_old_jobs(
            nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
        )

    @queue.periodic(cron="* * * * *", periodic_id="jobs")
    @queue.task(name="jobs.retry_stalled", queueing_lock="jobs.retry_stalled")
    async def retry_stalled(timestamp: int) -> None:
        for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
            log.warning("job %s (%s) lost its worker and runs again", job.id, job.task_name)
            await queue.job_manager.retry_job(job)


async def _serve(queue: App, name: str, concurrency: int, reconnect: Callable[[], Awaitable[None]]) -> None:
    """Do the jobs of one queue; a PostgreSQL that is away ends procrastinate's worker, and another begins.

    `reconnect` returns when PostgreSQL can be used again.
    """
    from procrastinate.exceptions import ConnectorException

    logged: tuple[str, float] | None = None
    while True:
        reason = "its worker stopped"
        try:
            # It ends by itself, without an error too, where it could not ask for jobs or note that it lives.
            await queue.run_worker_async(
                queues=[name],
                concurrency=concurrency,
                delete_jobs="successful",
                shutdown_graceful_timeout=20,
                install_signal_handlers=False,  # two would put out each other's
            )
        except ConnectorException as error:
            reason = " ".join(str(error.__cause__ or error).split())
        await reconnect()
        # A reason that goes on, such as a full disk, is not repeated every second.
        if logged is None or logged[0] != reason or time.monotonic() > logged[1] + _REPEAT_LOG_SECONDS:
            log.warning("queue_restarted queue=%s reason=%s", name, reason)
            logged = reason, time.monotonic()
        await asyncio.sleep(_AGAIN)


async def _work(services: Container) -> None:
    from procrastinate.jobs import DEFAULT_QUEUE

    from adapters.jobs import VIDEOS
    from services.operations import startup

    # One outage is one line, however many queues there are.
    one_at_a_time = asyncio.Lock()

    async def reconnect() -> None:
        async with one_at_a_time:
            # What would be a mistake at start is one of somebody else's now, such as a failover, and passes.
            check = functools.partial(startup.check_database, services.settings)
            await startup.wait_for("postgresql", check, startup.StartupError)

    queue = services.jobs.app
    bind(queue, services)
    async with queue.open_async():
        if services.settings.is_production and not services.settings.has_push_account:
            log.warning("FIREBASE_PROJECT_ID is not set: users are told in the app alone")
        # A video takes minutes of a whole core: mails and payments must not wait behind it, nor it behind them.
        workers = [
            asyncio.create_task(_serve(queue, name, concurrency, reconnect))
            for name, concurrency in ((DEFAULT_QUEUE, 4), (VIDEOS, 1))
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: [each.cancel() for each in workers])
        log.info("worker is ready")
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            await asyncio.gather(*workers, return_exceptions=True)  # each lets its jobs finish
    await services.close()
