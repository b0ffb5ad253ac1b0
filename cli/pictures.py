"""`parlance pictures`: pictures that wait for review."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from cli.configured import with_services

if TYPE_CHECKING:
    from container import Container
    from services.pagination import Page
    from services.safety.pictures import Outcome, WaitingPicture

app = typer.Typer(help="Review pictures that the screen did not decide, or that reports hide.", no_args_is_help=True)

#: Pictures that `list` prints.
_LIST_LIMIT = 1000

Url = Annotated[str, typer.Argument(help="The picture's address, as `list` prints it.")]


@app.command("list")
def list_waiting(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the pictures that wait for review, those that wait longest first. Only their owners and staff see them.

    Example: parlance pictures list --json
    """
    page: Page[WaitingPicture] = with_services(lambda services: services.pictures.list_waiting(limit=_LIST_LIMIT))
    if as_json:
        rows = [
            {"userId": str(each.user_id), "url": each.url, "waitingSince": each.waiting_since.isoformat()}
            for each in page.items
        ]
        print(json.dumps(rows))
    else:
        for each in page.items:
            print(f"{each.user_id}  {each.waiting_since:%Y-%m-%d %H:%M}  {each.url}")
        print(f"{len(page.items)} pictures to review")


@app.command("keep")
def keep(url: Url) -> None:
    """Show a picture to everyone.

    Example: parlance pictures keep https://files.example.com/avatars/7f8d/1773480413589-9f2c41d7.webp
    """
    print(f"the picture of {with_services(lambda services: _decide(services, url, 'keep'))} is shown")


@app.command("remove")
def remove(url: Url) -> None:
    """Remove a picture, and notify its owner.

    Example: parlance pictures remove https://files.example.com/avatars/7f8d/1773480413589-9f2c41d7.webp
    """
    print(f"the picture of {with_services(lambda services: _decide(services, url, 'remove'))} is removed")


async def _decide(services: Container, url: str, outcome: Outcome) -> uuid.UUID:
    owner = await services.pictures.find_owner(url)
    await services.pictures.decide(None, str(owner), url, outcome)
    return owner
