"""`parlance reset`: the data of `parlance dev` deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import settings as configuration
from errors import Refused


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    directory: Annotated[Path, typer.Option(help="Where `parlance dev` keeps its data.")] = Path(".parlance"),
) -> None:
    """Delete the data of the PostgreSQL, Redis and S3 that `parlance dev` starts, with its mails and payments.

    Asks first. Refuses while `parlance dev` runs, and in production. Signing keys stay, and services that are
    configured elsewhere are not touched.

    Examples:

      parlance reset

      parlance reset --yes
    """
    # Imported here: the other commands should not wait for the services' clients.
    from devtools.embedded import EmbeddedServices

    if configuration.load().is_production:
        raise Refused("`parlance reset` is for development, and APP_ENV is production")
    services = EmbeddedServices(directory)
    if not services.has_data():
        raise Refused(f"{directory} has no data of `parlance dev`; nothing was deleted")
    if not yes and not typer.confirm(f"Delete the database, the files, the mails and the payments in {directory}?"):
        raise Refused("nothing was deleted")
    services.delete_data()
    print(f"the data in {directory} is deleted; `parlance dev` starts with none")
