"""Error reports of real processes, as Sentry's ingest endpoint receives them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parlance
from settings import Settings, SettingsError
from testing.containers import load_settings
from testing.databases import execute, own_database
from testing.polling import eventually, wait_until
from testing.servers import PASSWORD, dial, http_client, register, start_server, stop_server
from testing.shop import run_job_worker
from testing.telemetry_receivers import Collector, SentryStandIn, receiving


@pytest.fixture
def sentry() -> Iterator[SentryStandIn]:
    made = SentryStandIn()
    with receiving(made):
        yield made


@pytest.fixture
def own(environment: dict[str, str], settings: Settings, sentry: SentryStandIn) -> Iterator[Settings]:
    with own_database(settings) as made:
        yield made


async def test_errors_of_requests_events_and_jobs_are_reported(
    environment: dict[str, str], own: Settings, sentry: SentryStandIn, collector: Collector, tmp_path: Path
) -> None:
    """Each with its type, stack, release and trace; without texts, which may name a person."""
    variables = {**environment, **sentry.environment, **collector.environment, "DB_NAME": own.db_name}
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = start_server(variables, tmp_path / "server.log", workers=1)
        try:
            async with http_client(server.url) as http:
                learner = await register(http)
                phone = await dial(server.url, learner)
                execute(own, "ALTER TABLE profiles RENAME COLUMN username TO nickname")
                assert (await http.get("/users/me")).status_code == 500
                ack = await phone.send("find_partner", {})
                assert ack["error"]["code"] == "internal"
                # A scheduled job is not tried again: its first failure is its last.
                execute(own, "ALTER TABLE call_sessions RENAME COLUMN ended_at TO finished_at")
                await eventually(
                    lambda: {each["tags"].get("logger") for each in sentry.reports} >= {"procrastinate.worker"},
                    lambda: f"{sentry.reports} {(tmp_path / 'worker.log').read_text()}",
                    within=90,
                )
                await phone.client.disconnect()
        finally:
            stop_server(server)
    by_logger: dict[str, list[dict[str, Any]]] = {}
    for report in sentry.reports:
        by_logger.setdefault(report["tags"]["logger"], []).append(report)
    request, event = by_logger["parlance.contract"][:2]
    for report in (request, event, by_logger["procrastinate.worker"][0]):
        assert report["release"] == f"parlance@{parlance.__version__}" and report["environment"] == "test"
        assert {each["value"] for each in report["exception"]["values"]} == {
            "The log line of this request_id has the text."
        }
        assert report["exception"]["values"][-1]["stacktrace"]["frames"]
        assert report["contexts"]["trace"]["trace_id"] in {span.trace_id for span in collector.spans}
        assert not report.keys() & {"request", "user", "breadcrumbs", "extra", "modules"}
    assert event["tags"]["socket_id"] and event["tags"]["request_id"].startswith(event["tags"]["socket_id"])
    text = json.dumps(sentry.reports)
    assert learner.email not in text and learner.username not in text and PASSWORD not in text
    assert "vars" not in text and "nickname" not in text


async def test_silent_receiver_delays_neither_answers_nor_the_end(
    environment: dict[str, str], own: Settings, sentry: SentryStandIn, tmp_path: Path
) -> None:
    sentry.gate.clear()
    variables = {**environment, **sentry.environment, "DB_NAME": own.db_name}
    server = start_server(variables, tmp_path / "server.log", workers=1)
    try:
        async with http_client(server.url) as http:
            await register(http)
            execute(own, "ALTER TABLE profiles RENAME COLUMN username TO nickname")
            for _ in range(5):
                assert (await http.get("/users/me")).status_code == 500
        await eventually(lambda: sentry.bodies, "a report that waits for its answer")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.process.poll() is not None, server.log.read_text, within=20)
        assert not sentry.gate.is_set()
    finally:
        stop_server(server)
    assert server.process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize("dsn", ["sentry.example.com/1", "https://sentry.example.com/1", "https://key@host/project"])
def test_wrong_dsn_is_refused_in_a_sentence(environment: dict[str, str], dsn: str) -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN should be the DSN of a Sentry project"):
        load_settings({**environment, "SENTRY_DSN": dsn})
