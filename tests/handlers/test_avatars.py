"""Avatars: accepted files, the stored picture, and deletion of the previous one."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import app
from adapters.storage import Storage
from container import Container
from contract import operations, schemas
from services.identity.profiles import AVATAR_MAX_BYTES
from settings import Settings
from testing.call_history import MakeLearner
from testing.databases import value
from testing.http_answers import count_statuses
from testing.pictures import bucket, keys, picture, run_jobs, upload
from testing.servers import Learner, Server, client, http_client, register
from testing.time_limits import limit

AVATAR = "/users/me/avatar"


@pytest.fixture
async def ada(make_learner: MakeLearner) -> Learner:
    return await make_learner(ready=False)


async def read_avatar(learner: Learner) -> str | None:
    url: str | None = (await learner.http.get("/users/me")).json()["avatarUrl"]
    return url


def key(settings: Settings, url: str) -> str:
    found = Storage(settings).find_key(url)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "name", "declared"),
    [
        ("JPEG", "me.jpg", "image/jpeg"),
        ("PNG", "me.png", "image/png"),
        ("WEBP", "me.webp", "image/webp"),
        ("JPEG", "me.svg", "image/svg+xml"),
        ("PNG", "../../etc/passwd", "text/html"),
    ],
)
async def test_avatar_type_is_read_from_its_bytes(
    settings: Settings, ada: Learner, kind: str, name: str, declared: str
) -> None:
    answer = await ada.http.post(AVATAR, **upload(picture(kind), name, declared))
    assert answer.status_code == 200, answer.text
    url = answer.json()["avatarUrl"]
    assert url == await read_avatar(ada)
    assert key(settings, url).startswith(f"avatars/{ada.id}/") and url.endswith(".webp")
    async with http_client() as anybody:
        seen = await anybody.get(url)
    assert seen.status_code == 200 and seen.headers["content-type"] == "image/webp"
    made = Image.open(io.BytesIO(seen.content))
    assert made.format == "WEBP" and made.size == (400, 400)


async def test_bucket_serves_pictures_alone(settings: Settings) -> None:
    store, name = bucket(settings), settings.storage_bucket_name
    for path in ("videos/secret.txt", "avatars.txt", "avatarsx/secret.txt"):
        await asyncio.to_thread(store.put_object, name, path, io.BytesIO(b"nobody sees"), 11)
    async with http_client(settings.storage_endpoint or "") as anybody:
        for path in ("videos/secret.txt", "avatars.txt", "avatarsx/secret.txt", "avatars/../videos/secret.txt", ""):
            answer = await anybody.get(f"/{name}/{path}")
            assert answer.status_code == 403 and b"nobody sees" not in answer.content, path
        written = await anybody.put(f"/{name}/avatars/mine.webp", content=b"x")
        assert written.status_code == 403


@pytest.mark.parametrize(
    ("data", "name", "declared"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "me.png", "image/png"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n", "me.jpg", "image/jpeg"),
        (picture("GIF"), "me.png", "image/png"),
        (b"PK\x03\x04 not a picture", "me.jpg", "image/jpeg"),
        (picture("JPEG", (300, 300))[:200], "me.jpg", "image/jpeg"),
        (b"", "me.jpg", "image/jpeg"),
    ],
)
async def test_invalid_avatar_is_refused_and_the_old_one_stays(
    ada: Learner, data: bytes, name: str, declared: str
) -> None:
    old = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    answer = await ada.http.post(AVATAR, **upload(data, name, declared))
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert await read_avatar(ada) == old


def _part(name: str, content: bytes, file_name: str | None = "me.png") -> bytes:
    of_file = f'; filename="{file_name}"\r\nContent-Type: image/png' if file_name else ""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


PICTURE = picture()
FORM = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"--b--\r\n", FORM, 400),
        (_part("other", PICTURE) + b"--b--\r\n", FORM, 400),
        (_part("file", b"just text", None) + b"--b--\r\n", FORM, 400),
        (_part("file", PICTURE) + _part("file", PICTURE) + b"--b--\r\n", FORM, 400),
        (_part("file", PICTURE) + _part("more", b"text", None) + b"--b--\r\n", FORM, 400),
        (_part("file", PICTURE) + b"--b--\r\n", "multipart/form-data", 400),
        (_part("file", PICTURE) + b"--b--\r\n", "multipart/form-data; boundary=", 400),
        (b"not multipart at all", FORM, 400),
        (b"", FORM, 400),
        (PICTURE, "image/png", 415),
        (b"{}", "application/json", 415),
        (_part("file", PICTURE) + b"--b--\r\n", FORM, 200),
    ],
)
async def test_form_holds_one_file(ada: Learner, content: bytes, content_type: str, status: int) -> None:
    answer = await ada.http.post(AVATAR, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["code"] == {400: "request_invalid", 415: "unsupported_media_type"}[status]
        assert await read_avatar(ada) is None


async def test_avatar_limit_is_five_megabytes(ada: Learner) -> None:
    operation = operations.definitions(schemas.load(schemas.OPENAPI))["uploadAvatar"]
    assert operation["requestBody"]["x-max-bytes"] == AVATAR_MAX_BYTES == 5 * 1024 * 1024
    small = picture("JPEG")
    fits = small + bytes(AVATAR_MAX_BYTES - len(small))
    assert (await ada.http.post(AVATAR, **upload(fits))).status_code == 200
    for large in (fits + b"\x00", fits + bytes(5000)):
        answer = await ada.http.post(AVATAR, **upload(large))
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def _memory(server: Server) -> float:
    """What the server's processes hold, in MB."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
    family = {server.process.pid}
    for _ in range(3):
        family |= {pid for pid, parent in parents.items() if parent in family}
    total = 0
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1000


HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="me.png"\r\n\r\n'


async def test_large_body_without_a_length_is_refused_early(server: Server) -> None:
    async with http_client(server.url) as http:
        learner = await register(http, ready=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    lines = (f"POST {AVATAR} HTTP/1.1", "Host: parlance", f"Authorization: Bearer {learner.access_token}")
    more = (f"Content-Type: {FORM}", "Transfer-Encoding: chunked", "", "")
    writer.write("\r\n".join((*lines, *more)).encode())

    def chunk(content: bytes) -> bytes:
        return f"{len(content):x}\r\n".encode() + content + b"\r\n"

    writer.write(chunk(HEAD))
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    sent = 0
    while not answer.done():
        assert sent < 20_000_000, "no answer to an upload without end"
        writer.write(chunk(bytes(65_536)))
        sent += 65_536
        await writer.drain()
        await asyncio.sleep(0)
    assert b" 413 " in (await answer).partition(b"\r\n")[0]
    assert sent > AVATAR_MAX_BYTES
    writer.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_large_bodies_do_not_fill_memory(server: Server) -> None:
    async def large() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(500):
            yield bytes(65_536)

    async with http_client(server.url) as http:
        await register(http, ready=False)
        assert (await http.post(AVATAR, **upload(picture()))).status_code == 200
        before = _memory(server)
        for _ in range(3):
            answer = await http.post(AVATAR, content=large(), headers={"Content-Type": FORM})
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        grown = _memory(server) - before
        print(f"three uploads of 33 MB: {grown:.1f} MB more")
        assert grown < 25


async def test_avatar_stays_while_storage_is_unavailable(
    container: Container, settings: Settings, ada: Learner
) -> None:
    old = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    dead = Container(settings, storage=Storage(settings.model_copy(update={"storage_endpoint": "http://127.0.0.1:1"})))
    async with dead.lifespan(None), client(app.create(dead), headers=dict(ada.http.headers)) as http:
        began = time.monotonic()
        answer = await http.post(AVATAR, **upload(picture("JPEG")))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0 and time.monotonic() - began < limit(10)
        # What needs no storage goes on.
        assert (await http.patch("/users/me", json={"bio": "Still here."})).status_code == 200
    assert await read_avatar(ada) == old
    await run_jobs(settings)
    assert await keys(settings, f"avatars/{ada.id}/") == [key(settings, old)]
    async with http_client() as anybody:
        assert (await anybody.get(old)).status_code == 200


async def test_replaced_avatar_is_deleted(settings: Settings, ada: Learner) -> None:
    urls = [(await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"] for _ in range(2)]
    assert urls[0] != urls[1] == await read_avatar(ada)
    assert set(await keys(settings, f"avatars/{ada.id}/")) == {key(settings, url) for url in urls}
    await run_jobs(settings)
    assert await keys(settings, f"avatars/{ada.id}/") == [key(settings, urls[1])]
    for _ in range(2):
        assert (await ada.http.delete(AVATAR)).status_code == 204
    assert await read_avatar(ada) is None
    await run_jobs(settings)
    assert await keys(settings, f"avatars/{ada.id}/") == []


async def test_concurrent_avatar_uploads_leave_one_picture(
    container: Container, settings: Settings, ada: Learner
) -> None:
    answers = await asyncio.gather(*(ada.http.post(AVATAR, **upload(picture())) for _ in range(5)))
    assert count_statuses(answers) == {200: 5}
    urls = {answer.json()["avatarUrl"] for answer in answers}
    assert len(urls) == 5
    await run_jobs(settings)
    left = await read_avatar(ada)
    assert left in urls and await keys(settings, f"avatars/{ada.id}/") == [key(settings, str(left))]
    assert await value(container, "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'storage.delete'") == 0


async def test_public_profile_has_the_avatar(make_learner: MakeLearner, ada: Learner) -> None:
    url: Any = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    bob = await make_learner()
    assert (await bob.http.get(f"/users/{ada.id}/public")).json()["avatarUrl"] == url
