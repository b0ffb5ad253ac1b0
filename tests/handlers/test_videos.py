"""A lesson's video: uploaded, made ready, played by who may."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import app
from adapters.storage import Storage
from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.containers import run_jobs, running_container
from testing.databases import own_database, rows
from testing.lessons import MISSING_ID, new_course, new_lesson, problem
from testing.payments import completed, deliver, fake_providers, refunded, with_payment_accounts
from testing.pictures import bucket, keys
from testing.servers import Learner, client
from testing.videos import addresses, clip, decoded, everything, in_pieces, put


@pytest.fixture(scope="module")
async def house(settings: Settings) -> AsyncIterator[Container]:
    """A product of its own database, whose jobs run when a test says so, and whose links are short-lived."""
    with own_database(settings) as own:
        own = with_payment_accounts(own).model_copy(
            update={"video_link_expiry": timedelta(seconds=3), "video_max_bytes": 40 * 1024 * 1024}
        )
        async with running_container(own, payment_providers=fake_providers(own)) as services:
            yield services


@pytest.fixture(scope="module")
def asgi(house: Container) -> Any:
    return app.create(house)


@pytest.fixture
async def admin(house: Container, asgi: Any) -> AsyncIterator[Learner]:
    async with client(asgi) as http:
        yield await make_admin(house, http)


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


async def folder(house: Container, lesson: str, course: str) -> list[str]:
    """What storage holds of a lesson's videos, unfinished uploads included."""
    prefix = f"videos/courses/{course}/{lesson}/"
    unfinished = [key for key, _, _ in await house.storage.unfinished(prefix)]
    return await keys(house.settings, prefix) + unfinished


async def work(house: Container) -> None:
    """Run the jobs that wait, and those that they ask for."""
    due = "SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()"
    while await rows(house, due):
        await run_jobs(house)


async def link(learner: Learner, lesson: str) -> str:
    answer = await learner.http.get(f"/lessons/{lesson}/video-url")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


def names(qualities: dict[str, list[str]]) -> list[str]:
    return [re.findall(r"(\w+)\.m3u8", each)[0] for each in qualities]


async def told_of(admin: Learner, lesson: str) -> list[str]:
    """The titles of what an administrator was told of a lesson, newest first."""
    told = (await admin.http.get("/notifications")).json()["items"]
    return [each["title"] for each in told if each["data"].get("lessonId") == lesson]


async def a_video(admin: Learner, house: Container, **course: Any) -> tuple[str, str]:
    """A course with a lesson whose video is ready."""
    course_id = await new_course(admin.http, **course)
    lesson = await new_lesson(admin.http, course_id)
    assert (await put(admin, lesson, clip())).status_code == 202
    await work(house)
    assert await state(admin, lesson) == ("ready", 100, None)
    return course_id, lesson


async def test_from_the_upload_to_the_last_segment(
    house: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, tmp_path: Path
) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    await ada.http.post(f"/courses/{course}/enroll")
    assert problem(await ada.http.get(f"/lessons/{lesson}/video-url")) == (409, "video_not_ready")
    sent = await put(admin, lesson, clip(8, "1280x720"))
    assert sent.status_code == 202 and sent.json()["videoStatus"] == "processing"
    assert await state(admin, lesson) == ("processing", 0, None)
    await work(house)
    assert await state(admin, lesson) == ("ready", 100, None)
    told = (await ada.http.get(f"/lessons/{lesson}")).json()
    assert (told["hasVideo"], told["durationSecs"], told["videoStatus"]) == (True, 8, None)
    assert await told_of(admin, lesson) == ["A video is ready"]
    left = await folder(house, lesson, course)
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
    async with httpx.AsyncClient() as anybody:
        for address in (each for segments in qualities.values() for each in segments):
            assert (await anybody.get(address.partition("?")[0])).status_code == 403
            forged = re.sub("X-Amz-Signature=.", lambda found: found[0][:-1] + "g", address)
            assert (await anybody.get(forged)).status_code in (400, 403)
        for key in left:
            bare = f"{house.settings.storage_endpoint}/{house.settings.storage_bucket_name}/{key}"
            assert (await anybody.get(bare)).status_code == 403
    for address in (await link(ada, lesson), *qualities):
        assert problem(await player.get(address.partition("?")[0])) == (400, "request_invalid")
        assert problem(await player.get(address[:-6] + "AAAAAA")) == (401, "unauthenticated")


async def test_every_quality_of_a_great_source_and_none_of_a_small_one(
    house: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, tmp_path: Path
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
    await work(house)
    for lesson, wanted in lessons.items():
        qualities = await everything(player, await link(ada, lesson))
        assert names(qualities) == wanted
        for segments in qualities.values():
            assert abs((await decoded(segments, tmp_path))[0] - 2) < 0.3


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n and more", b"#EXTM3U\nhttp://127.0.0.1/", b"short", b""])
async def test_what_does_not_begin_as_a_video_is_refused(house: Container, admin: Learner, data: bytes) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    answer = await put(admin, lesson, data)
    assert answer.status_code == (415 if data else 400)
    assert await folder(house, lesson, course) == [] and await state(admin, lesson) == ("none", 0, None)


async def test_what_is_no_video_after_all_fails_with_a_reason(house: Container, admin: Learner, ada: Learner) -> None:
    course, lesson = await a_video(admin, house)
    await ada.http.post(f"/courses/{course}/enroll")
    broken = clip()[:600] + bytes(50_000)
    only_sound = await new_lesson(admin.http, course)
    for target, data in ((lesson, broken), (only_sound, b"\0\0\0\x14ftypisom\0\0\0\0isom" + bytes(100))):
        assert (await put(admin, target, data)).status_code == 202
    await work(house)
    for target in (lesson, only_sound):
        status, _, reason = await state(admin, target)
        assert status == "failed" and reason
        assert (await told_of(admin, target))[0] == "A video could not be taken"
    assert [each.rpartition("/")[2] for each in await folder(house, only_sound, course)] == ["original.mp4"]
    assert await link(ada, lesson), "the video before it is still there"
    ((url, failed),) = await rows(house, "SELECT video_url, video_original FROM lessons WHERE id = :id", id=lesson)
    stored = await folder(house, lesson, course)
    assert {url, failed} < set(stored) and failed.split("/")[4] != url.split("/")[4]
    assert len([each for each in stored if each.endswith("/original.mp4")]) == 2, "that of the video before, too"
    assert len({each.split("/")[5] for each in stored if "/hls-" in each}) == 1


async def test_the_last_upload_wins(house: Container, admin: Learner) -> None:
    course, lesson = await a_video(admin, house)
    before = await folder(house, lesson, course)
    answers = await asyncio.gather(*(put(admin, lesson, clip(2)) for _ in range(3)))
    assert {each.status_code for each in answers} == {202}
    await work(house)
    assert await state(admin, lesson) == ("ready", 100, None)
    after = await folder(house, lesson, course)
    assert len({each.split("/")[4] for each in after}) == 1 and not set(before) & set(after)
    await admin.http.delete(f"/lessons/{lesson}")
    await work(house)
    assert await folder(house, lesson, course) == []


async def test_a_lesson_deleted_during_the_work_leaves_nothing(house: Container, admin: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    await put(admin, lesson, clip(2))
    await admin.http.delete(f"/lessons/{lesson}")
    await work(house)
    assert await folder(house, lesson, course) == []


async def test_more_than_is_allowed_is_refused_declared_or_not(house: Container, admin: Learner) -> None:
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    too_much = clip() + bytes(house.settings.video_max_bytes)
    assert problem(await put(admin, lesson, too_much)) == (413, "payload_too_large")
    undeclared = await admin.http.put(
        f"/lessons/{lesson}/video", content=in_pieces(too_much), headers={"Content-Type": "video/mp4"}
    )
    assert problem(undeclared) == (413, "payload_too_large")
    assert await folder(house, lesson, course) == []


async def test_only_who_takes_the_course_may_play(
    house: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient
) -> None:
    _, lesson = await a_video(admin, house, price=49900)
    other, other_lesson = await a_video(admin, house)
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


async def test_a_refund_ends_playback_within_the_life_of_a_segments_address(
    house: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient
) -> None:
    course, lesson = await a_video(admin, house, price=49900)
    order = await house.checkout.start(ada.id, course)
    await deliver(house, completed(order))
    address = await link(ada, lesson)
    segment = next(iter((await everything(player, address)).values()))[0]
    variant = addresses((await player.get(address)).text, address)[0]
    await deliver(house, refunded(order, order.amount))
    for playlist in (address, variant):
        assert problem(await player.get(playlist)) == (403, "not_enrolled")
    # The margin, and the length of the video.
    assert parse_qs(urlsplit(segment).query)["X-Amz-Expires"] == ["7"]
    async with httpx.AsyncClient() as anybody:
        assert (await anybody.get(segment)).status_code == 200
        await asyncio.sleep(8)
        assert (await anybody.get(segment)).status_code == 403


@pytest.mark.parametrize("how", ["banned", "signed out", "deleted"])
async def test_playback_ends_with_the_sign_in(
    house: Container, admin: Learner, ada: Learner, player: httpx.AsyncClient, how: str
) -> None:
    course, lesson = await a_video(admin, house)
    await ada.http.post(f"/courses/{course}/enroll")
    address = await link(ada, lesson)
    assert (await player.get(address)).status_code == 200
    if how == "banned":
        await house.bans.ban(admin.id, ada.id, "Spam.")
    elif how == "signed out":
        await ada.http.post("/auth/logout")
    else:
        await ada.http.request("DELETE", "/users/me", json={"password": "correct horse battery"})
    assert problem(await player.get(address)) == (401, "unauthenticated")


async def test_links_expire(house: Container, admin: Learner, player: httpx.AsyncClient) -> None:
    _, lesson = await a_video(admin, house)
    address = await link(admin, lesson)
    assert (await player.get(address)).status_code == 200
    await asyncio.sleep(8)
    assert problem(await player.get(address)) == (401, "unauthenticated")


async def test_nothing_else_than_pictures_is_public(settings: Settings) -> None:
    assert isinstance(Storage(settings), Storage)
    policy = await asyncio.to_thread(bucket(settings).get_bucket_policy, settings.storage_bucket_name)
    assert set(re.findall(r"parlance/([a-z]+)/", policy)) == {"avatars", "thumbnails"}
