"""Storage: addresses for browsers, which the pages' policy allows, and multipart uploads."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import errors
from adapters.storage import Storage, StorageRefused
from settings import Settings

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("endpoint", "public", "pictures", "videos"),
    [
        ("http://localhost:9000", None, "http://localhost:9000", "http://localhost:9000"),
        # AWS answers at a name that begins with the bucket's.
        (
            "https://s3.amazonaws.com",
            "https://cdn.test/p",
            "https://cdn.test",
            "https://parlance.s3.us-east-1.amazonaws.com",
        ),
    ],
)
def test_storage_is_reached_at_its_public_address(
    settings: Settings, endpoint: str, public: str | None, pictures: str, videos: str
) -> None:
    changed = {"storage_endpoint": endpoint, "storage_public_url": public, "storage_bucket_name": "parlance"}
    storage = Storage(settings.model_copy(update=changed))
    assert (storage.public_origin, storage.signed_origin) == (pictures, videos)
    assert storage.signed_url("a/b", timedelta(minutes=1)).startswith(f"{videos}/")


def test_signed_urls_carry_the_region(settings: Settings) -> None:
    auto = Storage(settings.model_copy(update={"storage_region": "auto"}))
    url = auto.signed_url("a/b", timedelta(minutes=1))
    assert "%2Fauto%2Fs3%2Faws4_request" in url and "us-east-1" not in url
    default = Storage(settings).signed_url("a/b", timedelta(minutes=1))
    assert "%2Fus-east-1%2Fs3%2Faws4_request" in default


async def test_multipart_uploads_become_objects(settings: Settings) -> None:
    storage, folder = Storage(settings), f"parts-{uuid.uuid4()}/"
    key, dropped = f"{folder}a b é.bin", f"{folder}dropped.bin"
    parts = [b"a" * (5 * MIB), b"the last part may be short"]
    upload_id = await storage.create_multipart_upload(key, "video/mp4")
    etags = [await storage.upload_part(key, upload_id, number, part) for number, part in enumerate(parts, 1)]
    dropped_id = await storage.create_multipart_upload(dropped, "video/mp4")
    listed = {each.key: each for each in await storage.list_multipart_uploads(folder)}
    assert {each: listed[each].upload_id for each in listed} == {key: upload_id, dropped: dropped_id}
    assert all(abs(each.initiated_at - datetime.now(UTC)) < timedelta(minutes=1) for each in listed.values())
    assert await storage.keys(folder) == []

    for _ in range(2):  # a job that is tried again
        await storage.complete_multipart_upload(key, upload_id, etags)
        await storage.abort_multipart_upload(dropped, dropped_id)
    assert await storage.list_multipart_uploads(folder) == []
    assert await storage.keys(folder) == [key] and await storage.get(key) == b"".join(parts)
    await storage.delete(key)


async def test_parts_of_unknown_uploads_are_refused(settings: Settings) -> None:
    with pytest.raises(StorageRefused) as refusal:
        await Storage(settings).upload_part("none.bin", uuid.uuid4().hex, 1, b"data")
    assert refusal.value.reason == "NoSuchUpload"


@contextmanager
def store(status: int, *bodies: bytes) -> Iterator[tuple[str, list[str]]]:
    """A store that gives these answers in turn; its address, and the requests that it got."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = bodies[len(requests)]
            requests.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


async def test_completion_refused_after_its_status_is_an_error(settings: Settings) -> None:
    answer = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
    with store(200, answer) as (url, _), pytest.raises(StorageRefused) as refusal:
        storage = Storage(settings.model_copy(update={"storage_endpoint": url}))
        await storage.complete_multipart_upload("a", "upload", ["tag"])
    assert refusal.value.reason == "InternalError"


async def test_answers_of_proxies_are_unavailable(settings: Settings) -> None:
    with store(502, b"<html><p>Bad gateway") as (url, _), pytest.raises(errors.Unavailable) as away:
        await Storage(settings.model_copy(update={"storage_endpoint": url})).create_multipart_upload("a", "video/mp4")
    assert not isinstance(away.value, StorageRefused)


async def test_multipart_lists_follow_their_pages(settings: Settings) -> None:
    page = (
        "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>{more}</IsTruncated>"
        "<NextKeyMarker>{key}</NextKeyMarker><Upload><Key>{key}</Key><UploadId>u</UploadId>"
        "<Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload></ListMultipartUploadsResult>"
    )
    pages = [page.format(key="a%26b", more="true").encode(), page.format(key="c", more="false").encode()]
    with store(200, *pages) as (url, requests):
        listed = await Storage(settings.model_copy(update={"storage_endpoint": url})).list_multipart_uploads("")
    assert [each.key for each in listed] == ["a&b", "c"]
    assert ["key-marker=a%26b" in each for each in requests] == [False, True]
