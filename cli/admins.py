"""`parlance admins`: accounts of staff created, promoted, demoted and listed, with their logins and second factors."""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.configured import with_services
from instants import format_instant

if TYPE_CHECKING:
    from models import User
    from services.identity.staff import StaffLogin

app = typer.Typer(
    help="Manage administrators and moderators: their roles, logins and second factors.", no_args_is_help=True
)

Email = Annotated[str, typer.Argument(help="The account's e-mail address.")]
StaffRole = Annotated[
    Literal["admin", "moderator"],
    typer.Option("--role", help="admin may do everything; moderator reviews reports and bans."),
]
_ROLE_NAMES = {"admin": "an administrator", "moderator": "a moderator", "student": "a student"}


def _describe(user: User) -> str:
    return f"{user.email} is {_ROLE_NAMES[user.role.value]}"


@app.command("create")
def create(email: Email, role: StaffRole = "admin") -> None:
    """Create an account of staff. The password is prompted for, or read from standard input.

    Examples:

      parlance admins create ops@example.com

      parlance admins create mod@example.com --role moderator

      pass show parlance | parlance admins create ops@example.com
    """
    from models import Role

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    print(_describe(with_services(lambda services: services.administrators.create(email, password, Role(role)))))


@app.command("promote")
def promote(email: Email, role: StaffRole = "admin") -> None:
    """Give an existing account a role of staff. Its logins end; the last administrator stays one.

    Example: parlance admins promote ada@example.com --role moderator
    """
    from models import Role

    print(_describe(with_services(lambda services: services.administrators.promote(email, Role(role)))))


@app.command("demote")
def demote(email: Email) -> None:
    """Make an account of staff a student's again. Its logins end; the last administrator cannot be demoted.

    Example: parlance admins demote ada@example.com
    """
    print(_describe(with_services(lambda services: services.administrators.demote(email))))


@app.command("list")
def list_staff(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the administrators and moderators.

    Example: parlance admins list --json
    """
    staff: list[User] = with_services(lambda services: services.administrators.list())
    if as_json:
        print(json.dumps([{"id": str(user.id), "email": user.email, "role": user.role.value} for user in staff]))
    else:
        for user in staff:
            print(f"{user.email}  {user.role.value}")


@app.command("logins")
def logins(
    email: Email,
    end: Annotated[uuid.UUID | None, typer.Option("--end", help="The id of a login to end.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List the logins of an account of staff, or end one.

    Examples:

      parlance admins logins ada@example.com

      parlance admins logins ada@example.com --end 3c9e2a71-5f84-4d06-b1e7-a8d05c6f9b23
    """
    if end is not None:
        login_id = end
        with_services(lambda services: services.staff.end_login_of(email, login_id))
        print(f"the login {login_id} has ended")
        return
    found: list[StaffLogin] = with_services(lambda services: services.staff.find_logins(email))
    if as_json:
        print(json.dumps([_as_json(each) for each in found]))
        return
    for each in found:
        proven = (
            f"second factor {format_instant(each.factor_proven_at)}" if each.factor_proven_at else "no second factor"
        )
        used = format_instant(each.last_used_at)
        print(f"{each.id}  {each.platform.value:7}  last used {used}  {proven}  {each.device_id}")


def _as_json(login: StaffLogin) -> dict[str, str | None]:
    return {
        "id": str(login.id),
        "deviceId": login.device_id,
        "platform": login.platform.value,
        "loggedInAt": format_instant(login.logged_in_at),
        "lastUsedAt": format_instant(login.last_used_at),
        "factorProvenAt": format_instant(login.factor_proven_at),
    }


@app.command("reset-factor")
def reset_factor(email: Email) -> None:
    """Remove the second factor of an account whose owner has lost it. Its logins end; check who asks first.

    Example: parlance admins reset-factor ada@example.com
    """
    user = with_services(lambda services: services.administrators.reset_factor(email))
    print(f"{user.email} has no second factor; the next login enrolls one")
