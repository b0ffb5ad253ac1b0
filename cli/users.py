"""`parlance users`: accounts of learners."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.configured import with_services

app = typer.Typer(help="Correct accounts of learners.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Correct accounts of learners."""


@app.command("set-age")
def set_age(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    band: Annotated[Literal["under_13", "13_15", "16_17", "18_plus"], typer.Argument(help="The age band, in years.")],
) -> None:
    """Set the age band of an account, which ends its refusal and that of its devices. The audit log has it.

    A search and a call that the new band does not allow end. The account of a child (under_13) is deleted after a day.

    Example: parlance users set-age ada@example.com 18_plus
    """
    from models import AgeBand

    user = with_services(lambda services: services.ages.set_for_user(email, AgeBand(band)))
    print(f"{user.email} is in the age band {band}")
