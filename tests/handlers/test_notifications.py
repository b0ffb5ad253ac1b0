"""Notifications over REST: the list, marking as read, and push devices."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from container import Container
from models import Order, OrderStatus
from services.messaging import notification_templates, notifications
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.databases import rows, value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID
from testing.notifications import new_fcm_token
from testing.payments import add_course, completed, deliver
from testing.servers import PASSWORD, Learner, address


async def notify(container: Container, learner: Learner, title: str = "Hello") -> None:
    async with container.database.transaction() as db:
        await notifications.notify_user(db, uuid.UUID(learner.id), notification_templates.system(title, "There."))


async def registers(learner: Learner, token: str, device: str = "phone") -> None:
    body = {"fcmToken": token, "deviceId": device, "platform": "ios"}
    answer = await learner.http.post("/notifications/device", json=body)
    assert answer.status_code == 204, answer.text


async def devices(container: Container, learner: Learner) -> dict[str, str]:
    found = await rows(container, "SELECT device_id, fcm_token FROM device_tokens WHERE user_id = :u", u=learner.id)
    return {row.device_id: row.fcm_token for row in found}


async def test_notification_pages_are_stable_under_inserts(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(ready=False), await make_learner(ready=False)
    for number in range(7):
        await notify(container, ada, f"{number}")
    await notify(container, bob, "of bob")
    first = (await ada.http.get("/notifications", params={"limit": 3})).json()
    assert [each["title"] for each in first["items"]] == ["6", "5", "4"] and first["unreadCount"] == 7
    await notify(container, ada, "7")
    second = await ada.http.get("/notifications", params={"limit": 3, "cursor": first["nextCursor"]})
    assert [each["title"] for each in second.json()["items"]] == ["3", "2", "1"]
    assert [each["title"] for each in await read_all_pages(ada.http, "/notifications")] == [*"76543210"]
    (item, *_) = first["items"]
    assert item.keys() == {"id", "type", "title", "body", "data", "isRead", "createdAt", "readAt"}
    assert (item["type"], item["data"], item["isRead"], item["readAt"]) == ("system", None, False, None)
    wrong = await ada.http.get("/notifications", params={"cursor": "nonsense"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "request_invalid")


async def test_mark_read_is_idempotent_and_own(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(ready=False), await make_learner(ready=False)
    for learner in (ada, ada, bob):
        await notify(container, learner)
    (_, oldest) = (await ada.http.get("/notifications")).json()["items"]
    theirs = await bob.http.patch(f"/notifications/{oldest['id']}/read")
    missing = await bob.http.patch(f"/notifications/{MISSING_ID}/read")
    assert (theirs.status_code, theirs.content) == (404, missing.content)
    read = await ada.http.patch(f"/notifications/{oldest['id']}/read")
    assert read.status_code == 200 and read.json() == {**oldest, "isRead": True, "readAt": read.json()["readAt"]}
    again = await ada.http.patch(f"/notifications/{oldest['id']}/read")
    assert again.json() == read.json()
    assert (await ada.http.get("/notifications")).json()["unreadCount"] == 1

    all_read = await asyncio.gather(*(ada.http.patch("/notifications/read-all") for _ in range(8)))
    assert count_statuses(all_read) == {200: 8} and {answer.json()["unreadCount"] for answer in all_read} == {0}
    items = (await ada.http.get("/notifications")).json()["items"]
    assert all(each["isRead"] and each["readAt"] for each in items) and items[1] == read.json()
    assert (await bob.http.get("/notifications")).json()["unreadCount"] == 1


async def test_logout_removes_the_push_device_alone(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    await registers(ada, phone := new_fcm_token())
    login = {"email": ada.email, "password": PASSWORD, "deviceId": "tablet", "platform": "android"}
    tokens = (await ada.http.post("/auth/login", json=login, headers={"X-Forwarded-For": address()})).json()
    bearer = {"Authorization": f"Bearer {tokens['accessToken']}"}
    body = {"fcmToken": (tablet := new_fcm_token()), "deviceId": "tablet", "platform": "android"}
    assert (await ada.http.post("/notifications/device", json=body, headers=bearer)).status_code == 204
    assert await devices(container, ada) == {"phone": phone, "tablet": tablet}
    assert (await ada.http.post("/auth/logout", headers=bearer)).status_code == 204
    assert await devices(container, ada) == {"phone": phone}
    assert (await ada.http.post("/auth/logout-all")).status_code == 204
    assert await devices(container, ada) == {}
    assert (await ada.http.post("/notifications/device", json=body)).status_code == 401


async def test_logout_removes_devices_registered_by_the_login(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    await registers(ada, new_fcm_token(), device="a-name-of-the-app")
    assert (await ada.http.post("/auth/logout")).status_code == 204
    assert await devices(container, ada) == {}


async def test_push_device_is_removed_on_request(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(ready=False), await make_learner(ready=False)
    await registers(ada, new_fcm_token())
    for learner in (bob, ada, ada):
        answer = await learner.http.delete("/notifications/devices/phone")
        assert answer.status_code == 204
        assert bool(await devices(container, ada)) == (learner is bob)


async def test_push_token_moves_to_the_new_user(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(ready=False), await make_learner(ready=False)
    await registers(ada, token := new_fcm_token())
    await registers(bob, token)
    assert await devices(container, ada) == {} and await devices(container, bob) == {"phone": token}


@pytest.mark.rest_paths
@pytest.mark.parametrize(
    "wrong",
    [
        {"fcmToken": ""},
        {"fcmToken": "x" * 1025},
        {"fcmToken": "two words"},
        {"fcmToken": None},
        {"platform": "desktop"},
        {"deviceId": ""},
        {"userId": MISSING_ID},
    ],
)
async def test_invalid_push_device_is_refused(make_learner: MakeLearner, wrong: dict[str, Any]) -> None:
    ada = await make_learner(ready=False)
    body = {"fcmToken": new_fcm_token(), "deviceId": "phone", "platform": "ios", **wrong}
    answer = await ada.http.post("/notifications/device", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_repeated_payment_event_notifies_once(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    order = await container.checkout.start(ada.id, await add_course(container))
    for _ in range(3):
        await deliver(container, completed(order))
    paid: Order
    async with container.database.transaction() as db:
        paid = await db.get_one(Order, order.id)
    assert paid.status is OrderStatus.PAID
    (notification,) = (await ada.http.get("/notifications")).json()["items"]
    assert notification["type"] == "payment_success" and paid.course_title in notification["body"]
    assert notification["data"] == {"orderId": str(order.id), "courseId": str(order.course_id)}


async def test_payment_alert_notifies_administrators(container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    ada = await make_learner(ready=False)
    order = await container.checkout.start(ada.id, await add_course(container))
    for _ in range(2):
        await deliver(container, completed(order, amount_total=order.amount - 1))
    items = (await admin.http.get("/notifications", params={"limit": 100})).json()["items"]
    alerts = [each for each in items if (each["data"] or {}).get("orderId") == str(order.id)]
    assert [(each["type"], each["data"]["kind"]) for each in alerts] == [("admin_alert", "amount_differs")]
    assert (await ada.http.get("/notifications")).json()["items"] == []


async def test_export_has_notifications_and_no_token(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner(ready=False)
    await registers(ada, token := new_fcm_token())
    await notify(container, ada)
    answer = await ada.http.get("/users/me/export")
    export = answer.json()
    assert export["notifications"] == (await ada.http.get("/notifications")).json()["items"]
    (device,) = export["pushDevices"]
    assert (device["deviceId"], device["platform"]) == ("phone", "ios") and token not in answer.text
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE args::text LIKE '%' || :token || '%'"
    assert await value(container, jobs, token=token) == 0
