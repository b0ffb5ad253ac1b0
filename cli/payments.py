"""Owns `parlance payments`: what providers know and we may not."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import errors
from cli.configured import with_services

app = typer.Typer(help="Compare orders with what the payment providers know.", no_args_is_help=True)


@app.callback()
def payments() -> None:
    """Keep `reconcile` a command of its own: Typer would drop the name of an only one."""


@app.command("reconcile")
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Ask the providers about every order that waits for news, and repair what a lost webhook left.

    That includes refunds and disputes of the last month that were made on the provider's own pages. `parlance worker`
    does the same every ten minutes. Prints the orders that changed; exit 1 where a provider could not be asked.

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
        raise errors.Refused(f"{failed} questions could not be asked; try again when the provider answers")
