"""`parlance keys`: the keys that sign and verify access tokens."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated

import typer

import settings as configuration
from adapters.keys import KeyFiles
from adapters.tokens import LEEWAY_SECONDS

app = typer.Typer(help="Generate, rotate, list and prune the signing keys.", no_args_is_help=True)


@app.command("generate")
def generate() -> None:
    """Write a new 2048-bit RSA pair to JWT_PRIVATE_KEY_PATH and JWT_PUBLIC_KEY_PATH.

    Refuses to overwrite a key. Generate on the server; never copy a key from a developer's machine.

    Example: parlance keys generate
    """
    files = KeyFiles(configuration.load())
    key_id = files.generate()
    print(f"wrote {files.private_path} (readable by you only) and {files.public_path}, key id {key_id}")


@app.command("rotate")
def rotate() -> None:
    """Generate a new signing key; the old one still verifies. Running servers load it within a second.

    Run `parlance keys prune` when every token of the old key has expired (JWT_ACCESS_EXPIRY).

    Example: parlance keys rotate
    """
    print(f"tokens are now signed with {KeyFiles(configuration.load()).rotate()}; the old key still verifies")


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the published keys, the signing one first.

    Example: parlance keys list --json
    """
    keys = KeyFiles(configuration.load()).published()
    if as_json:
        print(
            json.dumps(
                [
                    {"kid": key.key_id, "signs": key.signs, "retiredAt": key.retired_at and key.retired_at.isoformat()}
                    for key in keys
                ]
            )
        )
        return
    for key in keys:
        state = (
            "signs" if key.signs else f"retired {key.retired_at:%Y-%m-%d %H:%M} UTC" if key.retired_at else "verifies"
        )
        print(f"{key.key_id:<16} {state}")


@app.command("prune")
def prune() -> None:
    """Stop publishing retired keys whose tokens have all expired.

    Example: parlance keys prune
    """
    settings = configuration.load()
    pruned = KeyFiles(settings).prune(settings.jwt_access_expiry + timedelta(seconds=LEEWAY_SECONDS))
    print(f"no longer published: {', '.join(pruned)}" if pruned else "nothing to prune")
