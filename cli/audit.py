"""Owns `parlance audit`: whether the record of what administrators did is whole."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import errors
from cli.configured import with_services

app = typer.Typer(help="Check the audit log.", no_args_is_help=True)


@app.command("verify")
def verify(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Walk the chain of hashes; exit 1, naming the first entry that does not fit, where it was tampered with.

    Example: parlance audit verify
    """
    verdict = with_services(lambda services: services.audit.verify())
    if as_json:
        print(json.dumps({"entries": verdict.entries, "brokenAt": verdict.broken_at}))
    if verdict.broken_at is not None:
        raise errors.Refused(f"entry {verdict.broken_at} of the audit log does not fit the one before it")
    if not as_json:
        print(f"the audit log is whole: {verdict.entries} entries")
