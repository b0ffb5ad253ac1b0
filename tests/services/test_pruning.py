"""Rows that the nightly job deletes, and rows that it keeps."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import errors
from container import Container
from instants import utc_now
from services.identity.logins import Identity
from services.messaging import notification_templates, notifications
from services.operations import pruning
from services.operations.pruning import PruningService
from settings import Settings, SettingsError
from testing.accounts import new_email
from testing.containers import load_settings, run_jobs
from testing.containers import running_container as serving
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.servers import PASSWORD

WEEK_STREAK = notification_templates.achievement("streak", 7)


@pytest.fixture(scope="module")
def own(settings: Settings) -> Iterator[Settings]:
    with own_database(settings) as found:
        yield found


@pytest.fixture
async def services(own: Settings) -> AsyncIterator[Container]:
    async with serving(own, mailer=Outbox()) as made:
        for table in ("notifications", "webhook_events", "password_reset_tokens", "email_verification_tokens"):
            await query(made, f"DELETE FROM {table}")
        yield made


async def learner(services: Container) -> Identity:
    signed_in = await services.authentication.register(new_email(), PASSWORD, "phone", "ios")
    return services.logins.identify(signed_in.access_token)


async def add_notification(
    services: Container, who: Identity, notice: notification_templates.NotificationTemplate
) -> None:
    async with services.database.transaction() as db:
        await notifications.notify_user(db, uuid.UUID(who.user_id), notice)


async def titles(services: Container) -> set[str]:
    return {row.title for row in await query(services, "SELECT title FROM notifications")}


async def count(services: Container, table: str) -> int:
    return int((await query(services, f"SELECT count(*) FROM {table}"))[0][0])


async def read_days_ago(services: Container, title: str, days: int) -> None:
    await query(
        services,
        "UPDATE notifications SET read = true, read_at = now() - make_interval(days => :d) WHERE title = :t",
        d=days,
        t=title,
    )


async def test_read_notifications_are_pruned(services: Container) -> None:
    """Those read 90 days ago go; those that are unread, however old, and those read later stay."""
    ada = await learner(services)
    for title in ("old", "recent", "unread"):
        await add_notification(services, ada, notification_templates.system(title, "There."))
    await query(services, "UPDATE notifications SET created_at = now() - interval '400 days'")
    await read_days_ago(services, "old", 91)
    await read_days_ago(services, "recent", 89)
    assert (await services.pruning.prune())["notifications"] == 1
    assert await titles(services) == {"recent", "unread"}
    assert (await services.pruning.prune())["notifications"] == 0


async def test_achievement_is_granted_once_after_pruning(services: Container) -> None:
    ada = await learner(services)
    await add_notification(services, ada, WEEK_STREAK)
    await add_notification(
        services, ada, notification_templates.match_found("Bob", str(uuid.uuid4()), str(uuid.uuid4()))
    )
    (granted,) = {title for title in await titles(services) if title.startswith("Seven")}
    for title in await titles(services):
        await read_days_ago(services, title, 1000)
    await services.pruning.prune()
    assert await titles(services) == {granted}
    await add_notification(services, ada, WEEK_STREAK)
    assert await count(services, "notifications") == 1


async def test_spent_mailed_tokens_are_pruned(services: Container) -> None:
    ada = await learner(services)
    for table in ("password_reset_tokens", "email_verification_tokens"):
        await query(services, f"DELETE FROM {table}")
        for name, used, hours in (
            ("used", True, -200),
            ("expired", False, -200),
            ("late", True, -1),
            ("valid", False, 1),
        ):
            await query(
                services,
                f"INSERT INTO {table} (id, user_id, token_hash, expires_at, used) VALUES (:i, :u, :h,"
                " now() + make_interval(hours => :n), :s)",
                i=uuid.uuid4(),
                u=uuid.UUID(ada.user_id),
                h=name,
                n=hours,
                s=used,
            )
        assert (await services.pruning.prune())[table] == 2
        kept = await query(services, f"SELECT token_hash FROM {table}")
        assert {row.token_hash for row in kept} == {"late", "valid"}


async def test_codes_and_changes_of_addresses_are_pruned(services: Container) -> None:
    ada = await learner(services)
    for hours in (-1, 1):
        values = {"i": uuid.uuid4(), "u": uuid.UUID(ada.user_id), "n": hours, "h": f"hash {hours}"}
        at = "now() + make_interval(hours => :n)"
        for statement in (
            "INSERT INTO email_codes (id, purpose, user_id, email, email_canonical, code_hash, expires_at)"
            f" VALUES (:i, 'login', :u, 'e', 'e', :h, {at})",
            "INSERT INTO email_changes (id, user_id, old_email, old_canonical, new_email, token_hash, undo_until)"
            f" VALUES (:i, :u, 'o', 'o', 'n', :h, {at})",
            f"INSERT INTO spent_tokens (id, expires_at) SELECT :h, {at}",
        ):
            await query(services, statement, **{name: each for name, each in values.items() if f":{name}" in statement})
    pruned = await services.pruning.prune()
    for table in ("email_codes", "email_changes", "spent_tokens"):
        assert pruned[table] == 1
        assert await count(services, table) == 1


async def add_event(services: Container, name: str, handled_days_ago: int | None) -> None:
    handled = "NULL" if handled_days_ago is None else f"now() - interval '{handled_days_ago} days'"
    await query(
        services,
        "INSERT INTO webhook_events (id, provider, event_id, type, fact, received_at, handled_at) VALUES"
        f" (:i, 'stripe', :n, 'refund.created', '{{}}', now() - interval '900 days', {handled})",
        i=uuid.uuid4(),
        n=name,
    )


async def test_handled_events_are_pruned(services: Container) -> None:
    """An event that was set aside stays, however old it is."""
    for name, days in (("old", 91), ("recent", 89), ("unhandled", None)):
        await add_event(services, name, days)
    assert (await services.pruning.prune())["webhook_events"] == 1
    left = await query(services, "SELECT event_id FROM webhook_events")
    assert {row.event_id for row in left} == {"recent", "unhandled"}


async def test_pruning_works_in_batches(services: Container) -> None:
    for number in range(7):
        await add_event(services, f"event {number}", 100)
    statements: list[int] = []
    day = timedelta(days=1)
    service = PruningService(
        services.database,
        notifications_after=day,
        mailed_tokens_after=day,
        webhook_events_after=day,
        batch_rows=3,
    )

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM webhook_events"):
            statements.append(cursor.rowcount)

    sa.event.listen(services.database.engine.sync_engine, "after_cursor_execute", note)
    try:
        assert (await service.prune())["webhook_events"] == 7
    finally:
        sa.event.remove(services.database.engine.sync_engine, "after_cursor_execute", note)
    assert statements == [3, 3, 1]


async def test_pruning_reads_indexes(services: Container) -> None:
    """Where sequential scans are forbidden, PostgreSQL finds an index for each of the conditions."""
    wanted = {
        "notifications": (pruning._NOTIFICATIONS, "notifications_read_idx"),
        "password_reset_tokens": (pruning._TOKENS, "ix_password_reset_tokens_expires_at"),
        "email_verification_tokens": (pruning._TOKENS, "ix_email_verification_tokens_expires_at"),
        "webhook_events": (pruning._EVENTS, "webhook_events_handled_idx"),
    }
    for table, (condition, index) in wanted.items():
        async with services.database.transaction() as db:
            await db.execute(sa.text("SET LOCAL enable_seqscan = off"))
            explain = f"EXPLAIN SELECT id FROM {table} WHERE {condition}"
            plan = (await db.execute(sa.text(explain), {"before": utc_now()})).scalars().all()
        assert index in "\n".join(plan), plan


async def test_refresh_token_reuse_is_seen_after_pruning(services: Container) -> None:
    """A rotated token stays until its family has expired: sent again, it ends the family."""
    first = await services.authentication.register(new_email(), PASSWORD, "phone", "ios")
    second = await services.logins.refresh(first.refresh_token)
    third = await services.logins.refresh(second.refresh_token)
    await query(
        services,
        "UPDATE refresh_tokens SET created_at = created_at - interval '20 days',"
        " rotated_at = rotated_at - interval '20 days'",
    )
    await services.pruning.prune()
    with pytest.raises(errors.RefreshTokenReused):
        await services.logins.refresh(first.refresh_token)
    with pytest.raises(errors.ProductError):
        await services.logins.refresh(third.refresh_token)


async def test_nightly_job_prunes_rows_and_failed_jobs(services: Container) -> None:
    await add_event(services, "old", 91)
    await query(
        services,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status, args)"
        " SELECT 'default', 'storage.delete', 'failed', jsonb_build_object('days', days)"
        " FROM unnest(ARRAY[29, 31]) AS days",
    )
    await query(
        services,
        "INSERT INTO procrastinate_events (job_id, type, at)"
        " SELECT id, 'failed', now() - make_interval(days => (args->>'days')::int) FROM procrastinate_jobs"
        " WHERE status = 'failed'",
    )
    await query(services, "DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    await services.jobs.app.configure_task("pruning.prune").defer_async(timestamp=0)
    await run_jobs(services)
    assert await count(services, "webhook_events") == 0
    failed = await query(services, "SELECT args FROM procrastinate_jobs WHERE status = 'failed'")
    assert [row.args for row in failed] == [{"days": 29}]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PRUNE_NOTIFICATIONS_AFTER", "1h"), ("PRUNE_WEBHOOK_EVENTS_AFTER", "3d"), ("PRUNE_FAILED_JOBS_AFTER", "0d")],
)
def test_prune_settings_have_a_least(environment: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**environment, name: value})
