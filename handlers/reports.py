"""Reports of learners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def create_report(services: Container, identity: Identity, body: rest.ReportRequest) -> rest.Report:
    report = await services.reports.report(
        identity.user_id, body["reportedId"], body.get("sessionId"), body["reason"], body.get("description")
    )
    return shapes.report(report)


async def list_reports(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.ReportPage:
    return shapes.page(await services.reports.list_mine(identity.user_id, limit=limit, cursor=cursor), shapes.report)
