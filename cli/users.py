"""`parlance users`: accounts of learners."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from cli.configured import with_services

app = typer.Typer(help="Show and correct accounts of learners.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Show and correct accounts of learners."""


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


@app.command("record")
def record(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a learner kept their last matches, their points, and until when they rest.

    Example: parlance users record ada@example.com
    """
    from instants import format_instant

    standing = with_services(lambda services: services.pairing_standings.read(email))
    until = format_instant(standing.resting_until)
    matches = [
        {
            "beganAt": format_instant(each.began_at),
            "outcome": each.outcome.value if each.outcome else None,
            "callSeconds": each.call_seconds,
        }
        for each in standing.matches
    ]
    if as_json:
        shown = {"email": standing.email, "points": standing.points, "restingUntil": until, "matches": matches}
        print(json.dumps({**shown, "warnedAt": format_instant(standing.warned_at)}))
        return
    rest = f"rests until {until}" if until else "no rest"
    print(f"{standing.email} has {standing.points:.1f} points, {rest}")
    for match in matches:
        print(f"{match['beganAt']}  {match['outcome'] or 'not counted':<12}{match['callSeconds']:>6} s")


@app.command("end-rest")
def end_rest(email: Annotated[str, typer.Argument(help="The account's e-mail address.")]) -> None:
    """End a learner's rest, and forget the points that led to it. The audit log has it.

    Example: parlance users end-rest ada@example.com
    """
    rested = with_services(lambda services: services.pairing_standings.end_rest(email))
    print(f"{email} may search again" if rested else f"{email} does not rest")
