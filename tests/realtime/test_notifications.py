"""What one is told is heard on all of one's sockets, wherever they are; a match finds an app in the background."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from container import Container
from services.messaging import notification_templates, notifications
from settings import Settings
from testing.accounts import load
from testing.call_history import rows, until, value
from testing.calls import match
from testing.servers import Learner, Phone, dial, register, start_server, stop_server

MakePhone = Callable[..., Awaitable[Phone]]


async def tell(container: Container, learner: Learner, notice: notification_templates.Notice) -> str:
    """Tell a learner something; answer the notification's id."""
    async with container.database.transaction() as db:
        await notifications.tell(db, uuid.UUID(learner.id), notice)
    newest = "SELECT id FROM notifications WHERE user_id = :u ORDER BY created_at DESC LIMIT 1"
    return str(await value(container, newest, u=learner.id))


async def enqueued(container: Container, notification: str) -> list[str]:
    statement = "SELECT task_name FROM procrastinate_jobs WHERE args->>'notification_id' = :n ORDER BY 1"
    return [row.task_name for row in await rows(container, statement, n=notification)]


async def test_every_socket_of_the_user_hears_on_whichever_worker_and_nobody_elses(
    make_phone: MakePhone, container: Container, settings: Settings
) -> None:
    phone = await make_phone()
    tablet = await make_phone(learner=phone.learner, apart_from=phone)
    stranger = await make_phone()
    notification = await tell(container, phone.learner, notification_templates.system("Hello", "There."))
    assert await enqueued(container, notification) == ["notifications.announce"]
    # As `parlance worker` has it: a process that is no worker of the bus.
    job_worker = Container(settings)
    try:
        await job_worker.notifications.announce(notification)
    finally:
        await job_worker.close()
    for each in (phone, tablet):
        heard = await each.hears("notification")
        (listed,) = (await phone.learner.http.get("/notifications")).json()["items"]
        assert heard == listed and listed["id"] == notification
    await asyncio.sleep(0.2)
    assert "notification" not in dict(stranger.heard)


async def test_a_socket_that_is_gone_and_one_that_dies_keep_nobody_from_hearing(
    make_phone: MakePhone, container: Container
) -> None:
    phone = await make_phone()
    gone = await make_phone(learner=phone.learner)
    await gone.client.disconnect()
    # What a worker that was killed leaves behind.
    await container.redis.zadd(f"user:{phone.learner.id}:sockets", {"deadbeef.nobody": 1})
    notification = await tell(container, phone.learner, notification_templates.system("Hello", "There."))
    await container.notifications.announce(notification)
    assert (await phone.hears("notification"))["title"] == "Hello"


async def test_a_redis_that_lost_its_data_learns_again_where_the_sockets_are(
    environment: dict[str, str], own_valkey: dict[str, str], tmp_path: Path
) -> None:
    variables = {**environment, **own_valkey}
    server = start_server(variables, tmp_path / "server.log", workers=1)
    container = Container(load(variables))
    try:
        async with httpx.AsyncClient(base_url=server.url) as http:
            phone = await dial(server.url, await register(http, ready=False))
            notification = await tell(container, phone.learner, notification_templates.system("Hello", "There."))
            await container.redis.flushall()

            async def is_known() -> bool:
                return bool(await container.user_sockets.list_socket_ids(phone.learner.id))

            await until(is_known, "the socket is known again", within=10)
            await container.notifications.announce(notification)
            await phone.hears("notification")
            await phone.client.disconnect()
    finally:
        await container.close()
        stop_server(server)


async def test_what_was_read_meanwhile_is_not_announced(make_phone: MakePhone, container: Container) -> None:
    phone = await make_phone()
    notification = await tell(container, phone.learner, notification_templates.system("Hello", "There."))
    await phone.learner.http.patch("/notifications/read-all")
    await container.notifications.announce(notification)
    await asyncio.sleep(0.3)
    assert "notification" not in dict(phone.heard)


async def test_a_match_is_pushed_to_an_app_in_the_background_and_only_then(
    make_phone: MakePhone, container: Container
) -> None:
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    body = {"fcmToken": f"token-{uuid.uuid4()}", "deviceId": "phone", "platform": "ios"}
    for learner in (ada.learner, bob.learner):
        one = {**body, "fcmToken": f"token-{uuid.uuid4()}"}
        assert (await learner.http.post("/notifications/device", json=one)).status_code == 204

    async def told(learner: Learner) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await learner.http.get("/notifications")).json()["items"]
        return items

    assert await ada.send("app_state", {"background": True}) == {"ok": True}
    found = await match(ada, bob)

    async def is_told() -> bool:
        return bool(await told(ada.learner))

    await until(is_told, "ada's notification", within=5)
    (notification,) = await told(ada.learner)
    assert notification["type"] == "match_found"
    assert notification["data"] == {"roomId": found["roomId"], "sessionId": found["sessionId"]}
    assert bob.learner.username.title() in notification["body"]
    assert await enqueued(container, notification["id"]) == ["notifications.announce", "notifications.push"]
    assert await told(bob.learner) == []

    room = {"roomId": found["roomId"]}
    assert await bob.send("cancel_search") == {"ok": True}
    # Ada searches on, still in the background, and is the one who comes: carol waits already or comes after.
    await ada.hears("partner_cancelled")
    carol = await make_phone(apart_from=ada)
    await carol.send("find_partner", {"topic": f"topic of {ada.learner.username}"})
    second = await ada.hears("match_found", count=2)
    assert second["roomId"] != room["roomId"]

    async def is_told_again() -> bool:
        return len(await told(ada.learner)) == 2

    await until(is_told_again, "ada's second notification", within=5)

    assert await carol.send("cancel_search") == {"ok": True}
    await ada.hears("partner_cancelled", count=2)
    assert await ada.send("app_state", {"background": False}) == {"ok": True}
    dave = await make_phone(apart_from=ada)
    await dave.send("find_partner", {"topic": f"topic of {ada.learner.username}"})
    await ada.hears("match_found", count=3)
    await asyncio.sleep(0.3)
    assert len(await told(ada.learner)) == 2


async def test_one_who_searches_on_in_the_background_and_comes_second_is_told_too(
    make_phone: MakePhone, container: Container
) -> None:
    ada = await make_phone()
    bob, carol = await make_phone(apart_from=ada), await make_phone(apart_from=ada)
    await ada.send("app_state", {"background": True})
    topic = {"topic": f"topic of {ada.learner.username}"}
    await match(ada, bob, **topic)
    await carol.send("find_partner", topic)
    await carol.hears("searching")
    # Bob's worker puts ada back, who meets carol at once.
    assert await bob.send("cancel_search") == {"ok": True}
    await ada.hears("match_found", count=2)

    async def is_told_twice() -> bool:
        return len((await ada.learner.http.get("/notifications")).json()["items"]) == 2

    await until(is_told_twice, "ada's second notification", within=5)
    assert (await carol.learner.http.get("/notifications")).json()["items"] == []


async def test_where_the_app_is_has_to_be_said_rightly(make_phone: MakePhone) -> None:
    phone = await make_phone()
    for wrong in ({}, {"background": "yes"}, {"background": True, "since": 1}):
        assert (await phone.send("app_state", wrong))["error"]["code"] == "bad_payload"
