"""Originals of videos: kept, transcoded again by `parlance videos remake`, deleted with their lesson."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

import app
from container import Container
from contract import lint
from settings import Settings
from testing.accounts import make_admin
from testing.containers import running_container
from testing.databases import execute, own_database, rows, value
from testing.lessons import MISSING_ID, new_course, new_lesson
from testing.pictures import keys
from testing.servers import Learner, client, http_client
from testing.videos import clip, everything, put

from .test_videos import link, names, notification_titles, state, work

NO_VIDEO = clip()[:600] + bytes(50_000)


@pytest.fixture(scope="module")
def own(settings: Settings) -> Any:
    with own_database(settings) as found:
        yield found


@pytest.fixture(scope="module")
async def services(own: Settings) -> AsyncIterator[Container]:
    async with running_container(own) as services:
        yield services


@pytest.fixture
async def admin(services: Container) -> AsyncIterator[Learner]:
    async with client(app.create(services)) as http:
        yield await make_admin(services, http)


@pytest.fixture
async def lesson(services: Container, admin: Learner) -> str:
    """A lesson whose video is ready."""
    made = await new_lesson(admin.http, await new_course(admin.http))
    assert (await put(admin, made, clip(2))).status_code == 202
    await work(services)
    assert await state(admin, made) == ("ready", 100, None)
    return made


@pytest.fixture
def parlance(environment: dict[str, str], own: Settings) -> Any:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "videos", "remake", *arguments],
            cwd=lint.ROOT,
            env={**environment, "DB_NAME": own.db_name},
            capture_output=True,
            text=True,
        )

    return run


async def stored(services: Container, lesson: str) -> list[str]:
    return [each for each in await keys(services.settings, "videos/") if lesson in each]


async def find_original(services: Container, lesson: str) -> str:
    return str(await value(services, "SELECT video_original FROM lessons WHERE id = :id", id=lesson))


async def find_hls(services: Container, lesson: str) -> str:
    url = str(await value(services, "SELECT video_url FROM lessons WHERE id = :id", id=lesson))
    return url.removesuffix("master.m3u8")


async def test_original_stays_and_is_private(services: Container, lesson: str) -> None:
    key = await find_original(services, lesson)
    assert key.endswith("/original.mp4") and key in await stored(services, lesson)
    assert await services.storage.get(key) == clip(2)
    settings = services.settings
    async with http_client() as anybody:
        bare = await anybody.get(f"{settings.storage_endpoint}/{settings.storage_bucket_name}/{key}")
    assert bare.status_code == 403


async def test_cleanup_keeps_originals(services: Container, lesson: str) -> None:
    before = await stored(services, lesson)
    await services.uploads.delete_expired()
    key = await find_original(services, lesson)
    await services.videos.tidy(lesson, key.removesuffix("original.mp4"))
    assert await stored(services, lesson) == before


async def test_new_upload_replaces_the_original_once_ready(services: Container, admin: Learner, lesson: str) -> None:
    first, hls = await find_original(services, lesson), await find_hls(services, lesson)
    assert (await put(admin, lesson, clip(1))).status_code == 202
    assert first in await stored(services, lesson) and await find_hls(services, lesson) == hls
    await work(services)
    second = await find_original(services, lesson)
    assert second != first and await services.storage.get(second) == clip(1)
    left = await stored(services, lesson)
    assert {each.split("/")[4] for each in left} == {second.split("/")[4]}


async def test_failed_original_is_kept_until_replaced(services: Container, admin: Learner) -> None:
    """Each failure replaces the one before; a good upload replaces the last."""
    lesson = await new_lesson(admin.http, await new_course(admin.http))
    for _ in range(2):
        await put(admin, lesson, NO_VIDEO)
        await work(services)
        assert (await state(admin, lesson))[0] == "failed"
        assert await stored(services, lesson) == [await find_original(services, lesson)]
    await put(admin, lesson, clip(1))
    await work(services)
    assert [each for each in await stored(services, lesson) if "original" in each] == [
        await find_original(services, lesson)
    ]


@pytest.mark.parametrize("what", ["lesson", "course"])
async def test_original_goes_with_its_lesson(services: Container, admin: Learner, lesson: str, what: str) -> None:
    course = await value(services, "SELECT course_id FROM lessons WHERE id = :id", id=lesson)
    await put(admin, lesson, NO_VIDEO)
    await work(services)
    assert len([each for each in await stored(services, lesson) if "original" in each]) == 2
    path = f"/lessons/{lesson}" if what == "lesson" else f"/courses/{course}"
    assert (await admin.http.delete(path)).status_code == 204
    await work(services)
    assert await stored(services, lesson) == []


async def test_lesson_deleted_during_a_remake_leaves_nothing(services: Container, admin: Learner, lesson: str) -> None:
    await services.videos.remake(await services.videos.list_remakeable())
    await admin.http.delete(f"/lessons/{lesson}")
    await work(services)
    assert await stored(services, lesson) == []


async def test_remake_makes_new_hls_of_the_original(
    services: Container, admin: Learner, lesson: str, parlance: Any
) -> None:
    """Learners play the old HLS until the new one is ready; then the old one goes."""
    before, original = await find_hls(services, lesson), await find_original(services, lesson)
    done = parlance(lesson)
    assert done.returncode == 0, done.stderr
    assert f"{lesson}  Where we begin: enqueued" in done.stdout and "1 videos enqueued" in done.stdout
    assert (await state(admin, lesson))[0] == "processing"
    assert names(await everything(admin.http, await link(admin, lesson))) == ["480p", "360p", "audio"]
    again = parlance(lesson)
    assert again.returncode == 0 and "is already being processed" in again.stdout
    await work(services)
    assert await state(admin, lesson) == ("ready", 100, None)
    after = await find_hls(services, lesson)
    assert after != before and await find_original(services, lesson) == original
    left = await stored(services, lesson)
    assert original in left and all(each.startswith(after) for each in left if each != original)
    assert await notification_titles(admin, lesson) == ["A video is ready"] * 2
    assert names(await everything(admin.http, await link(admin, lesson))) == ["480p", "360p", "audio"]
    actions = await rows(services, "SELECT action FROM audit_log WHERE subject_id = :id ORDER BY number", id=lesson)
    assert actions[-1] == ("lesson.video_remake",)


async def test_upload_during_a_remake_wins(services: Container, admin: Learner, lesson: str) -> None:
    """The job of the remake then finds another upload wanted, and removes nothing that is played."""
    (remade,) = [
        each
        for each in await services.videos.remake(await services.videos.list_remakeable())
        if each.lesson_id == lesson
    ]
    assert remade.outcome == "enqueued"
    original, hls = await find_original(services, lesson), await find_hls(services, lesson)
    await put(admin, lesson, NO_VIDEO)
    await services.videos.transcode(lesson, original)
    assert original in (left := await stored(services, lesson)) and any(each.startswith(hls) for each in left)
    await work(services)
    assert (await state(admin, lesson))[0] == "failed" and await find_hls(services, lesson) == hls
    assert f"{hls}master.m3u8" in await stored(services, lesson)


async def test_remake_of_a_failed_video_tries_again(
    own: Settings, services: Container, admin: Learner, lesson: str, parlance: Any
) -> None:
    """A video whose work was given up, as when storage was away for too long."""
    execute(own, "UPDATE lessons SET video_status = 'failed', video_error = 'given up' WHERE id = %s", lesson)
    done = parlance("--failed", "--json")
    answers = {each["lessonId"]: each for each in json.loads(done.stdout)}
    assert answers[lesson] == {"lessonId": lesson, "title": "Where we begin", "outcome": "enqueued"}
    await work(services)
    assert await state(admin, lesson) == ("ready", 100, None)


async def test_abandoned_transcoding_keeps_original_and_video(services: Container, admin: Learner, lesson: str) -> None:
    """A remake that fails for good leaves what learners play."""
    hls, original = await find_hls(services, lesson), await find_original(services, lesson)
    await services.storage.put(original, NO_VIDEO, "application/octet-stream")
    await services.videos.remake(await services.videos.list_remakeable())
    await work(services)
    status, _, reason = await state(admin, lesson)
    assert status == "failed" and reason
    left = await stored(services, lesson)
    assert original in left and f"{hls}master.m3u8" in left
    assert len(await everything(admin.http, await link(admin, lesson))) == 3


async def test_remake_names_lessons_without_original(
    own: Settings, services: Container, admin: Learner, lesson: str, parlance: Any
) -> None:
    """Older versions deleted originals."""
    execute(own, "UPDATE lessons SET video_original = NULL WHERE id = %s", lesson)
    bare = await new_lesson(admin.http, await new_course(admin.http), "Nothing yet")
    done = parlance("--all")
    assert done.returncode == 1 and "cannot be generated again" in done.stderr
    assert f"{lesson}  Where we begin: has no original" in done.stdout and bare not in done.stdout
    assert await state(admin, lesson) == ("ready", 100, None)
    done = parlance(bare, MISSING_ID, "--json")
    assert done.returncode == 1
    assert [each["outcome"] for each in json.loads(done.stdout)] == ["no_video", "not_found"]
    await work(services)


@pytest.mark.parametrize("arguments", [(), ("--all", "--failed"), (MISSING_ID, "--all"), ("no-id",)])
def test_remake_needs_lessons_or_one_option(parlance: Any, arguments: tuple[str, ...]) -> None:
    assert parlance(*arguments).returncode == 2


def test_remake_help_shows_examples(parlance: Any) -> None:
    shown = " ".join(parlance("--help").stdout.split())
    assert "parlance videos remake --failed" in shown and "Exit 0" in shown and "--json" in shown


async def test_lost_original_is_reported(services: Container, admin: Learner, lesson: str) -> None:
    original = await find_original(services, lesson)
    await services.storage.delete(original)
    await services.videos.remake(await services.videos.list_remakeable())
    await services.videos.transcode(lesson, original, last_try=True)
    status, _, reason = await state(admin, lesson)
    assert status == "failed" and "upload it again" in str(reason)
    assert await value(services, "SELECT video_original FROM lessons WHERE id = :id", id=lesson) is None
    await work(services)
    assert f"{await find_hls(services, lesson)}master.m3u8" in await stored(services, lesson)
