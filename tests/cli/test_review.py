"""Accounts of the stores' review teams, and the partner that answers them with audio."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.practice_client import Call, Melody
from container import Container
from models import SanctionGround, SanctionKind
from services.calls.review_pool import PARTNER_ID, REVIEWER_ID
from services.safety.sanctions import SanctionOrder
from testing.calls import MakePhone, empty_queue
from testing.databases import rows, value
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, address, dial, http_client, stop_server
from tests.cli.test_operators import parlance

ROOT = Path(__file__).resolve().parents[2]


def seed(environment: dict[str, str], **changes: str) -> tuple[str, str]:
    """Run `parlance seed --review`; return the address and the password that it prints."""
    done = parlance("seed", "--review", **{**environment, **changes})
    assert done.returncode == 0, done.stderr
    found = re.search(r"^user +(\S+)\npassword +(\S+)$", done.stdout, re.M)
    assert found and "notes for the review" in done.stdout, done.stdout
    return found[1], found[2]


async def log_in(server: Server, email: str, password: str) -> Learner:
    body = {"email": email, "password": password, "deviceId": "review-phone", "platform": "ios"}
    http = http_client(server.url)
    answer = await http.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"
    return Learner(tokens["user"]["id"], email, "", tokens["accessToken"], tokens["refreshToken"], http)


@contextmanager
def partner(environment: dict[str, str], server: Server, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "review-partner", "--url", server.url],
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = Server(server.url, process, log)
    try:
        yield process
    finally:
        stop_server(running)


async def talk(phone: Phone, count: int) -> None:
    """Search, and talk with who is found until their audio arrives; hang up."""
    assert (await phone.send("find_partner", {"level": "beginner"}))["ok"]
    match = await phone.wait_for("match_found", count=count, within=30)
    assert match["partner"]["displayName"] == "Review Partner" and match["topic"] is None
    audio = Call(phone.client, phone.learner.id, match)
    handled = len(phone.received)
    assert (await phone.send("join_room", {"roomId": match["roomId"]}))["ok"]

    async def has_audio() -> bool:
        nonlocal handled
        while handled < len(phone.received):
            event, payload = phone.received[handled]
            handled += 1
            await audio.handle(event, payload)
        reports = (await audio._peer.getStats()).values() if audio._peer else []
        return any(each.type == "inbound-rtp" and each.packetsReceived > 20 for each in reports)

    try:
        await eventually(has_audio, within=30)
        assert (await phone.send("end_call", {"roomId": match["roomId"]}))["ok"]
    finally:
        await audio.close()


async def test_reviewer_meets_the_partner_and_nobody_else(
    environment: dict[str, str], server: Server, container: Container, make_phone: MakePhone, tmp_path: Path
) -> None:
    await empty_queue(container)
    email, password = await asyncio.to_thread(seed, environment)
    stranger = await make_phone()
    assert (await stranger.send("find_partner", {"level": "all"}))["ok"]
    reviewer = await log_in(server, email, password)
    phone = await dial(server.url, reviewer)
    log = tmp_path / "partner.log"
    with partner(environment, server, log) as process:
        for count in (1, 2):
            await talk(phone, count)
        assert process.poll() is None, log.read_text()
    assert all(name != "match_found" for name, _ in stranger.received)
    # A learner waits although the reviewer does too.
    assert (await phone.send("find_partner", {}))["ok"]
    other = await make_phone()
    assert (await other.send("find_partner", {}))["ok"]
    assert await other.wait_for("match_found") and await stranger.wait_for("match_found")
    await asyncio.gather(*(each.send("cancel_search") for each in (phone, other)))
    levels = await rows(
        container, "SELECT DISTINCT level FROM call_sessions WHERE user_a_id = :i OR user_b_id = :i", i=REVIEWER_ID
    )
    assert [tuple(row) for row in levels] == [("all",)]
    assert password not in log.read_text()
    await phone.client.disconnect()
    await reviewer.http.aclose()


async def test_review_accounts_are_renewed_and_removed(
    environment: dict[str, str], server: Server, container: Container
) -> None:
    """In production too; a block keeps the two apart for a while, and another run brings them together."""
    site = {"APP_URL": "https://practice.example.com"}
    first = await asyncio.to_thread(seed, environment, **site)
    await value(container, "SELECT 1 FROM users WHERE id = :i AND is_verified", i=REVIEWER_ID)
    reviewer = await log_in(server, *first)
    assert (await reviewer.http.put(f"/users/{PARTNER_ID}/block")).status_code == 204
    await container.review_accounts.bring_together()
    assert len((await reviewer.http.get("/users/me/blocks")).json()["items"]) == 1
    second = await asyncio.to_thread(seed, environment, **site)
    assert first[0] == second[0] == "store-review@practice.example.com" and first[1] != second[1]
    assert (await reviewer.http.get("/users/me")).status_code == 401
    again = await log_in(server, *second)
    assert (await again.http.get("/users/me/blocks")).json()["items"] == []
    removed = await asyncio.to_thread(parlance, "seed", "--review", "--remove", **environment)
    assert (removed.returncode, removed.stdout) == (0, "the review accounts are deleted\n")
    assert (await again.http.get("/users/me")).status_code == 401
    left = await rows(container, "SELECT email FROM users WHERE id IN (:a, :b)", a=REVIEWER_ID, b=PARTNER_ID)
    assert all(row.email.endswith("@deleted.invalid") for row in left)
    absent = await asyncio.to_thread(parlance, "review-partner", **environment)
    assert absent.returncode == 1 and "run `parlance seed --review`" in absent.stderr
    entries = await rows(
        container, "SELECT action FROM audit_log WHERE subject_id = :i ORDER BY number DESC LIMIT 2", i=REVIEWER_ID
    )
    assert [row.action for row in entries] == ["review.remove", "review.seed"]
    for each in (reviewer, again):
        await each.http.aclose()


async def test_renewal_lifts_sanctions(environment: dict[str, str], server: Server, container: Container) -> None:
    """A reviewer gets the account banned, and once more after a renewal; the bans are history and the chain holds."""
    order = SanctionOrder(SanctionKind.BAN, SanctionGround.SPAM, "Sent links.")
    suspension = SanctionOrder(SanctionKind.SUSPENSION, SanctionGround.SPAM, "Sent links.", days=7)
    await asyncio.to_thread(seed, environment)
    for _ in range(2):
        await container.sanctions.issue(None, str(REVIEWER_ID), suspension)
        await container.sanctions.issue(None, str(REVIEWER_ID), order)
        email, password = await asyncio.to_thread(seed, environment)
        reviewer = await log_in(server, email, password)
        assert (await reviewer.http.get("/users/me")).status_code == 200
        await reviewer.http.aclose()
    page = await container.sanctions.list_for_user(str(REVIEWER_ID), limit=100, cursor=None)
    assert len(page.items) >= 4 and all(each.sanction.lifted_at for each in page.items)
    assert (await container.audit.verify()).broken_at is None


def test_remove_without_review_is_a_usage_error(environment: dict[str, str]) -> None:
    done = parlance("seed", "--remove", **environment)
    assert done.returncode == 2 and "--review" in done.stderr


async def test_melody_is_sound_of_whole_frames() -> None:
    melody = Melody()
    frames = [await melody.recv() for _ in range(3)]
    assert [(frame.pts, frame.samples, frame.sample_rate) for frame in frames] == [
        (0, 960, 48000),
        (960, 960, 48000),
        (1920, 960, 48000),
    ]
    assert any(bytes(frames[1].planes[0])) and len(melody._samples) % 1920 == 0


@pytest.mark.parametrize("url", ["practice.example.com", "ws://127.0.0.1"])
def test_partner_needs_an_address_of_a_server(environment: dict[str, str], url: str) -> None:
    done = parlance("review-partner", "--url", url, **environment)
    assert done.returncode == 1 and "--url should begin with" in done.stderr
