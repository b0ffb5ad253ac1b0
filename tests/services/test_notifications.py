"""Notifications: registered devices, pushes with their retries, occasions, and the list of a user."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import errors
from container import Container
from devtools.stand_ins import StandIns, running
from models import CallSession, Notification, NotificationType, Profile
from services.identity.logins import Identity
from services.messaging import notification_templates, notifications
from settings import Settings
from testing.accounts import new_email
from testing.containers import load_settings, run_jobs
from testing.containers import running_container as serving
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.polling import eventually
from testing.servers import PASSWORD
from testing.shop import run_job_worker

SEND = "POST */messages:send"
HELLO = notification_templates.system("Hello", "There.")


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def variables(environment: dict[str, str], settings: Settings, stand_ins: StandIns) -> Iterator[dict[str, str]]:
    """The variables of a deployment with a database of its own, and the stand-in of Firebase."""
    with own_database(settings) as own:
        yield {**environment, **stand_ins.fcm.environment, "DB_NAME": own.db_name}


@pytest.fixture
async def services(variables: dict[str, str], stand_ins: StandIns) -> AsyncIterator[Container]:
    async with serving(load_settings(variables), mailer=Outbox()) as made:
        await query(made, "DELETE FROM procrastinate_jobs")
        yield made
    stand_ins.faults.clear()


async def sign_in(services: Container, *, device: str = "phone") -> Identity:
    signed_in = await services.authentication.register(new_email(), PASSWORD, device, "ios")
    return services.logins.identify(signed_in.access_token)


async def with_device(services: Container, *, device: str = "phone") -> tuple[Identity, str]:
    """A learner, and the token of their device."""
    who, token = await sign_in(services, device=device), a_token()
    await services.push_devices.register(who, token, device, "ios")
    return who, token


def a_token() -> str:
    return f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(90)}"


async def add_notification(
    services: Container, who: Identity, notice: notification_templates.NotificationTemplate = HELLO
) -> None:
    async with services.database.transaction() as db:
        await notifications.notify_user(db, uuid.UUID(who.user_id), notice)


async def read_notifications(services: Container, who: Identity) -> list[Any]:
    return await query(services, "SELECT * FROM notifications WHERE user_id = :u ORDER BY title", u=who.user_id)


async def pushes(services: Container) -> list[Any]:
    return await query(
        services,
        "SELECT id, status::text, attempts, scheduled_at FROM procrastinate_jobs"
        " WHERE task_name = 'notifications.push' ORDER BY id",
    )


async def make_due(services: Container) -> None:
    await query(services, "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")


async def owners(services: Container, token: str) -> list[str]:
    return [
        str(row.user_id) for row in await query(services, "SELECT * FROM device_tokens WHERE fcm_token = :t", t=token)
    ]


# --- Whose a token is ---------------------------------------------------------------------------


async def test_concurrent_registrations_of_a_token_leave_one_owner(services: Container) -> None:
    users, token = [await sign_in(services) for _ in range(50)], a_token()
    await asyncio.gather(*(services.push_devices.register(who, token, "phone", "ios") for who in users))
    (owner,) = await owners(services, token)
    assert owner in {who.user_id for who in users}
    last = users[7]
    await services.push_devices.register(last, token, "phone", "android")
    assert await owners(services, token) == [last.user_id]


async def test_swapped_tokens_follow_their_registration(services: Container) -> None:
    one, other, first, second = await sign_in(services), await sign_in(services), a_token(), a_token()
    register = services.push_devices.register
    for _ in range(15):
        await asyncio.gather(
            register(one, first, "phone", "ios"),
            register(other, second, "phone", "ios"),
            register(one, second, "phone", "ios"),
            register(other, first, "phone", "ios"),
        )
        rows = await query(
            services, "SELECT fcm_token, user_id FROM device_tokens WHERE fcm_token IN (:a, :b)", a=first, b=second
        )
        assert len({row.fcm_token for row in rows}) == len({row.user_id for row in rows}) == len(rows) <= 2


async def test_new_token_replaces_the_devices_old_one(services: Container) -> None:
    who, old = await with_device(services)
    new = a_token()
    await asyncio.gather(*(services.push_devices.register(who, new, "phone", "ios") for _ in range(10)))
    assert await owners(services, old) == [] and await owners(services, new) == [who.user_id]


async def test_logout_during_registration_leaves_no_token(services: Container) -> None:
    for _ in range(20):
        who, token = await sign_in(services), a_token()
        outcomes = await asyncio.gather(
            *(services.push_devices.register(who, token, f"d{number}", "ios") for number in range(3)),
            services.logins.end(who),
            *(services.push_devices.register(who, token, f"e{number}", "ios") for number in range(3)),
            return_exceptions=True,
        )
        assert all(each is None or isinstance(each, errors.Unauthenticated) for each in outcomes), outcomes
        assert await owners(services, token) == []


async def test_ended_logins_lose_their_tokens(services: Container) -> None:
    for ends in ("logout", "logout-all", "ban", "password", "role"):
        who, phone = await with_device(services)
        email = (await query(services, "SELECT email FROM users WHERE id = :u", u=who.user_id))[0].email
        tablet, second = a_token(), await services.authentication.login(email, PASSWORD, "tablet", "android")
        await services.push_devices.register(services.logins.identify(second.access_token), tablet, "tablet", "android")
        if ends == "logout":
            await services.logins.end(who)
        elif ends == "logout-all":
            await services.logins.end_all(who.user_id)
        elif ends == "ban":
            admin = await services.administrators.create(new_email(), PASSWORD)
            await services.bans.ban(str(admin.id), who.user_id, "Spam.")
        elif ends == "password":
            async with services.database.transaction() as db:
                await services.logins.end_all_within(db, uuid.UUID(who.user_id))
        else:
            await services.administrators.promote(email)
        assert await owners(services, phone) == [], ends
        assert await owners(services, tablet) == ([who.user_id] if ends == "logout" else []), ends


async def test_expired_login_loses_its_token(services: Container) -> None:
    who, token = await with_device(services)
    _, other = await with_device(services)
    await query(
        services, "UPDATE refresh_tokens SET expires_at = now() - interval '2 days' WHERE user_id = :u", u=who.user_id
    )
    await services.logins.delete_expired()
    assert await owners(services, token) == [] and await owners(services, other) != []


# --- Pushes -------------------------------------------------------------------------------------


async def test_push_reaches_every_device(services: Container, stand_ins: StandIns) -> None:
    who, phone = await with_device(services)
    tablet = a_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    _, elsewhere = await with_device(services)
    await add_notification(
        services, who, notification_templates.NotificationTemplate(NotificationType.SYSTEM, "Hi", "You.", {"a": "b"})
    )
    await run_jobs(services)
    (row,) = await read_notifications(services, who)
    for token in (phone, tablet):
        (shown,) = stand_ins.fcm.shown(token)
        assert shown["notification"] == {"title": "Hi", "body": "You."}
        assert shown["data"] == {"a": "b", "type": "system", "notificationId": str(row.id)}
    assert stand_ins.fcm.shown(elsewhere) == [] and row.sent_at is not None


async def test_rolled_back_transaction_notifies_no_one(services: Container) -> None:
    who, _ = await with_device(services)
    with pytest.raises(ZeroDivisionError):
        async with services.database.transaction() as db:
            await notifications.notify_user(db, uuid.UUID(who.user_id), HELLO)
            raise ZeroDivisionError
    assert await read_notifications(services, who) == [] and await pushes(services) == []


async def test_unregistered_token_is_deleted(services: Container, stand_ins: StandIns) -> None:
    who, gone = await with_device(services)
    tablet = a_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    stand_ins.fcm.unregister(gone)
    await add_notification(services, who)
    await run_jobs(services)
    assert await owners(services, gone) == [] and await owners(services, tablet) == [who.user_id]
    assert len(stand_ins.fcm.shown(tablet)) == 1 and await pushes(services) == []


async def test_token_of_another_project_is_deleted(services: Container, stand_ins: StandIns) -> None:
    """FCM's SENDER_ID_MISMATCH: the app on that device registers with another project now."""
    who, token = await with_device(services)
    stand_ins.fcm.mismatch(token)
    await add_notification(services, who)
    await run_jobs(services)
    assert await owners(services, token) == [] and await pushes(services) == []
    assert len(await read_notifications(services, who)) == 1


@pytest.mark.parametrize(("status", "seconds"), [(429, 40), (503, 90)])
async def test_busy_fcm_is_retried_after_its_delay(
    services: Container, stand_ins: StandIns, status: int, seconds: int
) -> None:
    who, token = await with_device(services)
    stand_ins.faults.add("refuse", SEND, status=status, seconds=seconds)
    began = datetime.now(UTC)
    await add_notification(services, who)
    await run_jobs(services)
    (job,) = await pushes(services)
    assert job.status == "todo" and seconds <= (job.scheduled_at - began).total_seconds() < seconds + 10
    assert len(await read_notifications(services, who)) == 1 and stand_ins.fcm.shown(token) == []
    await make_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(token)) == 1 and await pushes(services) == []


async def test_waiting_device_delays_no_other(services: Container, stand_ins: StandIns) -> None:
    who, phone = await with_device(services)
    tablet = a_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    stand_ins.faults.add("refuse", SEND, status=503, seconds=60)
    await add_notification(services, who)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(phone) + stand_ins.fcm.shown(tablet)) == 1
    await make_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(phone)) == len(stand_ins.fcm.shown(tablet)) == 1


async def test_unavailable_fcm_keeps_the_notification(services: Container, stand_ins: StandIns) -> None:
    who, token = await with_device(services)
    stand_ins.faults.add("cut", "POST /token")
    stand_ins.faults.add("refuse", SEND, status=500)
    await add_notification(services, who)
    inbox = await services.notifications.list_for_user(who.user_id, limit=10, cursor=None)
    assert [row.title for row in inbox.page.items] == ["Hello"] and inbox.unread == 1
    for attempt in (1, 2):
        await run_jobs(services)
        (job,) = await pushes(services)
        assert (job.status, job.attempts) == ("todo", attempt)
        # 5 seconds, then 25, as for every job.
        assert abs((job.scheduled_at - datetime.now(UTC)).total_seconds() - 5**attempt) < 2
        await make_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(token)) == 1 and await pushes(services) == []


async def test_moved_token_gets_no_push_of_its_old_owner(services: Container, stand_ins: StandIns) -> None:
    (who, token), other = await with_device(services), await sign_in(services)
    await add_notification(services, who)
    await services.push_devices.register(other, token, "phone", "ios")
    await run_jobs(services)
    assert stand_ins.fcm.shown(token) == [] and len(await read_notifications(services, who)) == 1


async def test_read_or_expired_notification_is_not_pushed(services: Container, stand_ins: StandIns) -> None:
    who, token = await with_device(services)
    await add_notification(services, who)
    await services.notifications.mark_all_read(who.user_id)
    await services.notifications.notify_match(who.user_id, "Bob", str(uuid.uuid4()), str(uuid.uuid4()))
    await query(
        services,
        "UPDATE notifications SET created_at = now() - interval '1 hour' WHERE type = 'match_found' AND user_id = :u",
        u=who.user_id,
    )
    await run_jobs(services)
    assert stand_ins.fcm.shown(token) == [] and len(await read_notifications(services, who)) == 2


async def test_push_of_an_ended_match_is_dropped(services: Container, stand_ins: StandIns) -> None:
    who, token = await with_device(services)
    await services.notifications.notify_match(who.user_id, "Bob", "a-room", "a-session")
    await run_jobs(services)
    (shown,) = stand_ins.fcm.shown(token)
    assert 1 <= float(shown["android"]["ttl"].removesuffix("s")) <= services.settings.join_deadline.total_seconds()
    assert shown["data"]["roomId"] == "a-room" and "Bob" in shown["notification"]["body"]


async def test_push_of_a_killed_job_worker_is_resumed(
    services: Container, stand_ins: StandIns, variables: dict[str, str], tmp_path: Path
) -> None:
    who, token = await with_device(services)
    fault = stand_ins.faults.add("slow", SEND, seconds=60)
    with run_job_worker(variables, tmp_path / "worker.log") as worker:
        await add_notification(services, who)
        await eventually(lambda: fault.times == 0, within=15, what="the push under way")
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert token not in (tmp_path / "worker.log").read_text()
    assert stand_ins.fcm.shown(token) == [] and len(await read_notifications(services, who)) == 1
    assert [job.status for job in await pushes(services)] == ["doing"]

    async def done_by_the_next() -> bool:
        await services.jobs.app.configure_task("jobs.retry_stalled").defer_async(timestamp=0)
        await run_jobs(services)
        return bool(stand_ins.fcm.shown(token))

    await eventually(done_by_the_next, within=30, what="the push done by another worker")
    assert await pushes(services) == []


# --- Once ---------------------------------------------------------------------------------------


async def open_call(services: Container, one: str, other: str, *, began: datetime) -> str:
    row = CallSession(
        room_id=str(uuid.uuid4()),
        user_a_id=uuid.UUID(one),
        user_b_id=uuid.UUID(other),
        level="all",
        started_at=began,
        connected_at=began,
    )
    async with services.database.transaction() as db:
        db.add(row)
    return row.room_id


async def test_concurrent_call_ends_grant_achievements_once(services: Container) -> None:
    who, *partners = [await sign_in(services) for _ in range(21)]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with services.database.transaction() as db:
        profile = await db.get_one(Profile, uuid.UUID(who.user_id))
        profile.total_sessions, profile.streak_days, profile.last_session_at = 45, 6, yesterday
        db.add(profile)
    began = datetime.now(UTC) - timedelta(minutes=5)
    rooms = [await open_call(services, who.user_id, partner.user_id, began=began) for partner in partners]
    # Each twice: the second changes nothing.
    ends = [services.call_history.end(room, ended_by=who.user_id) for room in rooms * 2]
    assert sum(await asyncio.gather(*ends)) == 20
    rows = await read_notifications(services, who)
    assert [(row.type, row.occasion) for row in rows] == [
        ("achievement", "sessions:50"),
        ("achievement", "streak:7"),
    ]
    assert rows[1].data == {"achievement": "streak", "reached": "7"}


async def test_regained_streak_is_not_granted_again(services: Container) -> None:
    who, partner = await sign_in(services), await sign_in(services)
    # In the morning: a call that is found hours later ended two hours after it began, on the same day.
    day = (datetime.now(UTC) - timedelta(days=20)).replace(hour=9)
    for gap in (0, 1, 1, 4, 1, 1, 1):
        day += timedelta(days=gap)
        room = await open_call(services, who.user_id, partner.user_id, began=day)
        await services.call_history.end(room, ended_by=who.user_id)
        await query(
            services, "UPDATE profiles SET last_session_at = :d WHERE user_id IN (:a, :b)",
            d=day, a=who.user_id, b=partner.user_id,
        )  # fmt: skip
    assert [row.occasion for row in await read_notifications(services, who)] == ["streak:3"]


async def test_repeated_occasion_is_one_notification(services: Container, stand_ins: StandIns) -> None:
    who, token = await with_device(services)
    notice = notification_templates.NotificationTemplate(NotificationType.SYSTEM, "Once", "Only.", None, "the occasion")
    await asyncio.gather(*(add_notification(services, who, notice) for _ in range(50)))
    await run_jobs(services)
    assert len(await read_notifications(services, who)) == len(stand_ins.fcm.shown(token)) == 1


# --- Reading ------------------------------------------------------------------------------------


async def test_concurrent_reads_keep_the_first_time(services: Container) -> None:
    who = await sign_in(services)
    for _ in range(5):
        for number in range(20):
            await add_notification(services, who, notification_templates.system(f"{number:02}", "x"))
        inbox = await services.notifications.list_for_user(who.user_id, limit=100, cursor=None)
        fresh = [row for row in inbox.page.items if not row.read]
        outcomes = await asyncio.gather(
            *(services.notifications.mark_read(who.user_id, str(row.id)) for row in fresh),
            *(services.notifications.mark_all_read(who.user_id) for _ in range(5)),
            *(services.notifications.mark_read(who.user_id, str(row.id)) for row in reversed(fresh)),
        )
        assert inbox.unread == 20
        at = {row.id: row.read_at for row in await read_notifications(services, who)}
        answered = [each for each in outcomes if isinstance(each, Notification)]
        assert len(answered) == 2 * len(fresh) == 40
        assert all(each.read and each.read_at == at[each.id] for each in answered)
    assert (await services.notifications.list_for_user(who.user_id, limit=1, cursor=None)).unread == 0


# --- Operators ----------------------------------------------------------------------------------


async def test_administrators_are_notified_of_reports(services: Container) -> None:
    admins = [await services.administrators.create(new_email(), PASSWORD) for _ in range(2)]
    reported, *reporters = [await sign_in(services) for _ in range(4)]
    for who in reporters:
        room = await open_call(services, who.user_id, reported.user_id, began=datetime.now(UTC))
        await services.call_history.end(room, ended_by=who.user_id)
        await services.reports.report(who.user_id, reported.user_id, None, "hate_speech", None)
    for admin in admins:
        rows = await query(
            services, "SELECT type::text, title, data FROM notifications WHERE user_id = :u", u=str(admin.id)
        )
        assert {row.type for row in rows} == {"admin_alert"}
        kinds = sorted(row.data["kind"] for row in rows)
        assert kinds == ["flagged", "report", "report", "report"]
        assert {row.data["userId"] for row in rows} == {reported.user_id}
    assert await query(services, "SELECT id FROM notifications WHERE type = 'admin_alert' AND user_id = :u",
                       u=reported.user_id) == []  # fmt: skip


async def test_system_notification_skips_deleted_accounts(services: Container) -> None:
    who = await sign_in(services)
    gone = await sign_in(services)
    await services.account_deletion.delete(gone.user_id, PASSWORD)
    accounts = (await query(services, "SELECT count(*) FROM users WHERE deleted_at IS NULL"))[0].count
    assert await services.notifications.send_to_all("Maintenance", "On Sunday.") == accounts
    assert [row.title for row in await read_notifications(services, who)] == ["Maintenance"]
    assert await read_notifications(services, gone) == []
    with pytest.raises(errors.NotFound):
        await services.notifications.send("nobody@example.com", "Hello", "There.")


async def test_account_deletion_removes_notifications_and_tokens(services: Container) -> None:
    who, token = await with_device(services)
    await add_notification(services, who)
    await services.account_deletion.delete(who.user_id, PASSWORD)
    assert await read_notifications(services, who) == [] and await owners(services, token) == []
    await add_notification(services, who)
    await services.notifications.notify_match(who.user_id, "Bob", "a-room", "a-session")
    assert await read_notifications(services, who) == []


def test_every_notification_type_has_a_text() -> None:
    from models.payment_alert import AlertKind
    from services.calls import streaks

    for count in streaks.STREAK_MILESTONES_DAYS:
        notice = notification_templates.achievement("streak", count)
        assert notice.title and str(count) in notice.body
    for count in streaks.CALL_MILESTONES:
        notice = notification_templates.achievement("sessions", count)
        assert notice.title and str(count) in notice.body
    assert notification_templates._ALERT_BODIES.keys() == set(AlertKind)
