"""Owns the S3 bucket, through the minio SDK in threads."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

import errors
from settings import Settings


class Storage:
    def __init__(self, settings: Settings) -> None:
        endpoint = urlsplit(settings.storage_endpoint or "")
        self.bucket = settings.storage_bucket_name
        self._public_url = (settings.storage_public_url or f"{settings.storage_endpoint}/{self.bucket}").rstrip("/")
        self._client = Minio(
            endpoint.netloc,
            access_key=settings.storage_access_key,
            secret_key=settings.storage_secret_key.get_secret_value(),
            secure=endpoint.scheme == "https",
            region="us-east-1",  # named, so that no request is spent on asking for it
            http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=5), retries=False, maxsize=8),
        )

    def public_url(self, key: str) -> str:
        """Where anybody can read a public object (avatars and thumbnails)."""
        return f"{self._public_url}/{key}"

    def key_of(self, url: str) -> str | None:
        """The key of an object by its public URL; None for an address elsewhere."""
        prefix = f"{self._public_url}/"
        return url.removeprefix(prefix) if url.startswith(prefix) else None

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store an object; raise Unavailable."""
        await self._run(self._client.put_object, self.bucket, key, io.BytesIO(data), len(data), content_type)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already. Raises Unavailable."""
        await self._run(self._client.remove_object, self.bucket, key)

    async def probe(self) -> None:
        """Write an object, read it and remove it; raise Unavailable with what the store says."""
        await self._run(self._write_and_read, f"probe/{secrets.token_hex(8)}", secrets.token_bytes(32))

    def _write_and_read(self, key: str, data: bytes) -> None:
        self._client.put_object(self.bucket, key, io.BytesIO(data), len(data))
        try:
            answer = self._client.get_object(self.bucket, key)
            try:
                if answer.read() != data:
                    raise OSError("what was written came back as something else")
            finally:
                answer.close()
        finally:
            self._client.remove_object(self.bucket, key)

    @staticmethod
    async def _run(work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *arguments)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise errors.Unavailable(f"storage does not answer ({type(error).__name__})") from None

    async def ping(self) -> None:
        """Raise Unavailable unless the bucket is there."""
        if not await self._run(self._client.bucket_exists, self.bucket):
            raise errors.Unavailable(f"storage has no bucket '{self.bucket}'")
