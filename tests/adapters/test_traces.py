"""Traces of real processes, as a collector receives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.span_recorder import make_sampler
from settings import Settings
from testing.accounts import new_email
from testing.calls import call, negotiate
from testing.databases import own_database
from testing.email_outbox import ResendStandIn
from testing.polling import eventually, wait_until
from testing.servers import (
    PASSWORD,
    Server,
    dial,
    http_client,
    own_address,
    register,
    start_server,
    start_servers,
    stop_server,
)
from testing.shop import run_job_worker
from testing.telemetry_receivers import Collector, Span

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def variables(environment: dict[str, str], settings: Settings, collector: Collector) -> Iterator[dict[str, str]]:
    """Variables of processes with a database of their own, which export their spans."""
    with own_database(settings) as own:
        yield {**environment, "DB_NAME": own.db_name, **collector.environment}


async def test_request_job_and_vendor_are_one_trace(
    variables: dict[str, str], collector: Collector, resend_api: ResendStandIn, tmp_path: Path
) -> None:
    """The trace is the one that a proxy has begun, and its id is in the log lines of both processes."""
    mail = {"RESEND_API_KEY": "re_key", "RESEND_API_URL": f"http://127.0.0.1:{resend_api.server_address[1]}"}
    variables = {**variables, **mail, "APP_ENV": "production", "APP_URL": "https://parlance.example"}
    variables |= {"BCRYPT_ROUNDS": "12", "STRIPE_SECRET_KEY": "sk_live_key", "STRIPE_WEBHOOK_SECRET": "whsec_key"}
    email = new_email()
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = start_server(variables, tmp_path / "server.log", workers=1)
        try:
            async with http_client(server.url) as http:
                account = {"email": email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
                assert (await http.post("/auth/register", json=account)).status_code == 201
                headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
                answer = await http.post("/auth/forgot-password", json={"email": email}, headers=headers)
                assert answer.status_code == 202
            spans = await spans_named(collector, TRACE, "POST /auth/forgot-password", "resend send")
        finally:
            stop_server(server)
    request, job, vendor = spans
    assert (request.name, request.kind, request.service) == ("POST /auth/forgot-password", "server", "parlance-web")
    assert (job.name, job.kind, job.service) == ("job auth.send_password_reset", "consumer", "parlance-worker")
    assert (vendor.name, vendor.kind, vendor.service) == ("resend send", "client", "parlance-worker")
    assert [request.parent_id, job.parent_id, vendor.parent_id] == [PARENT, request.span_id, job.span_id]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 202,
        "http.route": "/auth/forgot-password",
    }
    for log, span in (("server.log", request), ("worker.log", job)):
        lines = [json.loads(line) for line in (tmp_path / log).read_text().splitlines() if TRACE in line]
        assert lines and {(each["trace_id"], each["span_id"]) for each in lines} == {(TRACE, span.span_id)}, lines


async def test_client_cannot_choose_its_trace(variables: dict[str, str], collector: Collector, tmp_path: Path) -> None:
    """`traceparent` counts from TRUSTED_PROXIES alone, also where the client forges a proxy."""
    server = start_server(variables, tmp_path / "server.log", workers=1)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Forwarded-For": "127.0.0.1"}
    transport = httpx.AsyncHTTPTransport(local_address=own_address())
    try:
        async with httpx.AsyncClient(base_url=server.url, transport=transport, headers=headers) as http:
            assert (await http.get("/courses")).status_code == 200
        (span,) = await eventually(lambda: [each for each in collector.spans if each.name == "GET /courses"])
    finally:
        stop_server(server)
    assert span.trace_id != TRACE and span.parent_id == ""


async def test_call_is_one_trace_across_processes(
    variables: dict[str, str], collector: Collector, tmp_path: Path
) -> None:
    """Two learners on two servers: search, match, both participants and the end, in the trace of the room's id."""
    with start_servers([variables, variables], tmp_path) as servers:
        room = await make_call(*servers)
        trace = room["roomId"].replace("-", "")
        spans = await spans_named(collector, trace, "match", "participant", "participant", "end_call", "search")
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == sorted(
        ["search", "match", "join_room", "join_room", "participant", "participant", "end_call"]
    )
    assert by_name["match"].parent_id == "" and by_name["match"].attributes["parlance.room_id"] == room["roomId"]
    assert {span.parent_id for span in spans if span.name != "match"} == {by_name["match"].span_id}
    assert len({span.resource["service.instance.id"] for span in spans}) == 2
    # Both searches are traces of their own, from before there was a call.
    (searched,) = by_name["search"].links
    (found,) = by_name["match"].links
    assert {collector.in_trace(each)[0].name for each in (searched, found)} == {"find_partner"} and searched != found
    caller, receiver = sorted(
        (s for s in spans if s.name == "participant"), key=lambda s: s.attributes["parlance.role"]
    )
    assert [caller.attributes["parlance.signals"], receiver.attributes["parlance.signals"]] == [2, 2]
    assert caller.events == ["peer_here", "webrtc_offer"] and receiver.events == ["peer_here", "webrtc_answer"]
    assert caller.attributes["parlance.outcome"] == "left"


async def test_each_web_process_exports(variables: dict[str, str], collector: Collector, tmp_path: Path) -> None:
    server = start_server(variables, tmp_path / "server.log", workers=2)

    async def instances() -> bool:
        async with http_client(server.url) as http:
            await http.get("/health")
        return len({span.resource["service.instance.id"] for span in collector.spans}) == 2

    try:
        await eventually(instances, "spans of both processes", within=30)
    finally:
        stop_server(server)
    assert server.process.returncode in (0, -signal.SIGTERM)


async def test_spans_are_exported_before_a_process_ends(
    variables: dict[str, str], collector: Collector, tmp_path: Path
) -> None:
    server = start_server({**variables, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}, tmp_path / "server.log", workers=1)
    async with http_client(server.url) as http:
        assert (await http.get("/courses")).status_code == 200
    assert collector.spans == []
    stop_server(server)
    assert "GET /courses" in {span.name for span in collector.spans}


@pytest.mark.parametrize("receiver", ["silent", "away"])
async def test_lost_collector_delays_nothing(
    receiver: str, variables: dict[str, str], collector: Collector, tmp_path: Path
) -> None:
    """Requests are answered, and the process ends, while the collector holds an export or refuses connections."""
    if receiver == "silent":
        collector.gate.clear()
    else:
        variables = {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    server = start_server(variables, tmp_path / "server.log", workers=1)
    try:
        async with http_client(server.url) as http:
            if receiver == "silent":
                await eventually(lambda: collector.requests, "an export that waits for its answer")
            else:
                await eventually(lambda: "opentelemetry" in server.log.read_text(), server.log.read_text, within=30)
            for _ in range(20):
                assert (await http.get("/courses")).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.process.poll() is not None, server.log.read_text, within=20)
        assert receiver == "away" or not collector.gate.is_set()
    finally:
        stop_server(server)
    assert server.process.returncode in (0, -signal.SIGTERM)


def test_nothing_is_imported_while_off() -> None:
    """redis-py imports OpenTelemetry's metrics, if they are there; of traces and of Sentry nothing may be imported."""
    code = (
        "import sys, app, cli.worker, cli.serve; from adapters import tracing, error_reports; import settings\n"
        "off = settings.load(None); tracing.configure(off, process='web'); error_reports.configure(off)\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter',"
        " 'opentelemetry.proto', 'google.protobuf', 'sentry_sdk'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SENTRY_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_sampling_of_calls_follows_the_share() -> None:
    """Also for the ids of calls, which are UUIDs: their last 64 bits begin with a constant."""
    sampler = make_sampler(0.25)
    ids = [uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128, version=4) for number in range(4000)]
    sampled = sum(sampler.should_sample(None, each.int, "match").decision.value > 1 for each in ids)
    assert 800 < sampled < 1200


async def make_call(one: Server, other: Server) -> dict[str, str]:
    """Let learners of two servers have a call, exchange signals and end it."""
    async with http_client(one.url) as first, http_client(other.url) as second:
        ada, bob = await register(first), await register(second)
        phones = [await dial(one.url, ada), await dial(other.url, bob)]
        room = await call(*phones)
        caller, receiver = phones
        for phone, peer, relayed in ((caller, receiver, "webrtc_offer"), (receiver, caller, "webrtc_answer")):
            assert (await negotiate(phone, room))["webrtc_ice"] == "ok"
            await peer.wait_for(relayed)
        assert await caller.send("end_call", room) == {"ok": True}
        await receiver.wait_for("peer_left")
        for phone in phones:
            await phone.client.disconnect()
    return room


async def spans_named(collector: Collector, trace_id: str, *names: str) -> list[Span]:
    """Wait for spans of a trace with these names, and return all of the trace."""

    def found() -> list[Span]:
        spans = collector.in_trace(trace_id)
        left = [span.name for span in spans]
        for name in names:
            if name not in left:
                return []
            left.remove(name)
        return spans

    spans: list[Span] = await eventually(
        found, lambda: f"{names} in {[span.name for span in collector.in_trace(trace_id)]}", within=20
    )
    return spans
