"""What one has taken up, and how far one has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers import shapes
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def courses(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> dict[str, Any]:
    return shapes.page(await services.progress.courses(caller.user_id, limit=limit, cursor=cursor), shapes.taken)


async def progress(services: Container, caller: Identity, course_id: str) -> dict[str, Any]:
    return shapes.course_progress(await services.progress.of(caller.user_id, course_id))
