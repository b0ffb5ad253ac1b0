"""`parlance payments`: reconciliation with the providers, and webhook events."""

from __future__ import annotations

import json
import uuid
from typing import Annotated

import typer

import errors
from cli.configured import with_services

app = typer.Typer(help="Reconcile orders with the payment providers, and handle their events.", no_args_is_help=True)


@app.command("reconcile")
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Query the providers for every open order, and apply what a lost webhook would have reported.

    That includes refunds and disputes of the last month from the provider's dashboard. `parlance worker`
    does the same every ten minutes. Prints the orders that changed; exit 1 if a query failed.

    Examples:

      parlance payments reconcile --dry-run

      parlance payments reconcile --json
    """
    outcomes = with_services(lambda services: services.reconciliation.reconcile(dry_run=dry_run))
    if as_json:
        fields = [
            {
                "orderId": str(each.order_id) if each.order_id else None,
                "receiptId": each.receipt_id,
                "before": each.before,
                "after": each.after,
                "error": each.error,
            }
            for each in outcomes
        ]
        print(json.dumps(fields))
    else:
        for each in outcomes:
            name = f"{each.receipt_id}  {each.order_id or 'any order'}"
            print(f"{name}  {each.error or f'{each.before} -> {each.after}'}")
        changed = sum(each.error is None for each in outcomes)
        print(f"{changed} orders {'would change' if dry_run else 'changed'}")
    failed = sum(each.error is not None for each in outcomes)
    if failed:
        raise errors.Refused(f"{failed} requests to a provider failed; try again when it answers")


@app.command("events")
def events(
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Those that could not be read, or failed too often.")
    ] = False,
    retry: Annotated[
        uuid.UUID | None, typer.Option(metavar="ID", help="Handle an event that was set aside again.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List the webhook events that wait to be handled, or those that were set aside, oldest first.

    An event is set aside after six failures, or at once where its shape is unknown.
    Administrators are notified. Correct the cause, which the log has, then retry the event.

    Examples:

      parlance payments events --set-aside

      parlance payments events --retry 3f0c7c2e-5d53-4f41-8f0e-6f2a4a9a2d11
    """
    if retry is not None:
        with_services(lambda services: services.webhooks.retry(str(retry)))
        print(f"event {retry} is enqueued again")
        return
    found = with_services(lambda services: services.webhooks.list_events(set_aside=set_aside, limit=limit))
    if as_json:
        fields = [
            {
                "id": str(each.id),
                "provider": each.provider.value,
                "eventId": each.event_id,
                "type": each.type,
                "receivedAt": each.received_at.isoformat(),
                "setAsideAt": each.set_aside_at.isoformat() if each.set_aside_at else None,
                "failures": each.failures,
                "lastError": each.last_error,
            }
            for each in found
        ]
        print(json.dumps(fields))
        return
    for each in found:
        why = f"{each.failures} failures: {each.last_error}" if each.failures else each.last_error or "waits"
        print(f"{each.received_at:%Y-%m-%d %H:%M}  {each.id}  {each.provider:8}  {each.type}  {why}")
    print(f"{len(found)} events {'are set aside' if set_aside else 'wait'}")
