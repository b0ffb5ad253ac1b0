"""Notifications on sockets, and the push of a match to an app in the background."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from container import Container
from services.messaging import notification_templates, notifications
from settings import Settings
from testing.calls import match
from testing.containers import load_settings
from testing.databases import rows, value
from testing.polling import eventually
from testing.servers import Learner, Phone, dial, http_client, register, start_server, stop_server

MakePhone = Callable[..., Awaitable[Phone]]


HELLO = notification_templates.system("Hello", "There.")


async def add_notification(
    container: Container, learner: Learner, notice: notification_templates.NotificationTemplate
) -> str:
    """Add a notification for a learner; return its id."""
    async with container.database.transaction() as db:
        await notifications.notify_user(db, uuid.UUID(learner.id), notice)
    newest = "SELECT id FROM notifications WHERE user_id = :u ORDER BY created_at DESC LIMIT 1"
    return str(await value(container, newest, u=learner.id))


async def enqueued(container: Container, notification: str) -> list[str]:
    statement = "SELECT task_name FROM procrastinate_jobs WHERE args->>'notification_id' = :n ORDER BY 1"
    return [row.task_name for row in await rows(container, statement, n=notification)]


async def test_notification_reaches_all_sockets_of_its_user(
    make_phone: MakePhone, container: Container, settings: Settings
) -> None:
    """The sockets are on two processes, and a stranger's receives nothing."""
    phone = await make_phone()
    tablet = await make_phone(learner=phone.learner, apart_from=phone)
    stranger = await make_phone()
    notification = await add_notification(container, phone.learner, HELLO)
    assert await enqueued(container, notification) == ["notifications.announce"]
    # As `parlance worker` has it: a process that is no worker of the bus.
    job_worker = Container(settings)
    try:
        await job_worker.notifications.emit(notification)
        # Sent after it by the same process: what comes to the stranger first.
        theirs = await add_notification(container, stranger.learner, HELLO)
        await job_worker.notifications.emit(theirs)
    finally:
        await job_worker.close()
    for each in (phone, tablet):
        emitted = await each.wait_for("notification")
        (listed,) = (await phone.learner.http.get("/notifications")).json()["items"]
        assert emitted == listed and listed["id"] == notification
    assert (await stranger.wait_for("notification"))["id"] == theirs
    assert [name for name, _ in stranger.received].count("notification") == 1


async def test_dead_sockets_do_not_stop_a_notification(make_phone: MakePhone, container: Container) -> None:
    phone = await make_phone()
    gone = await make_phone(learner=phone.learner)
    await gone.client.disconnect()
    # What a worker that was killed leaves behind.
    await container.redis.zadd(f"user:{{match}}:{phone.learner.id}:sockets", {"deadbeef.nobody": 1})
    notification = await add_notification(container, phone.learner, HELLO)
    await container.notifications.emit(notification)
    assert (await phone.wait_for("notification"))["title"] == "Hello"


async def test_sockets_are_registered_again_after_redis_loss(
    environment: dict[str, str], own_valkey: dict[str, str], tmp_path: Path
) -> None:
    variables = {**environment, **own_valkey}
    server = start_server(variables, tmp_path / "server.log", workers=1)
    container = Container(load_settings(variables))
    try:
        async with http_client(server.url) as http:
            phone = await dial(server.url, await register(http, ready=False))
            notification = await add_notification(container, phone.learner, HELLO)
            await container.redis.flushall()

            async def is_known() -> bool:
                return bool(await container.user_sockets.list_socket_ids(phone.learner.id))

            await eventually(is_known, "the socket is known again", within=10)
            await container.notifications.emit(notification)
            await phone.wait_for("notification")
            await phone.client.disconnect()
    finally:
        await container.close()
        stop_server(server)


async def test_read_notification_is_not_emitted(make_phone: MakePhone, container: Container) -> None:
    phone = await make_phone()
    notification = await add_notification(container, phone.learner, HELLO)
    await phone.learner.http.patch("/notifications/read-all")
    await container.notifications.emit(notification)
    unread = await add_notification(container, phone.learner, notification_templates.system("Hello", "Again."))
    await container.notifications.emit(unread)
    assert (await phone.wait_for("notification"))["id"] == unread


async def test_match_is_pushed_only_to_a_background_app(make_phone: MakePhone, container: Container) -> None:
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    body = {"fcmToken": f"token-{uuid.uuid4()}", "deviceId": "phone", "platform": "ios"}
    for learner in (ada.learner, bob.learner):
        one = {**body, "fcmToken": f"token-{uuid.uuid4()}"}
        assert (await learner.http.post("/notifications/device", json=one)).status_code == 204

    async def read_notifications(learner: Learner) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await learner.http.get("/notifications")).json()["items"]
        return items

    assert await ada.send("app_state", {"isBackground": True}) == {"ok": True}
    found = await match(ada, bob)

    async def is_notified() -> bool:
        return bool(await read_notifications(ada.learner))

    await eventually(is_notified, "ada's notification", within=5)
    (notification,) = await read_notifications(ada.learner)
    assert notification["type"] == "match_found"
    assert notification["data"] == {"roomId": found["roomId"], "sessionId": found["sessionId"]}
    assert bob.learner.username.title() in notification["body"]
    assert await enqueued(container, notification["id"]) == ["notifications.announce", "notifications.push"]
    assert await read_notifications(bob.learner) == []

    room = {"roomId": found["roomId"]}
    assert await bob.send("cancel_search") == {"ok": True}
    # Ada searches on, still in the background, and is the one who comes: carol waits already or comes after.
    await ada.wait_for("partner_cancelled")
    carol = await make_phone(apart_from=ada)
    await carol.send("find_partner", {"topic": f"topic of {ada.learner.username}"})
    second = await ada.wait_for("match_found", count=2)
    assert second["roomId"] != room["roomId"]

    async def is_notified_again() -> bool:
        return len(await read_notifications(ada.learner)) == 2

    await eventually(is_notified_again, "ada's second notification", within=5)

    assert await carol.send("cancel_search") == {"ok": True}
    await ada.wait_for("partner_cancelled", count=2)
    assert await ada.send("app_state", {"isBackground": False}) == {"ok": True}
    dave = await make_phone(apart_from=ada)
    await dave.send("find_partner", {"topic": f"topic of {ada.learner.username}"})
    third = await ada.wait_for("match_found", count=3)
    # The next match in the background is notified of, after which nothing of the third is under way.
    assert await ada.send("app_state", {"isBackground": True}) == {"ok": True}
    assert await dave.send("cancel_search") == {"ok": True}
    await ada.wait_for("partner_cancelled", count=3)
    erin = await make_phone(apart_from=ada)
    await erin.send("find_partner", {"topic": f"topic of {ada.learner.username}"})
    fourth = await ada.wait_for("match_found", count=4)

    async def notified_rooms() -> list[str]:
        rooms = [item["data"]["roomId"] for item in reversed(await read_notifications(ada.learner))]
        return rooms if fourth["roomId"] in rooms else []

    rooms = await eventually(notified_rooms, "ada's third notification", within=5)
    assert rooms == [found["roomId"], second["roomId"], fourth["roomId"]] and third["roomId"] not in rooms


async def test_requeued_background_user_is_notified_of_the_match(make_phone: MakePhone, container: Container) -> None:
    """A requeued user who meets a waiting one is the second to come, and is notified as well."""
    ada = await make_phone()
    bob, carol = await make_phone(apart_from=ada), await make_phone(apart_from=ada)
    await ada.send("app_state", {"isBackground": True})
    topic = {"topic": f"topic of {ada.learner.username}"}
    await match(ada, bob, **topic)
    await carol.send("find_partner", topic)
    await carol.wait_for("searching")
    # Bob's worker puts ada back, who meets carol at once.
    assert await bob.send("cancel_search") == {"ok": True}
    await ada.wait_for("match_found", count=2)

    async def is_notified_twice() -> bool:
        return len((await ada.learner.http.get("/notifications")).json()["items"]) == 2

    await eventually(is_notified_twice, "ada's second notification", within=5)
    assert (await carol.learner.http.get("/notifications")).json()["items"] == []


async def test_app_state_payload_is_validated(make_phone: MakePhone) -> None:
    phone = await make_phone()
    for wrong in ({}, {"isBackground": "yes"}, {"isBackground": True, "since": 1}):
        assert (await phone.send("app_state", wrong))["error"]["code"] == "bad_payload"
