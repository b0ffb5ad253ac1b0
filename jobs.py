"""Background jobs: the one table of what is enqueued, what each job runs, its queue, schedule and retries.

A service enqueues a job inside its transaction (`adapters/jobs.py`); the job worker (`cli/worker.py`) registers the
whole table. Names are stored in PostgreSQL: a renamed job leaves rows that no job worker can run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec

import errors

if TYPE_CHECKING:
    from container import Container
    from services.calls.outcomes import OverReason

log = logging.getLogger("parlance.jobs")

P = ParamSpec("P")

DEFAULT_QUEUE = "default"
#: Jobs that take minutes of a whole core; a job worker runs one of them at a time, beside those of the default queue.
VIDEO_QUEUE = "videos"

#: With waits of 5, 25, 125 seconds and so on: about an hour and a half in all.
_RETRY_ATTEMPTS = 6
#: Younger orders are reported by the payment provider itself.
_RECONCILE_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job."""

    services: Container
    is_last_attempt: bool


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A row of the table. `function` takes the run and, by keyword, the arguments that the job was enqueued with."""

    name: str
    function: Callable[Concatenate[Run, P], Awaitable[None]]
    queue: str
    #: When the job is enqueued by itself, as a cron expression.
    schedule: str | None
    #: 1 where the job is not tried again; it then comes by its schedule.
    max_attempts: int
    #: Whether the next attempt waits as long as `errors.Unavailable.retry_after` says, where that is longer.
    honours_retry_after: bool

    def check_arguments(self, names: Collection[str]) -> None:
        """Raise TypeError unless these are the names of the job's arguments."""
        inspect.signature(self.function).bind(None, **dict.fromkeys(names))


#: Every job by its name.
JOBS: dict[str, Job[...]] = {}


def job(
    name: str,
    *,
    queue: str = DEFAULT_QUEUE,
    schedule: str | None = None,
    max_attempts: int = 1,
    honours_retry_after: bool = False,
) -> Callable[[Callable[Concatenate[Run, P], Awaitable[None]]], Job[P]]:
    """Add a function to the table."""

    def add(function: Callable[Concatenate[Run, P], Awaitable[None]]) -> Job[P]:
        if name in JOBS:
            raise ValueError(f"two jobs are named {name}")
        JOBS[name] = made = Job(name, function, queue, schedule, max_attempts, honours_retry_after)
        return made

    return add


# --- Identity -----------------------------------------------------------------------------------------------------


@job("auth.send_password_reset", max_attempts=_RETRY_ATTEMPTS)
async def send_password_reset(run: Run, *, email: str) -> None:
    await run.services.passwords.send_reset(email)


@job("auth.send_verification", max_attempts=_RETRY_ATTEMPTS)
async def send_verification(run: Run, *, user_id: str) -> None:
    await run.services.email_verification.send(user_id)


@job("auth.send_email_code", max_attempts=_RETRY_ATTEMPTS)
async def send_email_code(run: Run, *, challenge_id: str) -> None:
    await run.services.email_codes.send(challenge_id)


@job("auth.send_email_change", max_attempts=_RETRY_ATTEMPTS)
async def send_email_change_mails(run: Run, *, change_id: str) -> None:
    await run.services.email_changes.send_mails(change_id)


@job("auth.send_deletion_link", max_attempts=_RETRY_ATTEMPTS)
async def send_deletion_link(run: Run, *, email: str) -> None:
    await run.services.deletion_links.send(email)


@job("auth.send_security_notice", max_attempts=_RETRY_ATTEMPTS)
async def send_security_notice(run: Run, *, user_id: str, change: str, at: str) -> None:
    await run.services.security_notices.send(user_id, change, at)


@job("identities.exchange_code", max_attempts=_RETRY_ATTEMPTS)
async def exchange_code(run: Run, *, user_id: str, identity_id: str, client_id: str, code: str) -> None:
    # `user_id` is for the deletion of the account, which deletes its jobs.
    await run.services.identity_grants.exchange(identity_id, client_id, code)


@job("identities.revoke_grant", max_attempts=_RETRY_ATTEMPTS)
async def revoke_grant(run: Run, *, provider: str, client_id: str, grant: str) -> None:
    await run.services.identity_grants.revoke(provider, client_id, grant)


@job("sign_ins.forget_expired", schedule="17 3 * * *")
async def delete_expired_tokens(run: Run) -> None:
    log.info("refresh_tokens_deleted count=%d", await run.services.logins.delete_expired())


# --- Calls --------------------------------------------------------------------------------------------------------


@job("sessions.end_stale", schedule="* * * * *")
async def end_stale_calls(run: Run) -> None:
    if ended := await run.services.call_history.end_stale():
        log.info("stale_calls_ended count=%d", ended)


@job("calls.check_pairing", max_attempts=_RETRY_ATTEMPTS)
async def check_pairing(run: Run, *, user_id: str) -> None:
    await run.services.pairing_checks.check_user(user_id)
    await run.services.invitation_checks.check_user(user_id)


@job("invitations.announce_end", max_attempts=_RETRY_ATTEMPTS)
async def announce_invitation_end(
    run: Run, *, invitation_id: str, inviter_id: str, invitee_id: str, reason: OverReason
) -> None:
    await run.services.invitation_ends.announce_end(invitation_id, inviter_id, invitee_id, reason)


@job("invitations.notify", max_attempts=_RETRY_ATTEMPTS)
async def notify_invitee(run: Run, *, invitation_id: str, invitee_id: str) -> None:
    await run.services.invitation_notices.notify(invitation_id, invitee_id)


@job("invitations.expire", schedule="* * * * *")
async def expire_invitations(run: Run) -> None:
    if expired := await run.services.invitation_ends.expire_overdue():
        log.info("invitations_expired count=%d", expired)


# --- People -------------------------------------------------------------------------------------------------------


@job("appointments.remind", schedule="* * * * *")
async def remind_of_appointments(run: Run) -> None:
    done = await run.services.appointment_reminders.run()
    if any(done):
        log.info("appointments_reminded count=%d cancelled=%d moved=%d", *done)


# --- Safety -------------------------------------------------------------------------------------------------------


@job("reports.weigh", max_attempts=_RETRY_ATTEMPTS)
async def weigh_reports(run: Run, *, user_id: str) -> None:
    await run.services.reports.weigh_again(user_id)


@job("reports.notify_overdue", schedule="*/10 * * * *")
async def notify_overdue_reports(run: Run) -> None:
    if overdue := await run.services.reports.notify_overdue():
        log.warning("reports_overdue count=%d", overdue)


@job("reports.prune_traits", schedule="47 3 * * *", max_attempts=_RETRY_ATTEMPTS)
async def prune_report_traits(run: Run) -> None:
    log.info("report_traits_pruned count=%d", await run.services.reports.prune_traits())


# --- Safety -------------------------------------------------------------------------------------------------------


@job("sanctions.send_statement", max_attempts=_RETRY_ATTEMPTS)
async def send_statement(run: Run, *, sanction_id: str) -> None:
    await run.services.statements.send_statement(sanction_id)


@job("sanctions.send_lift_notice", max_attempts=_RETRY_ATTEMPTS)
async def send_lift_notice(run: Run, *, sanction_id: str) -> None:
    await run.services.statements.send_lift_notice(sanction_id)


@job("appeals.send_decision", max_attempts=_RETRY_ATTEMPTS)
async def send_appeal_decision(run: Run, *, appeal_id: str) -> None:
    await run.services.statements.send_decision(appeal_id)


@job("ages.delete_account", max_attempts=_RETRY_ATTEMPTS)
async def delete_account_of_child(run: Run, *, user_id: str) -> None:
    await run.services.account_deletion.delete_child(user_id)


# --- Payments -----------------------------------------------------------------------------------------------------


@job("payments.handle_event", max_attempts=_RETRY_ATTEMPTS)
async def handle_payment_event(run: Run, *, event_id: str) -> None:
    await run.services.webhooks.handle(event_id)


@job("payments.send_refund", max_attempts=_RETRY_ATTEMPTS)
async def send_refund(run: Run, *, refund_id: str) -> None:
    # A refund that the provider refuses is recorded; another attempt would not help.
    with suppress(errors.PaymentRefused):
        await run.services.refunds.send(refund_id)


@job("payments.handle_overdue", schedule="* * * * *")
async def handle_overdue_payment_events(run: Run) -> None:
    if handled := await run.services.webhooks.handle_overdue():
        log.warning("overdue_payment_events_handled count=%d", handled)


@job("payments.reconcile", schedule="*/10 * * * *")
async def reconcile_payments(run: Run) -> None:
    for each in await run.services.reconciliation.reconcile(before=_RECONCILE_AFTER):
        subject = each.order_id or each.receipt_id
        if each.error:
            log.warning("reconciliation_failed order_id=%s error=%s", subject, each.error)
        else:
            log.warning("order_reconciled order_id=%s before=%s after=%s", subject, each.before, each.after)


# --- Learning -----------------------------------------------------------------------------------------------------


@job("videos.transcode", queue=VIDEO_QUEUE, max_attempts=_RETRY_ATTEMPTS)
async def transcode_upload(run: Run, *, lesson_id: str, source: str, attempt: str, tags: list[str]) -> None:
    await run.services.videos.transcode(lesson_id, source, attempt, tags, last_try=run.is_last_attempt)


@job("videos.remake", queue=VIDEO_QUEUE, max_attempts=_RETRY_ATTEMPTS)
async def transcode_original(run: Run, *, lesson_id: str, source: str) -> None:
    await run.services.videos.transcode(lesson_id, source, last_try=run.is_last_attempt)


@job("videos.tidy", max_attempts=_RETRY_ATTEMPTS)
async def delete_unused_video(run: Run, *, lesson_id: str, folder: str) -> None:
    await run.services.videos.tidy(lesson_id, folder)


@job("videos.drop", max_attempts=_RETRY_ATTEMPTS)
async def delete_upload(run: Run, *, key: str, attempt: str) -> None:
    await run.services.uploads.delete_stored(key, attempt)


@job("videos.sweep", schedule="23 * * * *")
async def delete_stale_uploads(run: Run) -> None:
    if deleted := await run.services.uploads.delete_expired():
        log.info("stale_uploads_deleted count=%d", deleted)


# --- Messaging ----------------------------------------------------------------------------------------------------


@job("notifications.announce", max_attempts=_RETRY_ATTEMPTS)
async def emit_notification(run: Run, *, notification_id: str) -> None:
    await run.services.notifications.emit(notification_id)


@job("notifications.push", max_attempts=_RETRY_ATTEMPTS, honours_retry_after=True)
async def push_notification(run: Run, *, notification_id: str, device: str) -> None:
    await run.services.notifications.push(notification_id, device)


# --- Operations ---------------------------------------------------------------------------------------------------


@job("storage.delete", max_attempts=_RETRY_ATTEMPTS)
async def delete_object(run: Run, *, key: str) -> None:
    await run.services.storage.delete(key)


@job("storage.delete_all", max_attempts=_RETRY_ATTEMPTS)
async def delete_folder(run: Run, *, prefix: str) -> None:
    await run.services.storage.delete_all(prefix)


@job("pruning.prune", schedule="41 3 * * *", max_attempts=_RETRY_ATTEMPTS)
async def prune(run: Run) -> None:
    for table, deleted in (await run.services.pruning.prune()).items():
        log.info("rows_pruned table=%s deleted=%d", table, deleted)
    # Jobs that succeed are deleted as they end.
    await run.services.jobs.delete_ended(run.services.settings.prune_failed_jobs_after)


@job("retention.erase", schedule="11 4 * * *", max_attempts=_RETRY_ATTEMPTS)
async def erase_old_data(run: Run) -> None:
    for table, erased in (await run.services.retention.erase()).items():
        log.info("rows_erased table=%s erased=%d", table, erased)


@job("jobs.retry_stalled", schedule="* * * * *")
async def retry_stalled_jobs(run: Run) -> None:
    await run.services.jobs.retry_stalled()
