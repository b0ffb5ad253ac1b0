"""What operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers import shapes
from services.sign_ins import Identity

if TYPE_CHECKING:
    from container import Container


async def list_reports(
    services: Container, limit: int, status: str | None = None, cursor: str | None = None
) -> dict[str, Any]:
    return shapes.page(await services.reports.list_all(status, limit=limit, cursor=cursor), shapes.admin_report)


async def review_report(services: Container, caller: Identity, report_id: str, body: dict[str, Any]) -> dict[str, Any]:
    report = await services.reports.review(
        caller.user_id,
        report_id,
        status=body.get("status"),
        admin_note=body.get("adminNote"),
        ban=body.get("ban", False),
    )
    return shapes.admin_report(report)


async def ban_user(services: Container, caller: Identity, user_id: str, body: dict[str, Any]) -> None:
    await services.bans.ban(caller.user_id, user_id, body["reason"])


async def unban_user(services: Container, caller: Identity, user_id: str) -> None:
    await services.bans.unban(caller.user_id, user_id)


async def list_orders(
    services: Container, limit: int, status: str | None = None, cursor: str | None = None
) -> dict[str, Any]:
    return shapes.page(await services.payments.list_all(status, limit=limit, cursor=cursor), shapes.admin_order)


async def refund_order(services: Container, caller: Identity, order_id: str, body: dict[str, Any]) -> dict[str, Any]:
    refund = await services.payments.refund(caller.user_id, order_id, body.get("amount"), body.get("reason"))
    return shapes.refund(refund)
