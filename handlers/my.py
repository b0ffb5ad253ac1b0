"""Enrollments and progress of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_my_courses(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.CourseEnrollmentPage:
    return shapes.page(
        await services.progress.list_enrollments(identity.user_id, limit=limit, cursor=cursor), shapes.course_enrollment
    )


async def get_my_progress(services: Container, identity: Identity, course_id: str) -> rest.CourseProgress:
    return shapes.course_progress(await services.progress.get_progress(identity.user_id, course_id))
