"""`parlance refunds`: refunds of orders, issued and listed."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from cli.configured import check_text, with_services
from texts import Kind

if TYPE_CHECKING:
    from container import Container
    from models import Refund
    from services.pagination import Page

app = typer.Typer(help="Refund payments.", no_args_is_help=True)


@app.command("issue")
def issue(
    order_id: Annotated[uuid.UUID, typer.Argument(metavar="ORDER_ID", help="The order's id.")],
    amount: Annotated[
        int | None, typer.Option(min=1, help="In the smallest unit of the currency; by default all that is left.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Recorded with the refund.")] = None,
) -> None:
    """Refund an order's payment, or part of it. A full refund ends the enrollment.

    Where the provider is unavailable the refund stays pending, and `parlance worker` tries again.

    Examples:

      parlance refunds issue 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0

      parlance refunds issue 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0 --amount 10000 --reason "Half the course was missing"
    """
    if reason is not None:
        reason = check_text("reason", reason, Kind.PARAGRAPHS, max_length=500)
    refund = with_services(lambda services: services.refunds.create(None, str(order_id), amount, reason))
    print(f"refund {refund.id} of {refund.amount} {refund.currency}: {refund.status}")


@app.command("list")
def list_refunds(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List all refunds, newest first.

    Example: parlance refunds list --json
    """
    refunds = with_services(_list_all)
    if as_json:
        print(json.dumps([_build_fields(refund) for refund in refunds]))
        return
    for refund in refunds:
        order = refund.order_id or "no known order"
        print(f"{refund.created_at:%Y-%m-%d %H:%M}  {refund.amount} {refund.currency}  {refund.status:9}  {order}")


async def _list_all(services: Container) -> list[Refund]:
    refunds: list[Refund] = []
    cursor: str | None = None
    while True:
        page: Page[Refund] = await services.refunds.list_refunds(limit=1000, cursor=cursor)
        refunds += page.items
        cursor = page.next_cursor
        if cursor is None:
            return refunds


def _build_fields(refund: Refund) -> dict[str, str | int | None]:
    return {
        "id": str(refund.id),
        "orderId": str(refund.order_id) if refund.order_id else None,
        "amount": refund.amount,
        "currency": refund.currency,
        "status": refund.status.value,
        "provider": refund.provider.value,
        "providerRefundId": refund.provider_refund_id,
        "reason": refund.reason,
        "createdAt": refund.created_at.isoformat(),
    }
