"""Telling the operators of a learner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers import shapes
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def create(services: Container, caller: Identity, body: dict[str, Any]) -> dict[str, Any]:
    report = await services.reports.report(
        caller.user_id, body["reportedId"], body.get("sessionId"), body["reason"], body.get("description")
    )
    return shapes.report(report)


async def list_mine(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> dict[str, Any]:
    return shapes.page(await services.reports.list_mine(caller.user_id, limit=limit, cursor=cursor), shapes.report)
