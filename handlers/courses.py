"""Catalogue of courses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile

import errors
from handlers import shapes
from services.identity.logins import Identity
from services.learning.courses import CourseChanges, NewCourse
from services.learning.lessons import NewLesson
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_courses(
    services: Container, identity: Identity | None, limit: int, cursor: str | None = None
) -> rest.CoursePage:
    page = await services.courses.list_courses(
        _user_id(identity), drafts=services.second_factors.acts_as_admin(identity), limit=limit, cursor=cursor
    )
    return shapes.page(page, shapes.course)


async def create_course(services: Container, identity: Identity, body: rest.CourseDraft) -> rest.Course:
    return shapes.course(await services.courses.create(identity.user_id, shapes.columns(body, NewCourse)))


async def get_course(services: Container, identity: Identity | None, course_id: str) -> rest.Course:
    return shapes.course(
        await services.courses.read_course(
            _user_id(identity), course_id, drafts=services.second_factors.acts_as_admin(identity)
        )
    )


async def update_course(
    services: Container, identity: Identity, course_id: str, body: rest.CourseUpdate
) -> rest.Course:
    return shapes.course(
        await services.courses.update(identity.user_id, course_id, shapes.columns(body, CourseChanges))
    )


async def delete_course(services: Container, identity: Identity, course_id: str) -> None:
    await services.courses.remove(identity.user_id, course_id)


async def upload_thumbnail(
    services: Container, identity: Identity, course_id: str, file: UploadFile | None = None
) -> rest.Thumbnail:
    if file is None:
        raise errors.RequestInvalid("the part 'file' should be a file")
    return {"thumbnailUrl": await services.courses.set_thumbnail(identity.user_id, course_id, await file.read())}


async def list_lessons(services: Container, identity: Identity | None, course_id: str) -> rest.LessonList:
    admin = services.second_factors.acts_as_admin(identity)
    lessons = await services.lessons.list_lessons(_user_id(identity), course_id, drafts=admin)
    return {"items": [shapes.lesson(each, admin=admin) for each in lessons]}


async def create_lesson(services: Container, identity: Identity, course_id: str, body: rest.LessonDraft) -> rest.Lesson:
    lesson = await services.lessons.add(identity.user_id, course_id, shapes.columns(body, NewLesson))
    return shapes.lesson(lesson, admin=True)


async def reorder_lessons(
    services: Container, identity: Identity, course_id: str, body: rest.LessonOrder
) -> rest.LessonList:
    lessons = await services.lessons.reorder(identity.user_id, course_id, body["lessonIds"])
    return {"items": [shapes.lesson(each, admin=True) for each in lessons]}


async def enroll(services: Container, identity: Identity, course_id: str) -> rest.EnrollmentResponse:
    order = await services.courses.enroll(identity.user_id, course_id)
    return {"isEnrolled": True} if order is None else {"isEnrolled": False, **shapes.checkout(order)}


def _user_id(identity: Identity | None) -> str | None:
    return identity.user_id if identity else None
