"""Pushes to devices, their retries, and what is not pushed."""

from __future__ import annotations

import os
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from container import Container
from devtools.stand_ins import StandIns
from models import NotificationType
from services.messaging import notification_templates, notifications
from testing.containers import run_jobs
from testing.databases import query
from testing.notifications import (
    HELLO,
    add_notification,
    list_notifications,
    list_owners,
    list_pushes,
    make_pushes_due,
    new_fcm_token,
    register_device,
    register_learner,
)
from testing.polling import eventually
from testing.shop import run_job_worker

SEND = "POST */messages:send"


async def test_push_reaches_every_device(services: Container, stand_ins: StandIns) -> None:
    who, phone = await register_device(services)
    tablet = new_fcm_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    _, elsewhere = await register_device(services)
    await add_notification(
        services, who, notification_templates.NotificationTemplate(NotificationType.SYSTEM, "Hi", "You.", {"a": "b"})
    )
    await run_jobs(services)
    (row,) = await list_notifications(services, who)
    for token in (phone, tablet):
        (shown,) = stand_ins.fcm.shown(token)
        assert shown["notification"] == {"title": "Hi", "body": "You."}
        assert shown["data"] == {"a": "b", "type": "system", "notificationId": str(row.id)}
    assert stand_ins.fcm.shown(elsewhere) == [] and row.sent_at is not None


async def test_rolled_back_transaction_notifies_no_one(services: Container) -> None:
    who, _ = await register_device(services)
    with pytest.raises(ZeroDivisionError):
        async with services.database.transaction() as db:
            await notifications.notify_user(db, uuid.UUID(who.user_id), HELLO)
            raise ZeroDivisionError
    assert await list_notifications(services, who) == [] and await list_pushes(services) == []


async def test_unregistered_token_is_deleted(services: Container, stand_ins: StandIns) -> None:
    who, gone = await register_device(services)
    tablet = new_fcm_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    stand_ins.fcm.unregister(gone)
    await add_notification(services, who)
    await run_jobs(services)
    assert await list_owners(services, gone) == [] and await list_owners(services, tablet) == [who.user_id]
    assert len(stand_ins.fcm.shown(tablet)) == 1 and await list_pushes(services) == []


async def test_token_of_another_project_is_deleted(services: Container, stand_ins: StandIns) -> None:
    """FCM's SENDER_ID_MISMATCH: the app on that device registers with another project now."""
    who, token = await register_device(services)
    stand_ins.fcm.mismatch(token)
    await add_notification(services, who)
    await run_jobs(services)
    assert await list_owners(services, token) == [] and await list_pushes(services) == []
    assert len(await list_notifications(services, who)) == 1


@pytest.mark.parametrize(("status", "seconds"), [(429, 40), (503, 90)])
async def test_busy_fcm_is_retried_after_its_delay(
    services: Container, stand_ins: StandIns, status: int, seconds: int
) -> None:
    who, token = await register_device(services)
    stand_ins.faults.add("refuse", SEND, status=status, seconds=seconds)
    began = datetime.now(UTC)
    await add_notification(services, who)
    await run_jobs(services)
    (job,) = await list_pushes(services)
    assert job.status == "todo" and seconds <= (job.scheduled_at - began).total_seconds() < seconds + 10
    assert len(await list_notifications(services, who)) == 1 and stand_ins.fcm.shown(token) == []
    await make_pushes_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(token)) == 1 and await list_pushes(services) == []


async def test_waiting_device_delays_no_other(services: Container, stand_ins: StandIns) -> None:
    who, phone = await register_device(services)
    tablet = new_fcm_token()
    await services.push_devices.register(who, tablet, "tablet", "android")
    stand_ins.faults.add("refuse", SEND, status=503, seconds=60)
    await add_notification(services, who)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(phone) + stand_ins.fcm.shown(tablet)) == 1
    await make_pushes_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(phone)) == len(stand_ins.fcm.shown(tablet)) == 1


async def test_unavailable_fcm_keeps_the_notification(services: Container, stand_ins: StandIns) -> None:
    who, token = await register_device(services)
    stand_ins.faults.add("cut", "POST /token")
    stand_ins.faults.add("refuse", SEND, status=500)
    await add_notification(services, who)
    inbox = await services.notifications.list_for_user(who.user_id, limit=10, cursor=None)
    assert [row.title for row in inbox.page.items] == ["Hello"] and inbox.unread == 1
    for attempt in (1, 2):
        began = datetime.now(UTC)
        await run_jobs(services)
        (job,) = await list_pushes(services)
        assert (job.status, job.attempts) == ("todo", attempt)
        # 5 seconds, then 25, as for every job.
        assert began <= job.scheduled_at - timedelta(seconds=5**attempt) <= datetime.now(UTC)
        await make_pushes_due(services)
    await run_jobs(services)
    assert len(stand_ins.fcm.shown(token)) == 1 and await list_pushes(services) == []


async def test_moved_token_gets_no_push_of_its_old_owner(services: Container, stand_ins: StandIns) -> None:
    (who, token), other = await register_device(services), await register_learner(services)
    await add_notification(services, who)
    await services.push_devices.register(other, token, "phone", "ios")
    await run_jobs(services)
    assert stand_ins.fcm.shown(token) == [] and len(await list_notifications(services, who)) == 1


async def test_read_or_expired_notification_is_not_pushed(services: Container, stand_ins: StandIns) -> None:
    who, token = await register_device(services)
    await add_notification(services, who)
    await services.notifications.mark_all_read(who.user_id)
    await services.notifications.notify_match(who.user_id, "Bob", str(uuid.uuid4()), str(uuid.uuid4()))
    await query(
        services,
        "UPDATE notifications SET created_at = now() - interval '1 hour' WHERE type = 'match_found' AND user_id = :u",
        u=who.user_id,
    )
    await run_jobs(services)
    assert stand_ins.fcm.shown(token) == [] and len(await list_notifications(services, who)) == 2


async def test_push_of_an_ended_match_is_dropped(services: Container, stand_ins: StandIns) -> None:
    who, token = await register_device(services)
    await services.notifications.notify_match(who.user_id, "Bob", "a-room", "a-session")
    await run_jobs(services)
    (shown,) = stand_ins.fcm.shown(token)
    assert 1 <= float(shown["android"]["ttl"].removesuffix("s")) <= services.settings.join_deadline.total_seconds()
    assert shown["data"]["roomId"] == "a-room" and "Bob" in shown["notification"]["body"]


async def test_push_of_a_killed_job_worker_is_resumed(
    services: Container, stand_ins: StandIns, variables: dict[str, str], tmp_path: Path
) -> None:
    who, token = await register_device(services)
    fault = stand_ins.faults.add("slow", SEND, seconds=60)
    with run_job_worker(variables, tmp_path / "worker.log") as worker:
        await add_notification(services, who)
        await eventually(lambda: fault.times == 0, within=15, what="the push under way")
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert token not in (tmp_path / "worker.log").read_text()
    assert stand_ins.fcm.shown(token) == [] and len(await list_notifications(services, who)) == 1
    assert [job.status for job in await list_pushes(services)] == ["doing"]

    async def done_by_the_next() -> bool:
        await services.jobs.retry_stalled()
        await run_jobs(services)
        return bool(stand_ins.fcm.shown(token))

    await eventually(done_by_the_next, within=30, what="the push done by another worker")
    assert await list_pushes(services) == []
