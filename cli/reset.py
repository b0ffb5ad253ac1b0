"""`parlance reset`: the data of `parlance dev` deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import settings as configuration
from errors import Refused


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    directory: Annotated[Path, typer.Option(help="Where `parlance dev` keeps its data.")] = Path(".parlance"),
) -> None:
    """Delete the data of the PostgreSQL, Redis and S3 that `parlance dev` starts, with mails and payments.

    Asks for confirmation. Refuses while `parlance dev` runs, and in production. Keeps the signing keys, and does not
    touch services that are configured elsewhere.

    Examples:

      parlance reset

      parlance reset --yes
    """
    # Imported here, so that other commands do not wait for the clients of the services.
    from devtools.embedded import EmbeddedServices

    if configuration.load().is_production:
        raise Refused("`parlance reset` is for development, and APP_ENV is production")
    services = EmbeddedServices(directory)
    if not services.has_data():
        raise Refused(f"{directory} has no data of `parlance dev`; nothing was deleted")
    if not yes and not typer.confirm(f"Delete the database, the files, the mails and the payments in {directory}?"):
        raise Refused("nothing was deleted")
    services.delete_data()
    print(f"the data in {directory} was deleted; `parlance dev` starts with none")
