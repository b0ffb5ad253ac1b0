"""Command line: all commands, and the exit codes of failures (1 refused, 2 wrong usage)."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

import errors
from cli import (
    admins,
    appeals,
    audit,
    bucket,
    dev,
    doctor,
    keys,
    migrations,
    notifications,
    payments,
    pictures,
    refunds,
    reset,
    review,
    sanctions,
    seed,
    serve,
    texts,
    users,
    videos,
    worker,
)
from parlance import __version__
from settings import SettingsError

app = typer.Typer(
    name="parlance",
    help="Run and operate Parlance, the backend of a speaking practice platform.",
    epilog="Start with `parlance dev`; every command has --help with examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(keys.app, name="keys")
app.add_typer(admins.app, name="admins")
app.add_typer(appeals.app, name="appeals")
app.add_typer(users.app, name="users")
app.add_typer(audit.app, name="audit")
app.add_typer(migrations.app, name="migrations")
app.add_typer(sanctions.app, name="sanctions")
app.add_typer(bucket.app, name="bucket")
app.add_typer(refunds.app, name="refunds")
app.add_typer(payments.app, name="payments")
app.add_typer(notifications.app, name="notifications")
app.add_typer(videos.app, name="videos")
app.add_typer(texts.app, name="texts")
app.add_typer(pictures.app, name="pictures")
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("dev")(dev.dev)
app.command("doctor")(doctor.doctor)
app.command("seed")(seed.seed)
app.command("review-partner")(review.review_partner)
app.command("reset")(reset.reset)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"parlance {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run and operate Parlance, the backend of a speaking practice platform."""


def main() -> NoReturn:
    """Run a command; print a refusal as one line on stderr, with the error's code where it has one."""
    try:
        app()
    except errors.ProductError as error:
        refuse(f"{error.code}: {error.detail}")
    except (errors.Refused, SettingsError) as error:
        refuse(str(error))
    sys.exit(0)


def refuse(message: str) -> NoReturn:
    print(f"parlance: {message}", file=sys.stderr)
    sys.exit(1)
