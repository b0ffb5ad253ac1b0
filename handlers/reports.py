"""Reports of learners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def create_report(
    services: Container, request: Request, identity: Identity, body: rest.ReportRequest
) -> rest.Report:
    report = await services.reports.report(
        identity,
        body["reportedId"],
        body.get("sessionId"),
        body["reason"],
        body.get("description"),
        block=body.get("isBlocked", False),
        address=request.client.host if request.client else "",
    )
    return shapes.report(report)


async def list_reports(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.ReportPage:
    return shapes.page(await services.reports.list_mine(identity.user_id, limit=limit, cursor=cursor), shapes.report)
