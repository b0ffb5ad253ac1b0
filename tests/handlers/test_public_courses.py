"""Courses without a login, and unpublished courses: visibility and enrollments."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

import app
from container import Container
from settings import Settings
from testing.call_history import MakeLearner
from testing.http_answers import read_all_pages
from testing.lessons import new_admin, new_course, new_lesson, problem
from testing.payments import add_course, completed, deliver, refunded
from testing.pictures import keys, picture, run_jobs, upload
from testing.servers import Learner, client

TITLE = "Where we begin"


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await new_admin(container, make_learner)


@pytest.fixture
async def ada(make_learner: MakeLearner) -> Learner:
    return await make_learner(ready=False)


async def unpublish(admin: Learner, course: str) -> None:
    answer = await admin.http.patch(f"/courses/{course}", json={"isPublished": False})
    assert answer.status_code == 200, answer.text


async def execute(container: Container, statement: str, **values: Any) -> None:
    async with container.database.transaction() as db:
        await db.execute(sa.text(statement), values)


async def listed(http: httpx.AsyncClient) -> list[str]:
    return [each["id"] for each in await read_all_pages(http, "/courses", limit=100)]


# --- Without a login ----------------------------------------------------------------------------------


@pytest.mark.rest_paths
async def test_courses_are_read_without_a_token(admin: Learner, ada: Learner, api: httpx.AsyncClient) -> None:
    course, draft = await new_course(admin.http), await new_course(admin.http, published=False)
    await new_lesson(admin.http, course, TITLE)
    await ada.http.post(f"/courses/{course}/enroll")
    assert {course, draft} & set(await listed(api)) == {course}
    for http, enrolled in ((api, False), (ada.http, True)):
        found = (await http.get(f"/courses/{course}")).json()
        assert (found["title"], found["isEnrolled"]) == ("Small talk", enrolled)
        (lesson,) = (await http.get(f"/courses/{course}/lessons")).json()["items"]
        assert (lesson["title"], lesson["videoStatus"]) == (TITLE, None)
    for path in (f"/courses/{draft}", f"/courses/{draft}/lessons"):
        assert problem(await api.get(path)) == (404, "not_found"), path


@pytest.mark.rest_paths
async def test_lesson_content_needs_a_token(admin: Learner, api: httpx.AsyncClient) -> None:
    """Also that of a free lesson: its reader has an account."""
    lesson = await new_lesson(admin.http, await new_course(admin.http), isFree=True)
    for path in (f"/lessons/{lesson}", f"/lessons/{lesson}/video-url", f"/lessons/{lesson}/attachments"):
        assert problem(await api.get(path)) == (401, "unauthenticated"), path


@pytest.mark.rest_paths
async def test_bad_token_is_refused_on_public_paths(admin: Learner, ada: Learner, api: httpx.AsyncClient) -> None:
    course = await new_course(admin.http)
    tokens = ("", "Bearer", "Bearer ", "Bearer nonsense", f"Basic {ada.access_token}", f"Bearer {ada.refresh_token}")
    for path in ("/courses", f"/courses/{course}", f"/courses/{course}/lessons"):
        for token in tokens:
            answer = await api.get(path, headers={"Authorization": token})
            assert problem(answer) == (401, "unauthenticated"), (path, token)


@pytest.mark.rest_paths
async def test_caches_keep_public_answers_apart(admin: Learner, api: httpx.AsyncClient) -> None:
    """A shared cache may keep what has no token, and hands it to nobody who has one."""
    course = await new_course(admin.http)
    for path in ("/courses", f"/courses/{course}", f"/courses/{course}/lessons"):
        for http, control in ((api, "public, max-age=60"), (admin.http, "private, no-cache")):
            answer = await http.get(path)
            assert answer.headers["cache-control"] == control
            assert answer.headers["vary"] == "Authorization"
    missing = await api.get(f"/courses/{admin.id}")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-store")


@pytest.mark.rest_paths
async def test_vary_keeps_origin_and_authorization(container: Container) -> None:
    origin = "https://app.example.com"
    served = Container(container.settings.model_copy(update={"cors_origins": [origin, "https://b.example.com"]}))
    async with client(app.create(served)) as http:
        answer = await http.get("/courses", headers={"Origin": origin})
    await served.close()
    assert {each.strip() for each in answer.headers["vary"].split(",")} == {"Authorization", "Origin"}


# --- Unpublished ----------------------------------------------------------------------------------------


async def test_unpublished_course_is_not_listed(admin: Learner, ada: Learner, api: httpx.AsyncClient) -> None:
    course = await new_course(admin.http, price=49900)
    free = await new_lesson(admin.http, course, isFree=True)
    await unpublish(admin, course)
    for http in (api, ada.http):
        assert course not in await listed(http)
        for path in (f"/courses/{course}", f"/courses/{course}/lessons"):
            assert problem(await http.get(path)) == (404, "not_found"), path
    for path in (f"/lessons/{free}", f"/lessons/{free}/video-url", f"/my/progress/{course}"):
        assert problem(await ada.http.get(path)) == (404, "not_found"), path
    for path, body in (
        (f"/courses/{course}/enroll", None),
        ("/payments/create-checkout-session", {"courseId": course}),
    ):
        assert problem(await ada.http.post(path, json=body)) == (404, "not_found"), path
    assert (await ada.http.get("/payments/orders")).json()["items"] == []


async def test_enrolled_learner_keeps_unpublished_course(container: Container, admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course, TITLE)
    await execute(
        container, "UPDATE lessons SET video_url = 'v/master.m3u8', video_status = 'ready' WHERE id = :id", id=lesson
    )
    await admin.http.post(f"/lessons/{lesson}/attachments", **upload(b"words", "words.txt"))
    await ada.http.post(f"/courses/{course}/enroll")
    await unpublish(admin, course)

    assert course not in await listed(ada.http)
    found = (await ada.http.get(f"/courses/{course}")).json()
    assert (found["isEnrolled"], found["isPublished"]) == (True, False)
    assert [each["title"] for each in (await ada.http.get(f"/courses/{course}/lessons")).json()["items"]] == [TITLE]
    assert (await ada.http.get(f"/lessons/{lesson}")).json()["title"] == TITLE
    assert (await ada.http.get(f"/lessons/{lesson}/video-url")).status_code == 200
    assert len((await ada.http.get(f"/lessons/{lesson}/attachments")).json()["items"]) == 1
    assert (await ada.http.put(f"/lessons/{lesson}/progress", json={"watchSeconds": 9})).status_code == 200
    assert (await ada.http.post(f"/lessons/{lesson}/complete")).status_code == 200
    assert (await ada.http.get(f"/my/progress/{course}")).json()["completedLessons"] == 1
    (mine,) = (await ada.http.get("/my/courses")).json()["items"]
    assert (mine["course"]["id"], mine["course"]["isPublished"], mine["completedLessons"]) == (course, False, 1)


async def test_open_checkout_of_unpublished_course_enrolls(container: Container, admin: Learner, ada: Learner) -> None:
    """Money that was asked for before buys what was asked for; nobody is asked for more."""
    course = await add_course(container)
    order = await container.checkout.start(ada.id, course)
    await unpublish(admin, course)
    again = await ada.http.post("/payments/create-checkout-session", json={"courseId": course})
    assert problem(again) == (404, "not_found")
    await deliver(container, completed(order))
    assert (await ada.http.get(f"/payments/orders/{order.id}")).json()["status"] == "paid"
    assert [each["course"]["id"] for each in (await ada.http.get("/my/courses")).json()["items"]] == [course]


async def test_refund_ends_unpublished_course(container: Container, admin: Learner, ada: Learner) -> None:
    """Then it is gone for its learner too, and the order still says what it was for."""
    course = await add_course(container)
    title = (await admin.http.get(f"/courses/{course}")).json()["title"]
    order = await container.checkout.start(ada.id, course)
    await deliver(container, completed(order))
    await admin.http.patch(f"/courses/{course}", json={"isPublished": False, "title": "Renamed since"})
    assert (await ada.http.get(f"/courses/{course}")).status_code == 200
    await deliver(container, refunded(order, order.amount))
    assert problem(await ada.http.get(f"/courses/{course}")) == (404, "not_found")
    (mine,) = (await ada.http.get("/payments/orders")).json()["items"]
    assert mine["courseTitle"] == title
    everyone = await admin.http.get("/admin/orders", params={"userId": ada.id})
    assert [each["courseTitle"] for each in everyone.json()["items"]] == [title]


# --- Thumbnails -----------------------------------------------------------------------------------------


async def test_thumbnail_of_an_earlier_path_is_replaced(
    container: Container, settings: Settings, admin: Learner
) -> None:
    """A stored address keeps working with any path, until another replaces it."""
    course = await new_course(admin.http)
    old = f"thumbnails/{course}/0123456789abcdef.webp"
    await container.storage.put(old, b"RIFF", "image/webp")
    url = container.storage.public_url(old)
    await execute(container, "UPDATE courses SET thumbnail_url = :url WHERE id = :id", url=url, id=course)
    assert (await admin.http.get(f"/courses/{course}")).json()["thumbnailUrl"] == url
    await admin.http.put(f"/courses/{course}/thumbnail", **upload(picture()))
    await run_jobs(settings)
    assert await keys(settings, f"thumbnails/{course}/") == []
    assert len(await keys(settings, f"thumbnails/courses/{course}/")) == 1
