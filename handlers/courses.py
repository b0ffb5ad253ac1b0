"""What there is to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers import shapes
from services.sign_ins import Identity

if TYPE_CHECKING:
    from container import Container


async def list_all(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> dict[str, Any]:
    page = await services.courses.list_for(caller.user_id, drafts=caller.role == "admin", limit=limit, cursor=cursor)
    return shapes.page(page, shapes.course)


async def read(services: Container, caller: Identity, course_id: str) -> dict[str, Any]:
    return shapes.course(await services.courses.read_for(caller.user_id, course_id, drafts=caller.role == "admin"))


async def enroll(services: Container, caller: Identity, course_id: str) -> dict[str, Any]:
    order = await services.courses.enroll(caller.user_id, course_id)
    return {"enrolled": True} if order is None else {"enrolled": False, **shapes.checkout(order)}
