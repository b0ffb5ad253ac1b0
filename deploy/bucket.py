"""Makes the bucket that STORAGE_* names, with avatars and thumbnails public; for MinIO, SeaweedFS and S3 itself.

Run as `python deploy/bucket.py`; safe to run again. R2 has no bucket policies: give its bucket a public domain.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from minio import Minio

import settings as configuration
from adapters.buckets import make_bucket


def main() -> None:
    settings = configuration.load()
    endpoint = urlsplit(settings.storage_endpoint or "")
    if not endpoint.netloc:
        sys.exit("deploy/bucket.py: STORAGE_ENDPOINT is not set")
    client = Minio(
        endpoint.netloc,
        access_key=settings.storage_access_key,
        secret_key=settings.storage_secret_key.get_secret_value(),
        secure=endpoint.scheme == "https",
    )
    make_bucket(client, settings.storage_bucket_name)
    print(f"the bucket {settings.storage_bucket_name} is ready")


if __name__ == "__main__":
    main()
