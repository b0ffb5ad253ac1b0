"""Telling the operators of a learner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def create(services: Container, caller: Identity, body: rest.ReportRequest) -> rest.Report:
    report = await services.reports.report(
        caller.user_id, body["reportedId"], body.get("sessionId"), body["reason"], body.get("description")
    )
    return shapes.report(report)


async def list_mine(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> rest.ReportPage:
    return shapes.page(await services.reports.list_mine(caller.user_id, limit=limit, cursor=cursor), shapes.report)
