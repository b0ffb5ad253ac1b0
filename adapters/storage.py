"""Owns the S3 bucket, through the minio SDK in threads."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import urllib3
from minio import Minio

import errors
from settings import Settings


class Storage:
    def __init__(self, settings: Settings) -> None:
        endpoint = urlsplit(settings.storage_endpoint or "")
        self.bucket = settings.storage_bucket_name
        self._client = Minio(
            endpoint.netloc,
            access_key=settings.storage_access_key,
            secret_key=settings.storage_secret_key.get_secret_value(),
            secure=endpoint.scheme == "https",
            region="us-east-1",  # named, so that no request is spent on asking for it
            http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=5), retries=False, maxsize=8),
        )

    async def ping(self) -> None:
        """Raise Unavailable unless the bucket is there."""
        try:
            there = await asyncio.to_thread(self._client.bucket_exists, self.bucket)
        except Exception as error:
            raise errors.Unavailable(f"storage does not answer ({type(error).__name__})") from None
        if not there:
            raise errors.Unavailable(f"storage has no bucket '{self.bucket}'")
