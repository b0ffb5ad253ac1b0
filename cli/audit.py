"""`parlance audit`: verification of the audit log."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import errors
from cli.configured import with_services

app = typer.Typer(help="Check the audit log.", no_args_is_help=True)


@app.command("verify")
def verify(
    holds: Annotated[
        str | None, typer.Option(metavar="HASH", help="A hash that an earlier run printed; the log must still have it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Verify the chain of hashes; exit 1 with the first entry that does not fit, if the log was tampered with.

    A chain that lost its last entries still fits: store the printed hash elsewhere, and pass it to the next run.

    Examples:

      parlance audit verify

      parlance audit verify --holds 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    verdict = with_services(lambda services: services.audit.verify(holds))
    if as_json:
        print(json.dumps({"entries": verdict.entries, "brokenAt": verdict.broken_at, "lastHash": verdict.last_hash}))
    if verdict.broken_at is not None:
        raise errors.Refused(f"entry {verdict.broken_at} of the audit log does not fit the one before it")
    if not verdict.has_known_hash:
        raise errors.Refused("no entry of the audit log has that hash: entries were deleted, or the log was rewritten")
    if not as_json:
        print(f"the audit log is intact: {verdict.entries} entries, the last hash is {verdict.last_hash}")
