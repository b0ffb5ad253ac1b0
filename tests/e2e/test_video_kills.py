"""A job worker killed during a video: its ffmpeg ends with it, and another job worker completes the video."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.containers import load_settings
from testing.databases import own_database, value
from testing.lessons import new_course, new_lesson
from testing.pictures import keys
from testing.polling import eventually
from testing.servers import Learner, http_client, start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit
from testing.videos import clip, decoded, everything, put
from tests.e2e.conftest import let_heartbeats_age


@pytest.fixture
async def studio(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> AsyncIterator[tuple[dict[str, str], Container, Learner]]:
    """A server with a database of its own, an administrator, and no worker yet."""
    with own_database(settings) as own:
        variables = {**environment, "DB_NAME": own.db_name}
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1)
        container = Container(load_settings(variables))
        try:
            async with (
                http_client(server.url) as http,
                container.jobs.app.open_async(),
            ):
                yield variables, container, await make_admin(container, http)
        finally:
            await container.close()
            await asyncio.to_thread(stop_server, server)


def children(pid: int, name: str) -> list[int]:
    """The processes of a name that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if re.search(rf"^Name:\s+{name}", text) and re.search(rf"^PPid:\s+{pid}$", text, re.MULTILINE):
            found.append(int(status.parent.name))
    return found


async def test_killed_job_worker_is_replaced_during_transcoding(
    studio: tuple[dict[str, str], Container, Learner], tmp_path: Path
) -> None:
    variables, container, admin = studio
    work = tmp_path / "work"
    work.mkdir()
    variables = {**variables, "TMPDIR": str(work)}
    course = await new_course(admin.http)
    lesson = await new_lesson(admin.http, course)
    assert (await put(admin, lesson, clip(30, "1280x720"))).status_code == 202
    prefix = f"videos/courses/{course}/{lesson}/"

    async def progress() -> int:
        return int((await admin.http.get(f"/lessons/{lesson}")).json()["videoProgress"])

    with run_job_worker(variables, tmp_path / "first.log") as first:
        seen = await eventually(progress, within=60, what="some progress")
        (encoder,) = children(first.pid, "ffmpeg")
        first.kill()
        first.wait()
    assert 0 < seen < 100
    assert len(list(work.iterdir())) == 1, "what a killed worker leaves on its disk"
    await eventually(lambda: not Path(f"/proc/{encoder}").exists(), within=5, what="ffmpeg ended with its worker")
    # As if it had died later, while it was storing what it had made.
    leftover = f"{(await keys(container.settings, prefix))[0].rpartition('/')[0]}/hls-killed/720p_00000.ts"
    await container.storage.put(leftover, b"half of a segment", "video/mp2t")

    let_heartbeats_age(container.settings)
    with run_job_worker(variables, tmp_path / "second.log"):
        # What the schedule does each minute.
        await container.jobs.retry_stalled()

        async def status() -> bool:
            return bool((await admin.http.get(f"/lessons/{lesson}")).json()["videoStatus"] == "ready")

        await eventually(status, within=120, what="the video is ready")

        async def tidy() -> bool:
            return not [each for each in await keys(container.settings, prefix) if "killed" in each]

        await eventually(tidy, within=20, what="the leftovers are gone")
    assert list(work.iterdir()) == []
    stored = await keys(container.settings, prefix)
    assert len({each.rpartition("/")[0] for each in stored}) == 2
    assert len([each for each in stored if each.endswith("/original.mp4")]) == 1
    assert await value(container, "SELECT duration_secs FROM lessons WHERE id = :id", id=lesson) == 30
    link = urlsplit((await admin.http.get(f"/lessons/{lesson}/video-url")).json()["url"])
    qualities = await everything(admin.http, f"{link.path}?{link.query}")
    assert len(qualities) == 4
    for segments in qualities.values():
        assert abs((await decoded(segments, tmp_path))[0] - 30) < 0.5


async def test_stopped_job_worker_releases_its_video(
    studio: tuple[dict[str, str], Container, Learner], tmp_path: Path
) -> None:
    variables, _, admin = studio
    lesson = await new_lesson(admin.http, await new_course(admin.http))
    assert (await put(admin, lesson, clip(2))).status_code == 202
    with run_job_worker(variables, tmp_path / "worker.log") as worker:
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, limit(60)) == 0
    with run_job_worker(variables, tmp_path / "next.log"):

        async def ready() -> bool:
            return bool((await admin.http.get(f"/lessons/{lesson}")).json()["videoStatus"] == "ready")

        await eventually(ready, within=60, what="the video is ready")
