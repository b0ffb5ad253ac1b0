"""One id leads from a request through its jobs; an event is named by its socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from testing.databases import own_database
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Server, dial, http_client, register, start_server, stop_server
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server_and_log(environment: dict[str, str], settings: Settings, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server whose Resend is away, and a worker; both write production's lines."""
    with own_database(settings) as own:
        variables = {
            **environment,
            "DB_NAME": own.db_name,
            "LOG_LEVEL": "debug",
            "APP_ENV": "production",
            "APP_URL": "https://parlance.example",
            "BCRYPT_ROUNDS": "12",
            "PAYMENT_PROVIDER": "stripe",
            "STRIPE_SECRET_KEY": "sk_test_1",
            "STRIPE_WEBHOOK_SECRET": "whsec_1",
            "RESEND_API_KEY": "re_1",
            "RESEND_API_URL": f"http://127.0.0.1:{free_port()}",
        }
        server = start_server(variables, tmp_path / "server.log", workers=1)
        with (tmp_path / "worker.log").open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "cli", "worker"],
                cwd=ROOT,
                env={**os.environ, **variables},
                stdout=output,
                stderr=output,
            )
        try:
            yield server, tmp_path / "worker.log"
        finally:
            worker.terminate()
            worker.wait(limit(30))
            stop_server(server)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def test_request_id_is_logged_by_its_jobs(server_and_log: tuple[Server, Path]) -> None:
    server, worker_log = server_and_log
    async with http_client(server.url, headers={"X-Request-Id": "from-the-phone-1"}) as http:
        # Without a profile, which the gates of production would ask for more than this.
        learner = await register(http, ready=False)

        async def failed() -> list[dict[str, Any]]:
            return [each for each in lines(worker_log) if "auth.send_verification" in each["message"]]

        (line, *_) = await eventually(failed, within=30)
        assert line["request_id"] == "from-the-phone-1" and line["level"] == "warning"
        served = [each for each in lines(server.log) if each["message"].startswith("POST /auth/register")]
        assert [each["request_id"] for each in served] == ["from-the-phone-1"]

        phone = await dial(server.url, learner)
        await phone.send("webrtc_ice", {})
        socket = phone.client.get_sid()
        await phone.client.disconnect()
    answered = "event_answered event=webrtc_ice outcome=bad_payload "
    (line,) = [each for each in lines(server.log) if each["message"].startswith(answered)]
    connection, _, number = line["request_id"].partition("/")
    assert connection == socket and number.isdigit()
    assert line["socket_id"] == socket and line["user_id"] == learner.id


async def test_finished_job_logs_its_request_id(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    with own_database(settings) as own:
        variables = {**environment, "DB_NAME": own.db_name, "MAIL_DIRECTORY": str(tmp_path / "mail")}
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1)
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "cli", "worker"], cwd=ROOT, env={**os.environ, **variables}, stderr=output
            )
        try:
            async with http_client(server.url) as http:
                answer = await http.post(
                    "/auth/register",
                    json={"email": "ada@example.com", "password": "a b c d e f g", "deviceId": "d", "platform": "ios"},
                )
            name = answer.headers["x-request-id"]

            async def done() -> bool:
                return any(
                    "job_done job=auth.send_verification" in line and f"request_id={name}" in line and "job_id=" in line
                    for line in log.read_text().splitlines()
                )

            await eventually(done, within=30)
        finally:
            worker.terminate()
            worker.wait(limit(30))
            await asyncio.to_thread(stop_server, server)
