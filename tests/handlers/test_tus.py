"""tus 1.0.0: a case for each requirement of the protocol."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

import app
from container import Container
from testing.call_history import MakeLearner
from testing.lessons import MISSING_ID, new_admin, new_course, new_lesson, problem
from testing.servers import Learner, Server, client, http_client

TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = "application/offset+octet-stream"
#: Begins as a video does; no job looks at what follows.
DATA = b"\0\0\0\x14ftypisom\0\0\0\0isom" + bytes(80)
MISMATCH = "Upload-Offset does not match the stored offset; send HEAD to read it, then resume."


class Endpoint:
    """The uploads of one lesson, as an administrator's client calls them."""

    def __init__(
        self, http: httpx.AsyncClient, lesson: str, anonymous: httpx.AsyncClient, container: Container
    ) -> None:
        self.http, self.anonymous, self.container = http, anonymous, container
        self.lesson = lesson
        self.path = f"/lessons/{lesson}/video/uploads"

    async def create(self, **headers: str) -> httpx.Response:
        """Create an upload of the length of DATA; a header is named with `_` in place of `-`."""
        return await self.http.post(self.path, headers={**TUS, "Upload-Length": str(len(DATA)), **_named(headers)})

    async def upload(self, **headers: str) -> str:
        answer = await self.create(**headers)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    async def patch(self, upload: str, offset: Any, data: bytes, **headers: str) -> httpx.Response:
        sent = {**TUS, "Upload-Offset": str(offset), "Content-Type": OFFSET, **_named(headers)}
        return await self.http.patch(upload, content=data, headers=sent)

    async def head(self, upload: str) -> httpx.Response:
        return await self.http.head(upload, headers=TUS)

    async def offset(self, upload: str) -> int:
        return int((await self.head(upload)).headers["upload-offset"])


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
async def endpoint(container: Container, make_learner: MakeLearner, api: httpx.AsyncClient) -> Endpoint:
    admin: Learner = await new_admin(container, make_learner)
    return Endpoint(admin.http, await new_lesson(admin.http, await new_course(admin.http)), api, container)


# --- The demands ------------------------------------------------------------------------------------


async def options_names_version(endpoint: Endpoint) -> None:
    for path in (endpoint.path, f"{endpoint.path}/{MISSING_ID}"):
        for headers in ({}, {"Tus-Resumable": "0.2.2"}, {"Origin": "https://app.example.com"}):
            answer = await endpoint.anonymous.options(path, headers=headers)
            assert answer.status_code == 204, answer.text
            assert answer.headers["tus-version"].split(",")[0] == "1.0.0"
            assert answer.headers["tus-extension"].split(",") == ["creation", "expiration", "termination"]
            assert int(answer.headers["tus-max-size"]) == endpoint.container.uploads.max_bytes


async def other_version_is_not_processed(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    for version in (None, "0.2.2", "1.0.0, 1.0.0", "2.0.0"):
        headers = {"Upload-Length": "5", "Upload-Offset": "0", "Content-Type": OFFSET}
        headers |= {"Tus-Resumable": version} if version else {}
        for method, path in (("POST", endpoint.path), *((each, upload) for each in ("PATCH", "HEAD", "DELETE"))):
            content = DATA if method == "PATCH" else None
            answer = await endpoint.http.request(method, path, headers=headers, content=content)
            assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0"), (method, version)
    assert await endpoint.offset(upload) == 0


async def every_answer_has_the_version(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    anonymous = endpoint.anonymous
    large = str(endpoint.container.uploads.max_bytes + 1)
    answers = {
        401: await anonymous.post(endpoint.path, headers={**TUS, "Upload-Length": "5"}),
        404: await endpoint.head(f"{endpoint.path}/{MISSING_ID}"),
        405: await endpoint.http.get(upload, headers=TUS),
        409: await endpoint.patch(upload, 7, DATA),
        412: await endpoint.http.head(upload),
        413: await endpoint.create(Upload_Length=large),
        415: await endpoint.patch(upload, 0, DATA, Content_Type="video/mp4"),
        400: await endpoint.create(Upload_Length="many"),
        201: await endpoint.create(),
        200: await endpoint.head(upload),
        204: await endpoint.patch(upload, 0, DATA),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {each: each for each in answers}
    for answer in answers.values():
        assert answer.headers.get_list("tus-resumable") == ["1.0.0"], answer.status_code


async def head_has_the_offset_always(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    for offset in (0, len(DATA)):
        answer = await endpoint.head(upload)
        assert answer.status_code == 200
        assert answer.headers["upload-offset"] == str(offset)
        assert answer.headers["upload-length"] == str(len(DATA))
        await endpoint.patch(upload, offset, DATA[offset:])


async def head_of_nothing_has_no_offset(endpoint: Endpoint) -> None:
    answer = await endpoint.head(f"{endpoint.path}/{MISSING_ID}")
    assert answer.status_code == 404 and "upload-offset" not in answer.headers


async def head_is_not_cached(endpoint: Endpoint) -> None:
    assert (await endpoint.head(await endpoint.upload())).headers["cache-control"] == "no-store"


async def head_returns_the_metadata(endpoint: Endpoint) -> None:
    given = "filename " + base64.b64encode("für Zoë.mp4".encode()).decode() + ",note ,is_draft"
    assert (await endpoint.head(await endpoint.upload(Upload_Metadata=given))).headers["upload-metadata"] == given
    assert "upload-metadata" not in (await endpoint.head(await endpoint.upload())).headers


async def patch_applies_bytes_at_the_offset(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    for start, end in ((0, 40), (40, 40), (40, len(DATA))):
        answer = await endpoint.patch(upload, start, DATA[start:end])
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["upload-offset"] == str(end)


async def patch_of_another_offset_changes_nothing(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    await endpoint.patch(upload, 0, DATA[:40])
    for offset in (0, 39, 41, len(DATA), 999999999999999):
        answer = await endpoint.patch(upload, offset, DATA[40:])
        assert (answer.status_code, answer.json()["detail"]) == (409, MISMATCH)
        assert await endpoint.offset(upload) == 40


async def patch_of_another_type_is_refused(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    for kind in ("application/octet-stream", "video/mp4", "application/json", ""):
        answer = await endpoint.patch(upload, 0, DATA, Content_Type=kind)
        assert answer.status_code == 415 and OFFSET in answer.json()["detail"], kind
    assert await endpoint.offset(upload) == 0


async def patch_beyond_the_length_is_refused(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    assert problem(await endpoint.patch(upload, 0, DATA + b"1")) == (413, "payload_too_large")
    assert await endpoint.offset(upload) == 0
    await endpoint.patch(upload, 0, DATA)
    assert problem(await endpoint.patch(upload, len(DATA), b"1")) == (413, "payload_too_large")
    assert (await endpoint.patch(upload, len(DATA), b"")).status_code == 204


async def method_override_is_the_method(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": OFFSET}

    async def send(method: str, sent: str = "POST", content: bytes = b"") -> httpx.Response:
        override = {**headers, "X-HTTP-Method-Override": method}
        return await endpoint.http.request(sent, upload, content=content, headers=override)

    assert (await send("PATCH", content=DATA[:40])).headers["upload-offset"] == "40"
    found = await send("HEAD")
    assert (found.status_code, found.headers["upload-offset"], found.content) == (200, "40", b"")
    assert (await send("OPTIONS")).headers["tus-version"] == "1.0.0"
    for method in ("GET", "PUT", "NONSENSE", ""):
        answer = await send(method)
        assert answer.status_code == 405 and "PATCH" in answer.headers["allow"], method
    assert (await send("DELETE", sent="PUT")).status_code == 204
    assert (await send("HEAD")).status_code == 404


async def creation_has_a_length(endpoint: Endpoint) -> None:
    answer = await endpoint.http.post(endpoint.path, headers=TUS)
    assert problem(answer) == (400, "request_invalid") and "Upload-Length" in answer.json()["detail"]


async def creation_answers_a_location(endpoint: Endpoint) -> None:
    answer = await endpoint.create()
    assert answer.status_code == 201 and answer.headers["location"].startswith(f"{endpoint.path}/")


async def creation_above_the_maximum_is_refused(endpoint: Endpoint) -> None:
    largest = endpoint.container.uploads.max_bytes
    assert problem(await endpoint.create(Upload_Length=str(largest + 1))) == (413, "payload_too_large")
    assert (await endpoint.create(Upload_Length=str(largest))).status_code == 201


async def creation_of_nothing_is_refused(endpoint: Endpoint) -> None:
    answer = await endpoint.create(Upload_Length="0")
    assert problem(answer) == (400, "request_invalid") and "Upload-Length" in answer.json()["detail"]


async def numbers_are_digits(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    for text in ("+5", "-5", "5_0", "5.0", "1e2", "0x5", "", " ", "five", "٥", "1" * 16):
        raw = text.encode()
        for method, path, name in (("POST", endpoint.path, "Upload-Length"), ("PATCH", upload, "Upload-Offset")):
            headers = {**TUS, "Content-Type": OFFSET, name: raw}
            answer = await endpoint.http.request(method, path, headers=headers)  # type: ignore[arg-type]
            assert problem(answer) == (400, "request_invalid") and name in answer.json()["detail"], text
    twice = [*TUS.items(), ("Upload-Length", "5"), ("Upload-Length", "6")]
    assert problem(await endpoint.http.post(endpoint.path, headers=twice)) == (400, "request_invalid")


async def metadata_is_well_formed(endpoint: Endpoint) -> None:
    for given in ("a !!!", "a YQ==,a Yg==", "a YQ== b", ",", "a YQ==,", "ä YQ==", "a YQ"):
        headers = {**TUS, "Upload-Length": "50", "Upload-Metadata": given.encode()}
        answer = await endpoint.http.post(endpoint.path, headers=headers)  # type: ignore[arg-type]
        assert problem(answer) == (400, "request_invalid"), given
        assert "Upload-Metadata" in answer.json()["detail"], given
    assert (await endpoint.create(Upload_Metadata="a,b YQ==, c Yg==")).status_code == 201


async def extensions_not_offered_are_refused(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    refused = {
        "Upload-Concat": ("partial", "final;/uploads/a /uploads/b", "nonsense"),
        "Upload-Defer-Length": ("1", "2"),
        "Upload-Checksum": ("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",),
    }
    for name, values in refused.items():
        for each in values:
            answers = [
                await endpoint.http.post(endpoint.path, headers={**TUS, name: each}),
                await endpoint.create(**{name: each}),
                await endpoint.patch(upload, 0, DATA, **{name: each}),
            ]
            for answer in answers:
                assert problem(answer) == (400, "request_invalid")
                assert name in answer.json()["detail"]
    assert await endpoint.offset(upload) == 0


async def creation_with_a_body_is_refused(endpoint: Endpoint) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        yield DATA

    async def empty() -> AsyncIterator[bytes]:
        yield b""

    headers = {**TUS, "Upload-Length": str(len(DATA)), "Content-Type": OFFSET}
    for content in (DATA, chunked()):
        answer = await endpoint.http.post(endpoint.path, headers=headers, content=content)
        assert problem(answer) == (400, "request_invalid")
        assert "creation-with-upload" in answer.json()["detail"]
    assert (await endpoint.http.post(endpoint.path, headers=headers, content=empty())).status_code == 201


async def expiry_is_named(endpoint: Endpoint) -> None:
    created = await endpoint.create()
    upload = created.headers["location"]
    expiry = endpoint.container.settings.video_upload_expiry
    for answer in (created, await endpoint.patch(upload, 0, DATA[:40]), await endpoint.head(upload)):
        text = answer.headers["upload-expires"]
        assert text.endswith(" GMT")
        assert abs(parsedate_to_datetime(text) - datetime.now(UTC) - expiry) < timedelta(minutes=2)


async def expired_upload_is_gone(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    expiry = endpoint.container.settings.video_upload_expiry
    async with endpoint.container.database.transaction() as db:
        await db.execute(
            sa.text("UPDATE video_uploads SET updated_at = now() - :expiry WHERE id = :id"),
            {"expiry": expiry, "id": upload.rpartition("/")[2]},
        )
    assert (await endpoint.head(upload)).status_code == 404
    assert problem(await endpoint.patch(upload, 0, DATA)) == (404, "not_found")


async def termination_frees_the_upload(endpoint: Endpoint) -> None:
    upload = await endpoint.upload()
    assert (await endpoint.http.delete(upload, headers=TUS)).status_code == 204
    assert (await endpoint.head(upload)).status_code == 404
    assert problem(await endpoint.patch(upload, 0, DATA)) == (404, "not_found")
    assert problem(await endpoint.http.delete(upload, headers=TUS)) == (404, "not_found")


Case = Callable[[Endpoint], Awaitable[None]]
#: What the text of the protocol demands, in our words, and the case that shows it.
DEMANDS: dict[str, Case] = {
    "OPTIONS: 200 or 204 with Tus-Version; Tus-Resumable of the request is ignored": options_names_version,
    "Another version: 412 with Tus-Version, and the request is not processed": other_version_is_not_processed,
    "Tus-Resumable is in every answer": every_answer_has_the_version,
    "HEAD: Upload-Offset always, Upload-Length where it is known": head_has_the_offset_always,
    "HEAD of an upload that is not there: 404, without Upload-Offset": head_of_nothing_has_no_offset,
    "HEAD: Cache-Control is no-store": head_is_not_cached,
    "HEAD: Upload-Metadata as it was given": head_returns_the_metadata,
    "PATCH: the bytes are applied; 204 with the new Upload-Offset": patch_applies_bytes_at_the_offset,
    "PATCH at another offset: 409, and nothing changes": patch_of_another_offset_changes_nothing,
    "PATCH of another Content-Type: 415": patch_of_another_type_is_refused,
    "PATCH beyond Upload-Length is refused": patch_beyond_the_length_is_refused,
    "X-HTTP-Method-Override is the method; that of the request is ignored": method_override_is_the_method,
    "Creation has Upload-Length": creation_has_a_length,
    "Creation: 201 with Location": creation_answers_a_location,
    "Creation above Tus-Max-Size: 413": creation_above_the_maximum_is_refused,
    "Creation of an empty upload may be refused": creation_of_nothing_is_refused,
    "Upload-Length and Upload-Offset are non-negative integers": numbers_are_digits,
    "Upload-Metadata: distinct keys, values in base64 or none": metadata_is_well_formed,
    "An extension that Tus-Extension does not name is not used": extensions_not_offered_are_refused,
    "creation-with-upload is not offered": creation_with_a_body_is_refused,
    "Expiration: Upload-Expires with POST and PATCH, as RFC 9110 writes dates": expiry_is_named,
    "Expiration: an upload that has expired is gone": expired_upload_is_gone,
    "Termination: 204, and the upload is gone": termination_frees_the_upload,
}


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda demand: DEMANDS[demand].__name__)
async def test_tus_requirement_is_met(endpoint: Endpoint, demand: str) -> None:
    await DEMANDS[demand](endpoint)


# --- Around the protocol ----------------------------------------------------------------------------


async def test_method_override_applies_to_uploads_alone(endpoint: Endpoint, make_learner: MakeLearner) -> None:
    """Authorization is that of the method that is meant, and other paths do not know the header."""
    upload = await endpoint.upload()
    learner = await make_learner(ready=False)
    headers = {**TUS, "X-HTTP-Method-Override": "DELETE"}
    assert problem(await learner.http.post(upload, headers=headers)) == (403, "forbidden")
    assert problem(await endpoint.anonymous.post(upload, headers=headers)) == (401, "unauthenticated")
    assert await endpoint.offset(upload) == 0
    lesson = f"/lessons/{endpoint.lesson}"
    for path in (lesson, f"{lesson}/video", f"{lesson}/attachments", f"{upload}/"):
        await endpoint.http.post(path, headers=headers)
        read = await endpoint.http.get(lesson, headers=headers)
        assert read.status_code == 200 and "tus-resumable" not in read.headers


async def test_method_override_keeps_the_connection(server: Server, endpoint: Endpoint) -> None:
    """A POST that means HEAD is answered as a POST: with a body as long as its Content-Length, so the next fits."""
    headers = {**TUS, "X-HTTP-Method-Override": "HEAD"}
    headers["Authorization"] = endpoint.http.headers["authorization"]
    upload = await endpoint.upload()
    one = httpx.Limits(max_connections=1)
    async with http_client(server.url, limits=one) as http:
        for path, status in ((upload, 200), (f"{endpoint.path}/{MISSING_ID}", 404), (upload, 200)):
            answer = await http.post(path, headers=headers)
            assert answer.status_code == status
            assert len(answer.content) == int(answer.headers["content-length"])
            assert bool(answer.content) == (status == 404)
        assert (await http.get("/health")).status_code == 200


async def test_tus_options_passes_cors(endpoint: Endpoint, container: Container) -> None:
    """A plain OPTIONS reaches the endpoint; a preflight allows, and answers expose, the protocol's headers."""
    origin = "https://app.example.com"
    changed = container.settings.model_copy(update={"cors_origins": [origin]})
    served = Container(changed)
    async with client(app.create(served)) as http:
        plain = await http.options(endpoint.path, headers={"Origin": origin})
        assert plain.status_code == 204 and plain.headers["tus-version"] == "1.0.0"
        exposed = {each.strip().lower() for each in plain.headers["access-control-expose-headers"].split(",")}
        assert exposed >= {
            "tus-resumable", "tus-version", "tus-extension", "tus-max-size",
            "upload-offset", "upload-length", "upload-metadata", "upload-expires", "location",
        }  # fmt: skip
        asked = (
            "authorization,tus-resumable,upload-length,upload-metadata,upload-offset,content-type,"
            "x-http-method-override,upload-concat,upload-defer-length,upload-checksum"
        )
        preflight = await http.options(
            endpoint.path,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert preflight.status_code == 200, preflight.text
    await served.close()
