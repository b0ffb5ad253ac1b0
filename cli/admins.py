"""`parlance admins`: administrators created, promoted, demoted and listed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.configured import with_services

if TYPE_CHECKING:
    from models import User

app = typer.Typer(help="Create, promote, demote and list administrators.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="The account's e-mail address.")]


@app.command("create")
def create(email: Email) -> None:
    """Create an administrator's account. The password is prompted for, or read from standard input.

    Examples:

      parlance admins create ops@example.com

      pass show parlance | parlance admins create ops@example.com
    """
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    user = with_services(lambda services: services.administrators.create(email, password))
    print(f"{user.email} is an administrator")


@app.command("promote")
def promote(email: Email) -> None:
    """Make an existing account an administrator's. Its logins end.

    Example: parlance admins promote ada@example.com
    """
    print(f"{with_services(lambda services: services.administrators.promote(email)).email} is an administrator")


@app.command("demote")
def demote(email: Email) -> None:
    """Make an administrator a student again. Its logins end; the last administrator cannot be demoted.

    Example: parlance admins demote ada@example.com
    """
    print(f"{with_services(lambda services: services.administrators.demote(email)).email} is a student")


@app.command("list")
def list_administrators(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the administrators.

    Example: parlance admins list --json
    """
    admins: list[User] = with_services(lambda services: services.administrators.list())
    if as_json:
        print(json.dumps([{"id": str(user.id), "email": user.email} for user in admins]))
    else:
        for user in admins:
            print(user.email)
