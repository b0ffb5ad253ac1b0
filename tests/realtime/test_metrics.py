"""Metrics: one scrape reports every process of the host."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from pathlib import Path

import httpx

from container import Container
from jobs import delete_object
from testing.calls import MakePhone, empty_queue
from testing.databases import query
from testing.metrics import growth, scrape, scrape_all, total
from testing.polling import eventually
from testing.servers import Server, http_client, start_server, stop_server


async def test_call_across_processes_is_counted_once(
    server: Server, container: Container, make_phone: MakePhone
) -> None:
    await empty_queue(container)
    before = await asyncio.to_thread(scrape_all, server.url)
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    assert (await ada.send("find_partner", {"level": "all"}))["ok"]
    waiting = await asyncio.to_thread(scrape_all, server.url)
    assert total(waiting, "parlance_searches", level="all") == 1
    assert (await bob.send("find_partner", {"level": "all"}))["ok"]
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    for phone in (ada, bob):
        assert (await phone.send("join_room", room))["ok"]
    assert (await ada.send("webrtc_offer", {**room, "sdp": "v=0"}))["ok"]
    await bob.wait_for("webrtc_offer")
    assert not (await ada.send("webrtc_answer", {**room, "sdp": "v=0"}))["ok"]

    after = await asyncio.to_thread(scrape_all, server.url)
    grew = growth(before, after)
    assert grew("parlance_sockets") == 2
    workers = {each.labels["worker"] for each in after["parlance_sockets"].samples if each.value}
    assert {ada.worker, bob.worker} <= workers
    assert grew("parlance_matches", level="all") == 1 == grew("parlance_match_wait_seconds", level="all")
    assert grew("parlance_events", event="find_partner", outcome="ok") == 2
    assert grew("parlance_events", event="webrtc_offer", outcome="ok", worker=ada.worker) == 1
    assert grew("parlance_events", event="webrtc_answer", outcome="bad_role") == 1
    assert total(after, "parlance_rooms", state="joined") >= 1
    assert grew("parlance_bus_messages", way="mesh", worker=ada.worker) >= 1
    assert grew("parlance_bus_bytes", way="mesh", worker=ada.worker) > 10
    assert (await ada.send("end_call", room))["ok"]


async def test_requests_are_counted_by_operation(server: Server) -> None:
    before = await asyncio.to_thread(scrape_all, server.url)
    async with http_client(server.url) as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/users/me")).status_code == 401
        assert (await http.get("/users/00000000-0000-4000-8000-000000000000/public")).status_code in (401, 404)
        assert (await http.get("/nothing/here")).status_code == 404
        assert (await http.post("/payments/webhook", content=b"{}")).status_code == 400
        assert (await http.get("/docs")).status_code == 200
    grew = growth(before, await asyncio.to_thread(scrape_all, server.url))
    for operation, status in (
        ("checkHealth", "200"),
        ("getMe", "401"),
        ("none", "404"),
        ("none", "200"),
        ("receivePaymentWebhook", "400"),
    ):
        assert grew("parlance_http_requests", operation=operation, status=status) == 1, (operation, status)
    assert grew("parlance_http_requests", operation="getMetrics", status="200") >= 1
    assert grew("parlance_http_request_seconds", operation="checkHealth") == 1
    assert grew("parlance_payment_webhooks", provider="unknown", outcome="signature_invalid") == 1


async def test_metrics_are_hidden_from_the_public(api: httpx.AsyncClient) -> None:
    assert (await api.get("/metrics", headers={"X-Forwarded-For": "198.51.100.7"})).json()["code"] == "not_found"
    assert (await api.get("/metrics")).status_code == 200


async def test_jobs_are_reported_by_name_and_age(container: Container, api: httpx.AsyncClient) -> None:
    async with container.database.transaction() as db:
        await container.jobs.enqueue(db, delete_object, key="nothing-of-that-name")
    lines = (await api.get("/metrics")).text.splitlines()
    (count,) = (each for each in lines if each.startswith('parlance_jobs{status="todo",task="storage.delete"}'))
    assert float(count.split()[-1]) >= 1
    assert any(each.startswith('parlance_job_age_seconds{task="storage.delete"}') for each in lines)


async def test_invitations_are_reported_by_their_end(container: Container, api: httpx.AsyncClient) -> None:
    ids = [uuid.uuid4() for _ in range(2)]
    columns = "id, email, email_canonical, password_hash, role"
    users = f"INSERT INTO users ({columns}) SELECT u, u || :d, u || :d, '', 'student'"
    await query(container, f"{users} FROM unnest(CAST(:u AS uuid[])) AS u", u=ids, d="@example.com")
    for state, answered in (("open", "NULL"), ("declined", "now()")):
        await query(
            container,
            "INSERT INTO invitations (id, inviter_id, invitee_id, inviter_socket, state, expires_at, answered_at)"
            f" VALUES (:i, :a, :b, 'gone', '{state}', now() + interval '1 minute', {answered})",
            **dict(zip("iab", [uuid.uuid4(), *ids], strict=True)),
        )
    text = (await api.get("/metrics")).text
    for state in ("open", "declined"):
        (count,) = (each for each in text.splitlines() if each.startswith(f'parlance_invitations{{state="{state}"}}'))
        assert float(count.split()[-1]) >= 1


async def test_silent_process_is_reported_soon(environment: dict[str, str], tmp_path: Path) -> None:
    one = await asyncio.to_thread(start_server, environment, tmp_path / "one.log", workers=1)
    two = await asyncio.to_thread(start_server, environment, tmp_path / "two.log", workers=1)
    try:
        whole = await asyncio.to_thread(scrape, one.url)
        assert total(whole, "parlance_workers", state="silent") == 0
        os.kill(two.process.pid, signal.SIGSTOP)
        try:
            halved = await asyncio.to_thread(scrape, one.url)
        finally:
            os.kill(two.process.pid, signal.SIGCONT)
        assert total(halved, "parlance_workers", state="silent") == 1
        await eventually(lambda: _is_whole(one.url))
    finally:
        for each in (one, two):
            await asyncio.to_thread(stop_server, each)


async def _is_whole(url: str) -> bool:
    return total(await asyncio.to_thread(scrape, url), "parlance_workers", state="silent") == 0


async def test_unavailable_store_is_reported_beside_the_rest(environment: dict[str, str], tmp_path: Path) -> None:
    from devtools.embedded import EmbeddedServices

    services = EmbeddedServices(tmp_path / "valkey", durable=False, only=("valkey",))
    connections = services.start()
    running = await asyncio.to_thread(start_server, {**environment, **connections}, tmp_path / "log", workers=1)
    try:
        assert total(await asyncio.to_thread(scrape, running.url), "parlance_up", store="redis") == 1
        services.kill()
        found = await asyncio.to_thread(scrape, running.url)
        assert total(found, "parlance_up", store="redis") == 0
        assert total(found, "parlance_up", store="database") == 1 and "parlance_jobs" in found
        assert total(found, "parlance_http_requests") >= 1
    finally:
        await asyncio.to_thread(stop_server, running)
        services.stop()
