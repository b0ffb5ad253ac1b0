"""Limits of lists that have no pages: `maxItems` of the contract is what the services enforce."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from container import Container
from contract import schemas
from services.identity.logins import MAX_LISTED_DEVICES
from services.learning.lessons import MAX_ATTACHMENTS_PER_LESSON, MAX_LESSONS_PER_COURSE
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.databases import query
from testing.lessons import new_course, new_lesson, problem
from testing.pictures import keys, upload
from testing.servers import Learner

SCHEMAS = schemas.load(schemas.OPENAPI)["components"]["schemas"]


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http)


def test_limits_are_those_of_the_contract() -> None:
    lists = {
        "LessonList": MAX_LESSONS_PER_COURSE,
        "CourseProgress": MAX_LESSONS_PER_COURSE,
        "AttachmentList": MAX_ATTACHMENTS_PER_LESSON,
        "DeviceList": MAX_LISTED_DEVICES,
    }
    assert {name: SCHEMAS[name]["properties"]["items"]["maxItems"] for name in lists} == lists
    assert SCHEMAS["LessonOrder"]["properties"]["lessonIds"]["maxItems"] == MAX_LESSONS_PER_COURSE
    assert SCHEMAS["TotalLessons"]["maximum"] == SCHEMAS["CompletedLessons"]["maximum"] == MAX_LESSONS_PER_COURSE


async def test_full_course_takes_no_lesson(container: Container, admin: Learner) -> None:
    course = await new_course(admin.http)
    await query(
        container,
        "INSERT INTO lessons (id, course_id, title, description, order_index)"
        " SELECT gen_random_uuid(), :course, 'One of many', '', number FROM generate_series(1, :count) AS number",
        course=uuid.UUID(course),
        count=MAX_LESSONS_PER_COURSE - 1,
    )
    last = await new_lesson(admin.http, course)
    assert problem(await admin.http.post(f"/courses/{course}/lessons", json={"title": "One more"})) == (
        400,
        "request_invalid",
    )
    listed = (await admin.http.get(f"/courses/{course}/lessons")).json()["items"]
    assert len(listed) == MAX_LESSONS_PER_COURSE and listed[-1]["id"] == last
    order = await admin.http.put(
        f"/courses/{course}/lessons/order", json={"lessonIds": [each["id"] for each in reversed(listed)]}
    )
    assert order.status_code == 200 and order.json()["items"][0]["id"] == last


async def test_full_lesson_takes_no_file(container: Container, settings: Settings, admin: Learner) -> None:
    """Of two files for one place, one is stored."""
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    await query(
        container,
        "INSERT INTO lesson_attachments (id, lesson_id, name, content_type, size, key)"
        " SELECT gen_random_uuid(), :lesson, 'words.txt', 'application/octet-stream', 1, 'nowhere/' || number"
        " FROM generate_series(2, :count) AS number",
        lesson=uuid.UUID(lesson),
        count=MAX_ATTACHMENTS_PER_LESSON,
    )
    address = f"/lessons/{lesson}/attachments"
    sent = [admin.http.post(address, **upload(b"words", f"{name}.txt", "text/plain")) for name in ("one", "two")]
    answers = sorted(await asyncio.gather(*sent), key=lambda answer: answer.status_code)
    assert answers[0].status_code == 201 and problem(answers[1]) == (400, "request_invalid")
    assert len((await admin.http.get(address)).json()["items"]) == MAX_ATTACHMENTS_PER_LESSON
    assert len(await keys(settings, f"attachments/courses/{course}/{lesson}/")) == 1


async def test_devices_used_last_are_listed(container: Container, make_learner: MakeLearner) -> None:
    learner = await make_learner()
    await query(
        container,
        "INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, device_id, platform, expires_at, created_at)"
        " SELECT gen_random_uuid(), :user, gen_random_uuid(), md5(number::text || :user), 'old-' || number, 'ios',"
        " now() + interval '1 day', now() - number * interval '1 minute' FROM generate_series(1, :count) AS number",
        user=uuid.UUID(learner.id),
        count=MAX_LISTED_DEVICES,
    )
    listed = (await learner.http.get("/auth/devices")).json()["items"]
    assert len(listed) == MAX_LISTED_DEVICES and listed[0]["isCurrent"]
    assert listed[-1]["deviceId"] == f"old-{MAX_LISTED_DEVICES - 1}"
