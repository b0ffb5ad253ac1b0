"""What one has taken up, and how far one has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def courses(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> rest.TakenCoursePage:
    return shapes.page(
        await services.progress.list_enrollments(caller.user_id, limit=limit, cursor=cursor), shapes.taken
    )


async def progress(services: Container, caller: Identity, course_id: str) -> rest.CourseProgress:
    return shapes.course_progress(await services.progress.get_progress(caller.user_id, course_id))
