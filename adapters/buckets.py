"""S3 bucket: creation, and the policy that the product needs."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import minio
import urllib3

from errors import Refused
from settings import Settings


def create_bucket(settings: Settings) -> None:
    """Create the bucket of the settings; raise Refused where they are wrong, or the store cannot be reached."""
    endpoint = urlsplit(settings.storage_endpoint or "")
    client = minio.Minio(
        endpoint.netloc,
        access_key=settings.storage_access_key,
        secret_key=settings.storage_secret_key.get_secret_value(),
        secure=endpoint.scheme == "https",
        region=settings.storage_region,
        http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=30), retries=False),
    )
    try:
        make_bucket(client, settings.storage_bucket_name)
    except minio.error.MinioException as error:
        code = getattr(error, "code", None) or error
        raise Refused(f"the storage at {settings.storage_endpoint} refused ({code}); check STORAGE_*") from None
    except urllib3.exceptions.HTTPError as error:
        raise Refused(f"the storage at {settings.storage_endpoint} does not answer ({type(error).__name__})") from None
    except ValueError as error:
        raise Refused(f"STORAGE_BUCKET_NAME is {settings.storage_bucket_name}: {error}") from None


def make_bucket(client: minio.Minio, bucket: str) -> None:
    """Create the bucket if it is missing, with public reads of avatars and thumbnails but not of listings."""
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    public = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" for prefix in ("avatars", "thumbnails")],
    }
    client.set_bucket_policy(bucket, json.dumps({"Version": "2012-10-17", "Statement": [public]}))
