"""Courses and lessons: administration, enrollment, progress."""

from __future__ import annotations

import asyncio
import io
import random
import re
from typing import Any

import httpx
import pytest
from PIL import Image

from container import Container
from settings import Settings
from testing.call_history import MakeLearner
from testing.databases import query, rows, value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID, new_admin, new_course, new_lesson, problem
from testing.payments import add_course, completed, deliver
from testing.pictures import keys, picture, run_jobs, upload
from testing.servers import Learner, http_client, send_at_once


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await new_admin(container, make_learner)


@pytest.fixture
async def ada(make_learner: MakeLearner) -> Learner:
    return await make_learner(ready=False)


async def titles(http: httpx.AsyncClient, course: str) -> list[str]:
    answer = await http.get(f"/courses/{course}/lessons")
    assert answer.status_code == 200, answer.text
    assert [each["orderIndex"] for each in answer.json()["items"]] == sorted(
        each["orderIndex"] for each in answer.json()["items"]
    )
    return [each["title"] for each in answer.json()["items"]]


async def test_course_is_created_published_changed_and_deleted(
    container: Container, admin: Learner, ada: Learner
) -> None:
    made = await admin.http.post("/courses", json={"title": "Small Talk: that works!", "price": 5, "level": "advanced"})
    assert made.status_code == 201, made.text
    course = made.json()
    assert course["slug"].startswith("small-talk-that-works-") and not course["isPublished"]
    assert (course["currency"], course["description"], course["level"]) == ("inr", "", "advanced")
    address = f"/courses/{course['id']}"
    lesson = await new_lesson(admin.http, course["id"])
    for path in (address, f"{address}/lessons", f"/lessons/{lesson}", f"/my/progress/{course['id']}"):
        assert problem(await ada.http.get(path)) == (404, "not_found"), path
    for path in (f"{address}/enroll", f"/lessons/{lesson}/complete"):
        assert problem(await ada.http.post(path)) == (404, "not_found"), path
    assert course["id"] not in [each["id"] for each in await read_all_pages(ada.http, "/courses", limit=100)]
    assert course["id"] in [each["id"] for each in await read_all_pages(admin.http, "/courses", limit=100)]

    changed = await admin.http.patch(address, json={"isPublished": True, "level": "beginner", "price": 0})
    assert changed.status_code == 200 and changed.json()["isPublished"]
    assert (await ada.http.get(address)).json() == changed.json()
    assert await titles(ada.http, course["id"]) == ["Where we begin"]

    assert (await admin.http.delete(address)).status_code == 204
    assert problem(await admin.http.get(address)) == (404, "not_found")
    actions = await rows(container, "SELECT action FROM audit_log WHERE actor_id = :id ORDER BY number", id=admin.id)
    assert [action for (action,) in actions] == ["course.create", "lesson.create", "course.update", "course.delete"]


async def test_slug_belongs_to_one_course(admin: Learner) -> None:
    body = {"title": "Idioms", "price": 0, "level": "beginner"}
    slug = (await admin.http.post("/courses", json=body)).json()["slug"]
    assert problem(await admin.http.post("/courses", json={**body, "slug": slug})) == (409, "slug_taken")
    other = await new_course(admin.http)
    assert problem(await admin.http.patch(f"/courses/{other}", json={"slug": slug})) == (409, "slug_taken")


@pytest.mark.rest_paths
@pytest.mark.parametrize(
    "body", [{"price": -1}, {"level": "all"}, {"title": " "}, {"slug": "A b"}, {"currency": "INR"}, {}]
)
async def test_invalid_course_is_refused(admin: Learner, body: dict[str, Any]) -> None:
    course = await new_course(admin.http)
    assert problem(await admin.http.patch(f"/courses/{course}", json=body)) == (400, "request_invalid")


async def test_course_with_enrollments_or_orders_is_kept(container: Container, admin: Learner, ada: Learner) -> None:
    taken = await new_course(admin.http)
    assert (await ada.http.post(f"/courses/{taken}/enroll")).json() == {"isEnrolled": True}
    ordered = await add_course(container)
    await container.checkout.start(ada.id, ordered)
    for course in (taken, ordered):
        assert problem(await admin.http.delete(f"/courses/{course}")) == (409, "course_in_use")


async def test_thumbnails_are_public_and_replaced(settings: Settings, admin: Learner) -> None:
    course = await new_course(admin.http)
    address = f"/courses/{course}/thumbnail"
    assert problem(await admin.http.put(address, **upload(b"no picture"))) == (415, "unsupported_media_type")
    assert problem(await admin.http.put(f"/courses/{MISSING_ID}/thumbnail", **upload(picture()))) == (404, "not_found")
    first = (await admin.http.put(address, **upload(picture()))).json()["thumbnailUrl"]
    second = (await admin.http.put(address, **upload(picture("JPEG", (300, 900))))).json()["thumbnailUrl"]
    assert (await admin.http.get(f"/courses/{course}")).json()["thumbnailUrl"] == second != first
    assert re.search(rf"/thumbnails/courses/{course}/[0-9]+\.webp$", second), "the specified path"
    async with http_client() as anybody:
        seen = await anybody.get(second)
    assert Image.open(io.BytesIO(seen.content)).size == (1280, 720)
    await run_jobs(settings)
    assert len(await keys(settings, f"thumbnails/courses/{course}/")) == 1
    await admin.http.delete(f"/courses/{course}")
    await run_jobs(settings)
    assert await keys(settings, f"thumbnails/courses/{course}/") == []


async def test_lessons_keep_the_given_order(admin: Learner, ada: Learner) -> None:
    course, other = await new_course(admin.http), await new_course(admin.http)
    ids = [await new_lesson(admin.http, course, title) for title in "abcd"]
    strange = await new_lesson(admin.http, other, "x")
    assert await titles(ada.http, course) == list("abcd")
    order = f"/courses/{course}/lessons/order"
    moved = await admin.http.put(order, json={"lessonIds": [ids[3], ids[0], ids[2], ids[1]]})
    assert [each["title"] for each in moved.json()["items"]] == list("dacb")
    for wrong in (ids[:3], [*ids, strange], [*ids[:3], strange], [*ids[:3], ids[0]], [*ids, MISSING_ID]):
        assert problem(await admin.http.put(order, json={"lessonIds": wrong})) == (409, "lessons_differ")
    assert (await admin.http.delete(f"/lessons/{ids[0]}")).status_code == 204
    await new_lesson(admin.http, course, "e")
    assert await titles(ada.http, course) == list("dcbe")


async def test_concurrent_reorders_leave_one_order(admin: Learner) -> None:
    course = await new_course(admin.http)
    ids = await asyncio.gather(*(new_lesson(admin.http, course, f"{n}") for n in range(8)))
    orders = [random.sample(ids, len(ids)) for _ in range(12)]
    answers = await asyncio.gather(
        *(admin.http.put(f"/courses/{course}/lessons/order", json={"lessonIds": order}) for order in orders)
    )
    assert count_statuses(answers) == {200: 12}
    left = [each["id"] for each in (await admin.http.get(f"/courses/{course}/lessons")).json()["items"]]
    assert left in orders


async def test_fifty_concurrent_enrollments_are_one(container: Container, admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http)
    answers = await send_at_once([lambda: ada.http.post(f"/courses/{course}/enroll")] * 50)
    assert count_statuses(answers) == {201: 1, 409: 49}
    assert await value(container, "SELECT count(*) FROM enrollments WHERE course_id = :id", id=course) == 1


async def test_paid_course_opens_by_the_webhook_alone(container: Container, admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http, price=49900)
    lesson = await new_lesson(admin.http, course)
    answers = await asyncio.gather(*(ada.http.post(f"/courses/{course}/enroll") for _ in range(10)))
    assert count_statuses(answers) == {201: 10} and len({each.json()["orderId"] for each in answers}) == 1
    assert not any(each.json()["isEnrolled"] for each in answers)
    assert problem(await ada.http.post(f"/lessons/{lesson}/complete")) == (403, "not_enrolled")
    assert (await ada.http.get("/my/courses")).json()["items"] == []
    order = await container.checkout.start(ada.id, course)
    await deliver(container, completed(order))
    assert (await ada.http.post(f"/lessons/{lesson}/complete")).status_code == 200
    mine = (await ada.http.get("/my/courses")).json()["items"]
    assert [(each["course"]["id"], each["totalLessons"], each["completedLessons"]) for each in mine] == [(course, 1, 1)]


async def test_free_lesson_needs_no_enrollment(admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http, price=49900)
    free = await new_lesson(admin.http, course, isFree=True)
    closed = await new_lesson(admin.http, course)
    assert (await ada.http.put(f"/lessons/{free}/progress", json={"watchSeconds": 9})).json()["watchSeconds"] == 9
    assert problem(await ada.http.put(f"/lessons/{closed}/progress", json={"watchSeconds": 9})) == (403, "not_enrolled")
    assert problem(await ada.http.get(f"/lessons/{closed}/attachments")) == (403, "not_enrolled")


async def test_progress_never_goes_back(container: Container, admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http)
    lesson, after = await new_lesson(admin.http, course), await new_lesson(admin.http, course, "Next")
    await ada.http.post(f"/courses/{course}/enroll")
    positions = list(range(40))
    random.shuffle(positions)
    answers = await asyncio.gather(
        *(ada.http.put(f"/lessons/{lesson}/progress", json={"watchSeconds": each}) for each in positions),
        *(ada.http.post(f"/lessons/{lesson}/complete") for _ in range(5)),
    )
    assert count_statuses(answers) == {200: 45}
    assert len({each.json()["completedAt"] for each in answers} - {None}) == 1
    back = await ada.http.put(f"/lessons/{lesson}/progress", json={"watchSeconds": 3})
    assert back.json()["watchSeconds"] == 39 and back.json()["isCompleted"]
    seen = (await ada.http.get(f"/my/progress/{course}")).json()
    assert (seen["totalLessons"], seen["completedLessons"], seen["resumeLessonId"]) == (2, 1, after)
    assert [each["watchSeconds"] for each in seen["items"]] == [39, 0]
    exported = (await ada.http.get("/users/me/export")).json()["progress"]
    assert exported == [back.json()]

    await query(container, "UPDATE lessons SET duration_secs = 4 WHERE id = :id", id=after)
    capped = await ada.http.put(f"/lessons/{after}/progress", json={"watchSeconds": 900})
    assert capped.json()["watchSeconds"] == 4
    gone = await ada.http.post("/users/me/deletion", json={"password": "correct horse battery"})
    assert gone.status_code == 204
    assert await value(container, "SELECT count(*) FROM lesson_progress WHERE user_id = :id", id=ada.id) == 0


async def test_lesson_files_need_an_enrollment(settings: Settings, admin: Learner, ada: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    address = f"/lessons/{lesson}/attachments"
    await ada.http.post(f"/courses/{course}/enroll")
    name = "Wörter & „Sätze“.pdf"
    made = await admin.http.post(address, **upload(b"%PDF-1.7 words", f"../../{name}", "text/html"))
    assert made.status_code == 201, made.text
    await admin.http.post(address, **upload(b"<script>", "page.html", "text/html"))
    listed = (await ada.http.get(address)).json()["items"]
    assert [(each["name"], each["contentType"], each["sizeBytes"]) for each in listed] == [
        (name, "application/pdf", 14),
        ("page.html", "application/octet-stream", 8),
    ]
    async with http_client() as anybody:
        read = await anybody.get(listed[0]["url"])
        assert read.status_code == 200 and read.content == b"%PDF-1.7 words"
        assert read.headers["content-disposition"].startswith("attachment")
        assert (await anybody.get(listed[0]["url"].partition("?")[0])).status_code == 403
    other = await new_lesson(admin.http, course)
    wrong = await admin.http.delete(f"/lessons/{other}/attachments/{listed[0]['id']}")
    assert problem(wrong) == (404, "not_found")
    assert (await admin.http.delete(f"{address}/{listed[0]['id']}")).status_code == 204
    await run_jobs(settings)
    assert len(await keys(settings, f"attachments/courses/{course}/{lesson}/")) == 1
    await admin.http.delete(f"/lessons/{lesson}")
    await run_jobs(settings)
    assert await keys(settings, f"attachments/courses/{course}/") == []
