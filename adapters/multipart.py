"""S3 multipart uploads by presigned addresses: the minio SDK has public calls for neither parts nor their lists.

Blocking; `adapters/storage.py` calls it in threads. Raises S3Error and urllib3's errors, as the SDK does.
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.datatypes import ListMultipartUploadsResult
from minio.error import S3Error, ServerError
from minio.signer import presign_v4
from minio.xml import Element, SubElement, findtext, getbytes

from instants import utc_now

#: Lifetime of a presigned address; longer than any request takes.
_EXPIRY = timedelta(minutes=15)


class MultipartUpload(NamedTuple):
    key: str
    upload_id: str
    initiated_at: datetime


class Multipart:
    """Calls of S3's multipart upload, named as in its API."""

    def __init__(
        self,
        client: Minio,
        bucket: str,
        credentials: Credentials,
        region: str,
        http: urllib3.PoolManager,
        patient_http: urllib3.PoolManager,
    ) -> None:
        """`patient_http` is for long requests: parts, and completion."""
        self._client, self._bucket, self._credentials, self._region = client, bucket, credentials, region
        self._http, self._patient_http = http, patient_http

    def create(self, key: str, content_type: str) -> str:
        response = self._request(self._http, "POST", key, {"uploads": ""}, headers={"Content-Type": content_type})
        return str(findtext(_xml(response), "UploadId", True))

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        query = {"partNumber": str(number), "uploadId": upload_id}
        # The signature of an address does not cover the body; the store compares this digest with what it received.
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        response = self._request(self._patient_http, "PUT", key, query, body=data, headers={"Content-MD5": digest})
        return response.headers["ETag"].strip('"')

    def complete(self, key: str, upload_id: str, etags: list[str]) -> None:
        parts = Element("CompleteMultipartUpload")
        for number, etag in enumerate(etags, 1):
            part = SubElement(parts, "Part")
            SubElement(part, "PartNumber", str(number))
            SubElement(part, "ETag", f'"{etag}"')
        headers = {"Content-Type": "application/xml"}
        query = {"uploadId": upload_id}
        try:
            response = self._request(self._patient_http, "POST", key, query, body=getbytes(parts), headers=headers)
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
        else:
            # S3 sends the status before it assembles the parts; a later error is in the body.
            if _xml(response).tag.endswith("Error"):
                raise S3Error.fromxml(response)

    def abort(self, key: str, upload_id: str) -> None:
        try:
            self._request(self._http, "DELETE", key, {"uploadId": upload_id})
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise

    def list(self, prefix: str) -> list[MultipartUpload]:
        found: list[MultipartUpload] = []
        query = {"uploads": "", "prefix": prefix, "encoding-type": "url"}
        while True:
            page = ListMultipartUploadsResult(self._request(self._http, "GET", None, query))
            found += [
                MultipartUpload(each.object_name, each.upload_id, each.initiated_time)
                for each in page.uploads
                if each.upload_id and each.initiated_time
            ]
            if not page.is_truncated or not page.next_key_marker:
                return found
            query["key-marker"] = page.next_key_marker

    def _request(
        self, http: urllib3.PoolManager, method: str, key: str | None, query: dict[str, str], **what: Any
    ) -> urllib3.BaseHTTPResponse:
        url = self._bucket_url(method, query) if key is None else self._object_url(method, key, query)
        response = http.request(method, url, redirect=False, **what)
        if response.status >= 300:
            try:
                raise S3Error.fromxml(response)
            except (ET.ParseError, UnicodeDecodeError):  # an answer of a proxy
                raise ServerError(f"{method} answered {response.status}", response.status) from None
        return response

    def _object_url(self, method: str, key: str, query: dict[str, str]) -> str:
        return self._client.get_presigned_url(method, self._bucket, key, _EXPIRY, extra_query_params=dict(query))

    def _bucket_url(self, method: str, query: dict[str, str]) -> str:
        # The SDK presigns objects only, and chooses whether the bucket is in the host or in the path.
        some_object = urlsplit(self._client.get_presigned_url("GET", self._bucket, "object", _EXPIRY))
        bucket = some_object._replace(
            path=some_object.path.removesuffix("object"), query=urlencode(query, quote_via=quote)
        )
        signed = presign_v4(
            method=method,
            url=bucket,
            region=self._region,
            credentials=self._credentials,
            date=utc_now(),
            expires=int(_EXPIRY.total_seconds()),
        )
        return urlunsplit(signed)


def _xml(response: urllib3.BaseHTTPResponse) -> ET.Element:
    return ET.fromstring(response.data)  # noqa: S314 - of the store that holds our files; expat bounds expansion
