"""S3 bucket of pictures and videos, through the minio SDK in threads."""

from __future__ import annotations

import asyncio
import io
import secrets
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

import errors
import spans
from adapters.multipart import Multipart, MultipartUpload
from settings import Settings


class StorageRefused(errors.Unavailable):
    """The store refused a request; `reason` is its code, such as AccessDenied."""

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _origin(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}" if url.netloc else ""


def _http(*, read_timeout_seconds: float) -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=read_timeout_seconds), retries=False, maxsize=8)


def content_disposition(name: str) -> str:
    """Write the header that saves a download under `name` (RFC 6266); other programs than browsers read the first form.

    The second is RFC 8187's, which has all of Unicode.
    """
    letters = (each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    # Some programs interpret `\\` and `%` in quotes.
    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\%' else "_" for each in letters)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def get_folder(key: str) -> str:
    """Return a key up to its last slash, which is included."""
    return key.rpartition("/")[0] + "/"


class Storage:
    def __init__(self, settings: Settings) -> None:
        endpoint = urlsplit(settings.storage_endpoint or "")
        self.bucket = settings.storage_bucket_name
        self._public_url = (settings.storage_public_url or f"{settings.storage_endpoint}/{self.bucket}").rstrip("/")

        credentials = Credentials(settings.storage_access_key, settings.storage_secret_key.get_secret_value())

        def client(http: urllib3.PoolManager) -> Minio:
            return Minio(
                endpoint.netloc,
                access_key=credentials.access_key,
                secret_key=credentials.secret_key,
                secure=endpoint.scheme == "https",
                region=settings.storage_region,  # named, so that the SDK sends no request for it
                http_client=http,
            )

        quick, patient = _http(read_timeout_seconds=5), _http(read_timeout_seconds=60)
        self._client = client(quick)
        # Files are megabytes, and assembling thousands of parts takes long.
        self._patient = client(patient)
        self._multipart = Multipart(
            self._client, self.bucket, credentials, settings.storage_region, http=quick, patient_http=patient
        )

    @property
    def public_origin(self) -> str:
        """Return the origin of public objects for browsers: scheme and host."""
        return _origin(urlsplit(self._public_url))

    @property
    def signed_origin(self) -> str:
        """Return the origin of signed addresses: scheme and host, which on AWS begins with the bucket."""
        return _origin(urlsplit(self.signed_url("any", timedelta(minutes=1))))

    def public_url(self, key: str) -> str:
        """Return the public address of an object (avatars and thumbnails)."""
        return f"{self._public_url}/{key}"

    def find_key(self, url: str) -> str | None:
        """Return the key of an object by its public URL; None for another address."""
        prefix = f"{self._public_url}/"
        return url.removeprefix(prefix) if url.startswith(prefix) else None

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store an object; raise Unavailable."""
        await self._run(self._client.put_object, self.bucket, key, io.BytesIO(data), len(data), content_type)

    @asynccontextmanager
    async def put_or_undo(self, key: str, data: bytes, content_type: str) -> AsyncIterator[None]:
        """Store an object, and remove it again where the block raises: it is stored before a row names it."""
        await self.put(key, data, content_type)
        try:
            yield
        except BaseException:
            await self.delete(key)
            raise

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists; raise Unavailable."""
        await self._run(self._client.remove_object, self.bucket, key)

    async def probe(self) -> None:
        """Write an object, read it and delete it; raise Unavailable with the store's reason."""
        key, data = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(32)
        await self.put(key, data, "application/octet-stream")
        try:
            if await self.get(key) != data:
                raise errors.Unavailable("storage returned other bytes than were written")
        finally:
            await self.delete(key)

    async def get(self, key: str) -> bytes:
        """Read an object that is small; raise NotFound or Unavailable."""

        def read() -> bytes:
            response = self._client.get_object(self.bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

        return bytes(await self._run(read))

    async def download(self, key: str, path: Path) -> None:
        """Copy an object to a file; raise NotFound or Unavailable."""
        await self._run(self._patient.fget_object, self.bucket, key, str(path))

    async def upload(self, path: Path, key: str, content_type: str) -> None:
        """Copy a file to an object; raise Unavailable."""
        await self._run(self._patient.fput_object, self.bucket, key, str(path), content_type)

    async def keys(self, prefix: str) -> list[str]:
        """List the objects whose keys begin so."""

        def listed() -> list[str]:
            found = self._client.list_objects(self.bucket, prefix=prefix, recursive=True)
            return [str(each.object_name) for each in found]

        return list(await self._run(listed))

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove objects; raise Unavailable where one of them stays."""

        def remove() -> None:
            doomed = [DeleteObject(key) for key in keys]
            for each in self._patient.remove_objects(self.bucket, doomed):
                raise OSError(each.code)

        await self._run(remove)

    async def delete_all(self, prefix: str, *, keep: str | None = None) -> None:
        """Remove the objects whose keys begin so, but for those that begin with `keep`."""
        await self.delete_many([key for key in await self.keys(prefix) if keep is None or not key.startswith(keep)])

    def signed_url(self, key: str, expires: timedelta, *, download_as: str | None = None) -> str:
        """Return an address at which a private object can be read for a while; no request is made.

        With `download_as` a browser saves it by that name.
        """
        headers: Any = None
        if download_as is not None:
            headers = {"response-content-disposition": content_disposition(download_as)}
        return self._client.get_presigned_url("GET", self.bucket, key, expires, response_headers=headers)

    # --- Multipart uploads ----------------------------------------------------------------------------

    async def create_multipart_upload(self, key: str, content_type: str) -> str:
        """Begin an object that comes in parts, and return the upload's id; it is no object until it is completed."""
        return str(await self._run(self._multipart.create, key, content_type))

    async def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Store a part, the first of which is number 1, and return its ETag; all but the last have 5 MiB at least."""
        return str(await self._run(self._multipart.upload_part, key, upload_id, number, data))

    async def complete_multipart_upload(self, key: str, upload_id: str, etags: list[str]) -> None:
        """Make the object of its parts; does nothing for an upload that is completed or aborted."""
        await self._run(self._multipart.complete, key, upload_id, etags)

    async def abort_multipart_upload(self, key: str, upload_id: str) -> None:
        """Remove an upload with its parts; does nothing for one that is completed or aborted."""
        await self._run(self._multipart.abort, key, upload_id)

    async def list_multipart_uploads(self, prefix: str) -> list[MultipartUpload]:
        """List the uploads that are neither completed nor aborted."""
        return list(await self._run(self._multipart.list, prefix))

    @staticmethod
    async def _run(work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with spans.vendor("s3", work.__name__):
                return await asyncio.to_thread(work, *arguments)
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise errors.NotFound() from None
            raise StorageRefused(f"storage refuses ({error.code})", str(error.code)) from None
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise errors.Unavailable(f"storage does not answer ({type(error).__name__})") from None

    async def ping(self) -> None:
        """Raise Unavailable unless the bucket is there."""
        if not await self._run(self._client.bucket_exists, self.bucket):
            raise StorageRefused(f"storage has no bucket '{self.bucket}'", "NoSuchBucket")
