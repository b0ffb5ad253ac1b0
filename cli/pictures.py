"""`parlance pictures`: pictures that wait for review."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.configured import with_services

if TYPE_CHECKING:
    from services.safety.pictures import HeldPicture

app = typer.Typer(help="Review pictures that the screen did not decide.", no_args_is_help=True)

Url = Annotated[str, typer.Argument(help="The picture's address, as `list` prints it.")]


@app.command("list")
def list_held(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the pictures that wait for review, oldest first. Only their owners see them.

    Example: parlance pictures list --json
    """
    held: list[HeldPicture] = with_services(lambda services: services.pictures.list_held())
    if as_json:
        rows = [{"userId": str(each.user_id), "url": each.url, "heldAt": each.held_at.isoformat()} for each in held]
        print(json.dumps(rows))
    else:
        for each in held:
            print(f"{each.user_id}  {each.held_at:%Y-%m-%d %H:%M}  {each.url}")
        print(f"{len(held)} pictures to review")


@app.command("allow")
def allow(url: Url) -> None:
    """Show a picture to everyone.

    Example: parlance pictures allow https://files.example.com/avatars/7f8d/1773480413589-9f2c41d7.webp
    """
    print(f"the picture of {with_services(lambda services: services.pictures.release(url))} is shown")


@app.command("refuse")
def refuse(url: Url) -> None:
    """Remove a picture.

    Example: parlance pictures refuse https://files.example.com/avatars/7f8d/1773480413589-9f2c41d7.webp
    """
    print(f"the picture of {with_services(lambda services: services.pictures.refuse(url))} is removed")
