"""`parlance notifications`: notifications from operators to users."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.configured import check_text, with_services
from texts import Kind

app = typer.Typer(help="Notify users, in the app and by push.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Notify users, in the app and by push."""


@app.command("send")
def send(
    title: Annotated[str, typer.Argument(help="At most 200 characters.")],
    body: Annotated[str, typer.Argument(help="The text.")],
    to: Annotated[str | None, typer.Option(metavar="EMAIL", help="The account to notify.")] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="Notify every account.")] = False,
) -> None:
    """Notify one user, or every user. `parlance worker` delivers to sockets and devices.

    Examples:

      parlance notifications send "Your report" "We have looked at it. Thank you." --to ada@example.com

      parlance notifications send "Maintenance" "On Sunday from 8 to 9 UTC." --everybody
    """
    if (to is None) is not everybody:
        raise typer.BadParameter("name one account with --to, or all of them with --everybody")
    title = check_text("title", title, Kind.LINE, max_length=200)
    body = check_text("body", body, Kind.PARAGRAPHS)
    if to is not None:
        email = to
        with_services(lambda services: services.notifications.send(email, title, body))
        print(f"notified {email}")
    else:
        count = with_services(lambda services: services.notifications.send_to_all(title, body))
        print(f"notified {count} users")
