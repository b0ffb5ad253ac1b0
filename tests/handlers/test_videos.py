"""A lesson's video: upload, transcoding, playback and access."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import app
from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.containers import run_jobs
from testing.databases import rows
from testing.lessons import MISSING_ID, new_course, new_lesson, problem
from testing.payments import completed, deliver, refunded, selling_container
from testing.pictures import bucket, keys
from testing.servers import Learner, client, http_client
from testing.time_limits import limit
from testing.videos import addresses, clip, decoded, everything, in_pieces, put


@pytest.fixture(scope="module")
async def services(settings: Settings) -> AsyncIterator[Container]:
    """A container whose playback links are short-lived."""
    changes = {"video_link_expiry": timedelta(seconds=3), "video_max_bytes": 40 * 1024 * 1024}
    async with selling_container(settings, **changes) as services:
        yield services


@pytest.fixture(scope="module")
def asgi(services: Container) -> Any:
    return app.create(services)


@pytest.fixture
async def admin(services: Container, asgi: Any) -> AsyncIterator[Learner]:
    async with client(asgi) as http:
        yield await make_admin(services, http)


@pytest.fixture
async def ada(make_learner: MakeLearner) -> Learner:
    return await make_learner(ready=False)


@pytest.fixture
async def player(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    """What follows links, and knows no token."""
    async with client(asgi) as http:
        yield http


async def state(admin: Learner, lesson: str) -> tuple[str, int, str | None]:
    seen = (await admin.http.get(f"/lessons/{lesson}")).json()
    return seen["videoStatus"], seen["videoProgress"], seen["videoError"]


async def folder(services: Container, lesson: str, course: str) -> list[str]:
    """What storage holds of a lesson's videos, unfinished uploads included."""
    prefix = f"videos/courses/{course}/{lesson}/"
    unfinished = [key for key, _, _ in await services.storage.list_multipart_uploads(prefix)]
    return await keys(services.settings, prefix) + unfinished


async def work(services: Container) -> None:
    """Run the jobs that wait, and those that they ask for."""
    due = "SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()"
    while await rows(services, due):
        await run_jobs(services)


async def link(learner: Learner, lesson: str) -> str:
    answer = await learner.http.get(f"/lessons/{lesson}/video-url")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


def names(qualities: dict[str, list[str]]) -> list[str]:
    return [re.findall(r"(\w+)\.m3u8", each)[0] for each in qualities]


async def notification_titles(admin: Learner, lesson: str) -> list[str]:
    """Return the titles of an administrator's notifications about a lesson, newest first."""
    notifications = (await admin.http.get("/notifications")).json()["items"]
    return [each["title"] for each in notifications if each["data"].get("lessonId") == lesson]


async def a_video(admin: Learner, services: Container, **course: Any) -> tuple[str, str]:
    """A course with a lesson whose video is ready."""
    course_id = await new_course(admin.http, **course)
    lesson = await new_lesson(admin.http, course_id)
    assert (await put(admin, lesson, clip())).status_code == 202
    await work(services)
    assert await state(admin, lesson) == ("ready", 100, None)
    return course_id, lesson


async def test_uploaded_video_is_played_to_its_last_segment(
    services: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, tmp_path: Path
) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    await ada.http.post(f"/courses/{course}/enroll")
    assert problem(await ada.http.get(f"/lessons/{lesson}/video-url")) == (409, "video_not_ready")
    sent = await put(admin, lesson, clip(8, "1280x720"))
    assert sent.status_code == 202 and sent.json()["videoStatus"] == "processing"
    assert await state(admin, lesson) == ("processing", 0, None)
    await work(services)
    assert await state(admin, lesson) == ("ready", 100, None)
    shown = (await ada.http.get(f"/lessons/{lesson}")).json()
    assert (shown["isPlayable"], shown["durationSeconds"], shown["videoStatus"]) == (True, 8, None)
    assert await notification_titles(admin, lesson) == ["A video is ready"]
    left = await folder(services, lesson, course)
    assert {each.rpartition("/")[2] for each in left} == {
        "original.mp4",
        "master.m3u8",
        *(
            f"{name}{rest}"
            for name in ("720p", "480p", "360p", "audio")
            for rest in (".m3u8", "_00000.ts", "_00001.ts")
        ),
    }, "three qualities, none above the source, the sound, and the original"
    assert len({each.rpartition("/")[0] for each in left}) == 2

    qualities = await everything(player, await link(ada, lesson))
    assert names(qualities) == ["720p", "480p", "360p", "audio"]
    for name, segments in zip(names(qualities), qualities.values(), strict=True):
        seconds, said = await decoded(segments, tmp_path)
        assert abs(seconds - 8) < 0.3 and "aac" in said
        assert (f"x{name[:-1]}" in said) == (name != "audio") == ("Video:" in said)
    async with http_client() as anybody:
        for address in (each for segments in qualities.values() for each in segments):
            assert (await anybody.get(address.partition("?")[0])).status_code == 403
            forged = re.sub("X-Amz-Signature=.", lambda found: found[0][:-1] + "g", address)
            assert (await anybody.get(forged)).status_code == 403
        for key in left:
            bare = f"{services.settings.storage_endpoint}/{services.settings.storage_bucket_name}/{key}"
            assert (await anybody.get(bare)).status_code == 403
    for address in (await link(ada, lesson), *qualities):
        assert problem(await player.get(address.partition("?")[0])) == (400, "request_invalid")
        assert problem(await player.get(address[:-6] + "AAAAAA")) == (401, "unauthenticated")


async def test_qualities_do_not_exceed_the_source(
    services: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, tmp_path: Path
) -> None:
    course = await new_course(admin.http)
    sources = {
        ("1920x1080", True, "mp4"): ["1080p", "720p", "480p", "360p", "audio"],
        ("360x640", False, "matroska"): ["360p"],
        ("160x120", True, "avi"): ["120p", "audio"],
    }
    lessons = {}
    for (size, sound, kind), wanted in sources.items():
        lesson = await new_lesson(admin.http, course, size, isFree=True)
        assert (await put(admin, lesson, clip(2, size, sound=sound, kind=kind))).status_code == 202
        lessons[lesson] = wanted
    await work(services)
    for lesson, wanted in lessons.items():
        qualities = await everything(player, await link(ada, lesson))
        assert names(qualities) == wanted
        for segments in qualities.values():
            assert abs((await decoded(segments, tmp_path))[0] - 2) < 0.3


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n and more", b"#EXTM3U\nhttp://127.0.0.1/", b"short", b""])
async def test_upload_that_is_no_video_is_refused(services: Container, admin: Learner, data: bytes) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    answer = await put(admin, lesson, data)
    assert answer.status_code == (415 if data else 400)
    assert await folder(services, lesson, course) == [] and await state(admin, lesson) == ("none", 0, None)


async def test_undecodable_video_fails_with_a_reason(services: Container, admin: Learner, ada: Learner) -> None:
    course, lesson = await a_video(admin, services)
    await ada.http.post(f"/courses/{course}/enroll")
    broken = clip()[:600] + bytes(50_000)
    only_sound = await new_lesson(admin.http, course)
    for target, data in ((lesson, broken), (only_sound, b"\0\0\0\x14ftypisom\0\0\0\0isom" + bytes(100))):
        assert (await put(admin, target, data)).status_code == 202
    await work(services)
    for target in (lesson, only_sound):
        status, _, reason = await state(admin, target)
        assert status == "failed" and reason
        assert (await notification_titles(admin, target))[0] == "A video could not be processed"
    assert [each.rpartition("/")[2] for each in await folder(services, only_sound, course)] == ["original.mp4"]
    assert await link(ada, lesson), "the video before it is still there"
    ((url, failed),) = await rows(services, "SELECT video_url, video_original FROM lessons WHERE id = :id", id=lesson)
    stored = await folder(services, lesson, course)
    assert {url, failed} < set(stored) and failed.split("/")[4] != url.split("/")[4]
    assert len([each for each in stored if each.endswith("/original.mp4")]) == 2, "that of the video before, too"
    assert len({each.split("/")[5] for each in stored if "/hls-" in each}) == 1


async def test_last_upload_wins(services: Container, admin: Learner) -> None:
    course, lesson = await a_video(admin, services)
    before = await folder(services, lesson, course)
    answers = await asyncio.gather(*(put(admin, lesson, clip(2)) for _ in range(3)))
    assert {each.status_code for each in answers} == {202}
    await work(services)
    assert await state(admin, lesson) == ("ready", 100, None)
    after = await folder(services, lesson, course)
    assert len({each.split("/")[4] for each in after}) == 1 and not set(before) & set(after)
    await admin.http.delete(f"/lessons/{lesson}")
    await work(services)
    assert await folder(services, lesson, course) == []


async def test_lesson_deleted_during_transcoding_leaves_nothing(services: Container, admin: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    await put(admin, lesson, clip(2))
    await admin.http.delete(f"/lessons/{lesson}")
    await work(services)
    assert await folder(services, lesson, course) == []


async def test_upload_over_the_limit_is_refused(services: Container, admin: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    too_much = clip() + bytes(services.settings.video_max_bytes)
    assert problem(await put(admin, lesson, too_much)) == (413, "payload_too_large")
    undeclared = await admin.http.put(
        f"/lessons/{lesson}/video", content=in_pieces(too_much), headers={"Content-Type": "video/mp4"}
    )
    assert problem(undeclared) == (413, "payload_too_large")
    assert await folder(services, lesson, course) == []


async def test_playback_needs_an_enrollment(
    services: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient
) -> None:
    _, lesson = await a_video(admin, services, price=49900)
    other, other_lesson = await a_video(admin, services)
    await ada.http.post(f"/courses/{other}/enroll")
    assert problem(await ada.http.get(f"/lessons/{lesson}/video-url")) == (403, "not_enrolled")
    assert problem(await ada.http.get(f"/lessons/{MISSING_ID}/video-url")) == (404, "not_found")
    mine = await link(ada, other_lesson)
    assert problem(await player.get(mine.replace(other_lesson, lesson))) == (401, "unauthenticated")
    access = mine.partition("?")[0] + f"?token={ada.access_token}"
    assert problem(await player.get(access)) == (401, "unauthenticated")
    token = parse_qs(urlsplit(mine).query)["token"][0]
    assert (await player.get("/users/me", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert (await player.get(await link(admin, lesson))).status_code == 200
    await admin.http.patch(f"/courses/{other}", json={"isPublished": False})
    assert (await player.get(mine)).status_code == 200, "an enrolled learner keeps an unpublished course"


async def test_refund_ends_playback(
    services: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient
) -> None:
    course, lesson = await a_video(admin, services, price=49900)
    order = await services.checkout.start(ada.id, course)
    await deliver(services, completed(order))
    address = await link(ada, lesson)
    segment = next(iter((await everything(player, address)).values()))[0]
    variant = addresses((await player.get(address)).text, address)[0]
    await deliver(services, refunded(order, order.amount))
    for playlist in (address, variant):
        assert problem(await player.get(playlist)) == (403, "not_enrolled")
    signed = {name: value for name, (value,) in parse_qs(urlsplit(segment).query).items()}
    assert signed["X-Amz-Expires"] == "7", "the margin, and the length of the video"
    signed_at = datetime.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    assert abs(datetime.now(UTC) - signed_at) < timedelta(seconds=limit(5))
    key = urlsplit(segment).path.removeprefix(f"/{services.settings.storage_bucket_name}/")
    async with http_client() as anybody:
        assert (await anybody.get(segment)).status_code == 200
        for age, status in ((0, 200), (8, 403)):
            earlier = bucket(services.settings).get_presigned_url(
                "GET",
                services.settings.storage_bucket_name,
                key,
                expires=timedelta(seconds=7),
                request_date=datetime.now(UTC) - timedelta(seconds=age),
            )
            assert (await anybody.get(earlier)).status_code == status, f"the same address, signed {age} s ago"


@pytest.mark.parametrize("how", ["banned", "signed out", "deleted"])
async def test_playback_ends_with_the_login(
    services: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, how: str
) -> None:
    course, lesson = await a_video(admin, services)
    await ada.http.post(f"/courses/{course}/enroll")
    address = await link(ada, lesson)
    assert (await player.get(address)).status_code == 200
    if how == "banned":
        await services.sanctions.ban(admin.id, ada.id, "Spam.")
    elif how == "signed out":
        await ada.http.post("/auth/logout")
    else:
        await ada.http.post("/users/me/deletion", json={"password": "correct horse battery"})
    assert problem(await player.get(address)) == (401, "unauthenticated")


@pytest.mark.rest_paths
async def test_playback_link_expires(services: Container, admin: Learner, player: httpx.AsyncClient) -> None:
    _, lesson = await a_video(admin, services)
    address = await link(admin, lesson)
    assert (await player.get(address)).status_code == 200
    # A link is given for the margin and the four seconds of the video; this one has ended a second ago.
    past = Container(services.settings.model_copy(update={"video_link_expiry": timedelta(seconds=-5)}))
    ended = await past.playback.create_link(services.logins.identify(admin.access_token), lesson, as_admin=True)
    await past.close()
    assert timedelta(0) < datetime.now(UTC) - ended.expires_at < timedelta(seconds=limit(5))
    assert problem(await player.get(urlsplit(ended.url)._replace(scheme="", netloc="").geturl())) == (
        401,
        "unauthenticated",
    )


async def test_pictures_alone_are_public(settings: Settings) -> None:
    policy = await asyncio.to_thread(bucket(settings).get_bucket_policy, settings.storage_bucket_name)
    assert set(re.findall(r"parlance/([a-z]+)/", policy)) == {"avatars", "thumbnails"}
