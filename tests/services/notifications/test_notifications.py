"""Notifications: achievements once, the list of a user, notifications by operators, deletion."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

import errors
from container import Container
from devtools.stand_ins import StandIns
from models import CallSession, Notification, NotificationType, Profile
from services.messaging import notification_templates
from testing.accounts import new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.notifications import add_notification, list_notifications, list_owners, register_device, register_learner
from testing.servers import PASSWORD


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
    who, *partners = [await register_learner(services) for _ in range(21)]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with services.database.transaction() as db:
        profile = await db.get_one(Profile, uuid.UUID(who.user_id))
        profile.total_sessions, profile.streak_days, profile.last_session_at = 45, 6, yesterday
        # A zone in which it is noon: a midnight before the calls end would be a gap in the streak.
        profile.timezone = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
        db.add(profile)
    began = datetime.now(UTC) - timedelta(minutes=5)
    rooms = [await open_call(services, who.user_id, partner.user_id, began=began) for partner in partners]
    # Each twice: the second changes nothing.
    ends = [services.call_history.end(room, ended_by=who.user_id) for room in rooms * 2]
    assert sum(await asyncio.gather(*ends)) == 20
    rows = await list_notifications(services, who)
    assert [(row.type, row.occasion) for row in rows] == [
        ("achievement", "sessions:50"),
        ("achievement", "streak:7"),
    ]
    assert rows[1].data == {"achievement": "streak", "reached": "7"}


async def test_regained_streak_is_not_granted_again(services: Container) -> None:
    who, partner = await register_learner(services), await register_learner(services)
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
    assert [row.occasion for row in await list_notifications(services, who)] == ["streak:3"]


async def test_repeated_occasion_is_one_notification(services: Container, stand_ins: StandIns) -> None:
    who, token = await register_device(services)
    template = notification_templates.NotificationTemplate(
        NotificationType.SYSTEM, "Once", "Only.", None, "the occasion"
    )
    await asyncio.gather(*(add_notification(services, who, template) for _ in range(50)))
    await run_jobs(services)
    assert len(await list_notifications(services, who)) == len(stand_ins.fcm.shown(token)) == 1


async def test_concurrent_reads_keep_the_first_time(services: Container) -> None:
    who = await register_learner(services)
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
        at = {row.id: row.read_at for row in await list_notifications(services, who)}
        answered = [each for each in outcomes if isinstance(each, Notification)]
        assert len(answered) == 2 * len(fresh) == 40
        assert all(each.read and each.read_at == at[each.id] for each in answered)
    assert (await services.notifications.list_for_user(who.user_id, limit=1, cursor=None)).unread == 0


async def test_administrators_are_notified_of_reports(services: Container) -> None:
    admins = [await services.administrators.create(new_email(), PASSWORD) for _ in range(2)]
    reported, *reporters = [await register_learner(services) for _ in range(4)]
    for days, who in enumerate(reporters, start=40):
        # New accounts of one day count once, and reports of short calls half: both would not flag.
        age = "UPDATE users SET created_at = now() - make_interval(days => :days) WHERE id = :u"
        await query(services, age, days=days, u=who.user_id)
        began = datetime.now(UTC) - timedelta(minutes=5)
        room = await open_call(services, who.user_id, reported.user_id, began=began)
        await services.call_history.end(room, ended_by=who.user_id)
        await services.reports.report(who, reported.user_id, None, "hate_speech", None)
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
    who = await register_learner(services)
    gone = await register_learner(services)
    await services.account_deletion.delete(gone, await services.proofs.verify(gone.user_id, {"password": PASSWORD}))
    accounts = (await query(services, "SELECT count(*) FROM users WHERE deleted_at IS NULL"))[0].count
    assert await services.notifications.send_to_all("Maintenance", "On Sunday.") == accounts
    assert [row.title for row in await list_notifications(services, who)] == ["Maintenance"]
    assert await list_notifications(services, gone) == []
    with pytest.raises(errors.NotFound):
        await services.notifications.send("nobody@example.com", "Hello", "There.")


async def test_account_deletion_removes_notifications_and_tokens(services: Container) -> None:
    who, token = await register_device(services)
    await add_notification(services, who)
    await services.account_deletion.delete(who, await services.proofs.verify(who.user_id, {"password": PASSWORD}))
    assert await list_notifications(services, who) == [] and await list_owners(services, token) == []
    await add_notification(services, who)
    await services.notifications.notify_match(who.user_id, "Bob", "a-room", "a-session")
    assert await list_notifications(services, who) == []


def test_every_notification_type_has_a_text() -> None:
    from models.payment_alert import AlertKind
    from services.calls import streaks

    for count in streaks.STREAK_MILESTONES_DAYS:
        template = notification_templates.achievement("streak", count)
        assert template.title and str(count) in template.body
    for count in streaks.CALL_MILESTONES:
        template = notification_templates.achievement("sessions", count)
        assert template.title and str(count) in template.body
    assert notification_templates._ALERT_BODIES.keys() == set(AlertKind)
