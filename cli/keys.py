"""Owns `parlance keys`: the pair that signs and verifies access tokens."""

from __future__ import annotations

import typer

import settings as configuration
from adapters.keys import KeyFiles

app = typer.Typer(help="Make and look after the signing keys.", no_args_is_help=True)


@app.command("generate")
def generate() -> None:
    """Write a new 2048-bit RSA pair to JWT_PRIVATE_KEY_PATH and JWT_PUBLIC_KEY_PATH.

    Refuses to overwrite a key. Generate on the server; never copy a key from a developer's machine.

    Example: parlance keys generate
    """
    files = KeyFiles(configuration.load())
    files.generate()
    print(f"wrote {files.private_path} (readable by you only) and {files.public_path}, key id {files.key_id}")
