"""`parlance bucket`: the bucket of pictures and videos."""

from __future__ import annotations

import typer

import settings as configuration
from adapters.buckets import create_bucket
from settings import SettingsError

app = typer.Typer(help="Create the bucket of pictures and videos.", no_args_is_help=True)


@app.command("create")
def create() -> None:
    """Create the bucket STORAGE_BUCKET_NAME, with avatars and thumbnails public; for MinIO, SeaweedFS and S3.

    Safe to run again. R2 has no bucket policies: give its bucket a public domain.

    Example: parlance bucket create
    """
    settings = configuration.load()
    if settings.storage_endpoint is None:
        raise SettingsError("STORAGE_ENDPOINT is not set; set it to the address of the S3 store")
    create_bucket(settings)
    print(f"the bucket {settings.storage_bucket_name} is ready")
